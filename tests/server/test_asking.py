"""Asking the person at the client, without a process: who is asked, and which answer counts for which call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import anyio
import pytest
from mcp import MCPError, types
from mcp.server.context import ServerRequestContext
from pydantic import SecretStr

from tests.memory_store import Memory
from tests.policy.common import HOSTILE, assert_nothing_forged, hostile_question
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.policy.question import Question
from waha_mcp.server import asking
from waha_mcp.server.asking import Asking, InputNeeded, read_answer

pytestmark = pytest.mark.anyio

LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = pytest.mark.parametrize("version", [LEGACY, MODERN])
FORMS = types.ClientCapabilities(elicitation=types.ElicitationCapability())

TICKED: dict[str, Any] = {"action": "accept", "content": {"approve": True}}
UNTICKED: dict[str, Any] = {"action": "accept", "content": {"approve": False}}
YES, NO = {"approval": TICKED}, {"approval": UNTICKED}


def question(digest: str = "a", lasts: float = LIFETIME) -> Question:
    """A question that is good for so many seconds from now."""
    recipients, expires = ("Sam Okafor (+12025550123)",), time.time() + lasts
    return Question("app", "send_text", "Send a text", recipients, {"text": "Hello"}, digest, expires)


class Clock(Memory):
    """A store whose time passes only when it is told to."""

    later = 0.0

    def now(self) -> float:
        return time.time() + self.later


def asking_of(store: Memory | None = None, app_id: str = "app", key: str = "key_sample_0000") -> Asking:
    kept = store or Memory()
    return Asking(App(id=app_id, key=SecretStr(key)), lambda: kept)


class Session:
    """A client: what it declares, how it answers a form, and the forms that it was shown."""

    def __init__(self, answer: Any = None, capabilities: types.ClientCapabilities | None = FORMS) -> None:
        self.client_capabilities = capabilities
        self.shown: list[str] = []
        self._answer = answer

    async def elicit_form(self, message: str, *_: Any) -> types.ElicitResult:
        self.shown.append(message)
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is None:
            await anyio.sleep_forever()
        return types.ElicitResult.model_validate(self._answer, by_name=False)


def context(session: Session, version: str, method: str, params: Mapping[str, Any] | None) -> Any:
    return ServerRequestContext(
        session=cast(Any, session), lifespan_context={}, protocol_version=version, method=method, params=params
    )


async def call(
    asks: Asking, asked: Question, version: str = MODERN, session: Session | None = None, **sent: Any
) -> bool | str | None:
    """The result of a tools/call that has to ask: the answer, or the state of the round trip."""

    async def run(ctx: Any) -> Any:
        params = types.CallToolRequestParams.model_validate(ctx.params, by_name=False)
        return await asks.asker(ctx, params)(asked)

    params = {"name": "send_text", "arguments": {}} | sent
    try:
        answer: Any = await read_answer(context(session or Session(), version, "tools/call", params), run)
    except InputNeeded as needed:
        asking_back = needed.result
    else:
        assert answer in (True, False, None)
        return cast("bool | None", answer)
    [request] = (asking_back.input_requests or {}).values()
    assert isinstance(request, types.ElicitRequest)
    assert request.params.message == asked.text()
    assert asking_back.request_state
    return asking_back.request_state


@ERAS
@pytest.mark.parametrize(
    ("declared", "asked"),
    [
        (None, False),
        ({}, False),
        ({"elicitation": {}}, True),
        ({"elicitation": {"form": {}}}, True),
        ({"elicitation": {"form": {}, "url": {}}}, True),
        ({"elicitation": {"url": {}}}, False),
    ],
    ids=str,
)
async def test_only_a_client_that_can_show_a_form_is_asked(
    declared: dict[str, Any] | None, asked: bool, version: str
) -> None:
    session = Session(TICKED, None if declared is None else types.ClientCapabilities.model_validate(declared))
    what = question()
    answer = await call(asking_of(), what, version, session)
    if not asked:
        assert answer is None
    elif version == MODERN:
        assert isinstance(answer, str)
    else:
        assert answer is True
    assert session.shown == ([what.text()] if asked and version == LEGACY else [])


@ERAS
@pytest.mark.parametrize("text", HOSTILE)
async def test_a_form_shows_a_question_in_the_words_of_all(text: str, version: str) -> None:
    what, session = hostile_question(text), Session(TICKED)
    # `call` compares the words of the newer era.
    await call(asking_of(), what, version, session)
    assert session.shown == ([what.text()] if version == LEGACY else [])
    assert_nothing_forged(what.text(), what)


VERDICTS: dict[str, tuple[Any, bool | None]] = {
    "ticked": (TICKED, True),
    "ticked, with more beside it": (TICKED | {"approve": False, "meta": 5, "result_type": 5}, True),
    "ticked, with metadata": (TICKED | {"_meta": {"approve": False}}, True),
    "not ticked": (UNTICKED, False),
    "declined": ({"action": "decline"}, False),
    "declined with a tick": (TICKED | {"action": "decline"}, False),
    "cancelled": ({"action": "cancel"}, None),
    "cancelled with a tick": (TICKED | {"action": "cancel"}, None),
    "cancelled without a tick": (UNTICKED | {"action": "cancel"}, None),
    "no content": ({"action": "accept"}, None),
    "an empty content": ({"action": "accept", "content": {}}, None),
    "text for a tick": ({"action": "accept", "content": {"approve": "true"}}, None),
    "a number for a tick": ({"action": "accept", "content": {"approve": 1}}, None),
    "nought for a tick": ({"action": "accept", "content": {"approve": 0}}, None),
    "another field": ({"action": "accept", "content": {"Approve": True}}, None),
}


@ERAS
@pytest.mark.parametrize(("given", "verdict"), VERDICTS.values(), ids=VERDICTS)
async def test_only_a_tick_is_a_yes_and_only_a_person_says_no(given: Any, verdict: bool | None, version: str) -> None:
    asks, session = asking_of(), Session(given)
    if version == LEGACY:
        assert await call(asks, question(), version, session) is verdict
    else:
        state = await call(asks, question())
        assert await call(asks, question(), requestState=state, inputResponses={"approval": given}) is verdict


@pytest.mark.parametrize(
    "responses",
    [
        *([], [TICKED], "yes", True, 5, {}, TICKED, {"approve": TICKED}),
        *({"approval": None}, {"approval": []}, {"approval": [TICKED]}, {"approval": "accept"}, {"approval": True}),
        *(
            {"approval": {"action": "yes"}},
            {"approval": {"roots": []}},
            {"approval": TICKED | {"content": ["approve"]}},
        ),
    ],
    ids=str,
)
async def test_a_round_trip_that_comes_back_with_no_answer_in_it_is_no_answer(responses: Any) -> None:
    asks = asking_of()
    state = await call(asks, question())
    assert await call(asks, question(), requestState=state, inputResponses=responses) is None


@pytest.mark.parametrize(
    "failure",
    [
        MCPError(types.METHOD_NOT_FOUND, "Method not found"),
        MCPError(types.INTERNAL_ERROR, "The window was closed"),
        anyio.ClosedResourceError(),
        TimeoutError(),
        ValueError("no form"),
    ],
    ids=str,
)
async def test_a_client_that_fails_to_ask_asked_nobody(failure: Exception) -> None:
    session, what = Session(failure), question()
    assert await call(asking_of(), what, LEGACY, session) is None
    assert session.shown == [what.text()]


@pytest.mark.parametrize("nonsense", [{}, {"action": "ACCEPT"}, {"action": "accept", "content": "approve"}], ids=str)
async def test_a_client_that_answers_out_of_the_protocol_asked_nobody(nonsense: Any) -> None:
    assert await call(asking_of(), question(), LEGACY, Session(nonsense)) is None


async def test_a_client_that_shows_the_question_for_ever_asked_nobody() -> None:
    with anyio.fail_after(10):
        assert await call(asking_of(), question(lasts=0.01), LEGACY, Session()) is None


@pytest.mark.parametrize("sent", [{}, {"inputResponses": None}, {"inputResponses": YES, "requestState": None}], ids=str)
async def test_what_brings_no_answer_or_no_state_is_asked_again(sent: dict[str, Any]) -> None:
    asks = asking_of()
    state = await call(asks, question())
    assert isinstance(await call(asks, question(), **({"requestState": state} | sent)), str)


@pytest.mark.parametrize("state", ["made-up", "", 5, True, [], {}], ids=repr)
async def test_a_state_that_is_none_of_ours_is_asked_again(state: Any) -> None:
    asks = asking_of()
    await call(asks, question())
    assert isinstance(await call(asks, question(), requestState=state, inputResponses=YES), str)


async def test_an_answer_counts_once_and_for_its_own_question() -> None:
    asks = asking_of()
    state = await call(asks, question("a"))
    assert isinstance(await call(asks, question("b"), requestState=state, inputResponses=YES), str)
    assert isinstance(await call(asks, question("a"), requestState=state, inputResponses=YES), str)
    state = await call(asks, question("a"))
    assert await call(asks, question("a"), requestState=state, inputResponses=NO) is False
    assert isinstance(await call(asks, question("a"), requestState=state, inputResponses=YES), str)


@pytest.mark.parametrize("other", [{"key": "key_sample_0001"}, {"app_id": "app2"}], ids=["key", "App"])
async def test_the_state_of_one_key_or_app_is_none_of_another(other: dict[str, str]) -> None:
    store = Memory()
    state = await call(asking_of(store), question())
    assert isinstance(await call(asking_of(store, **other), question(), requestState=state, inputResponses=YES), str)
    assert await call(asking_of(store), question(), requestState=state, inputResponses=YES) is True


async def test_another_process_takes_the_answer() -> None:
    store = Memory()
    state = await call(asking_of(store), question())
    assert await call(asking_of(store), question(), requestState=state, inputResponses=YES) is True
    assert isinstance(await call(asking_of(store), question(), requestState=state, inputResponses=YES), str)


async def test_the_state_itself_does_not_stand_in_the_store() -> None:
    store = Memory()
    state = await call(asking_of(store), question())
    assert isinstance(state, str)
    assert state not in repr(store.rows("asked"))


@pytest.mark.parametrize(("later", "counts"), [(LIFETIME - 1, True), (LIFETIME, False), (LIFETIME + 1, False)])
async def test_an_answer_counts_for_the_lifetime_of_its_question(later: float, counts: bool) -> None:
    store = Clock()
    asks = asking_of(store)
    state = await call(asks, question())
    store.later = later
    answer = await call(asks, question(), requestState=state, inputResponses=YES)
    assert answer is True if counts else isinstance(answer, str)


@pytest.mark.parametrize("how", ["answered", "expired"])
async def test_one_question_more_than_may_be_open_is_not_asked_until_one_is_over(
    how: str,
) -> None:
    store = Clock()
    asks = asking_of(store)
    states = [await call(asks, question()) for _ in range(asking._MOST_OPEN)]
    assert len(set(states)) == len(states)
    assert await call(asks, question()) is None
    if how == "answered":
        assert await call(asks, question(), requestState=states[1], inputResponses=YES) is True
    else:
        store.later = LIFETIME + 1
    assert isinstance(await call(asks, question()), str)


@pytest.mark.parametrize("answer", [TICKED, RuntimeError("no")], ids=["answered", "failed"])
async def test_so_many_forms_are_open_at_a_client_and_no_more(answer: Any) -> None:
    asks, idle, last = asking_of(), Session(), Session(answer)
    async with anyio.create_task_group() as tasks:
        for _ in range(asking._MOST_OPEN - 1):
            tasks.start_soon(call, asks, question(), LEGACY, idle)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            # Each is over before the next.
            assert await call(asks, question(), LEGACY, last) is (True if answer is TICKED else None)
        tasks.start_soon(call, asks, question(), LEGACY, idle)
        await anyio.wait_all_tasks_blocked()
        assert await call(asks, question(), LEGACY, last) is None
        tasks.cancel_scope.cancel()
    assert len(last.shown) == 3
    assert len(idle.shown) == asking._MOST_OPEN
    assert await call(asks, question(), LEGACY, Session(TICKED)) is True


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", None),
        ("tools/call", {"name": "send_text", "arguments": {"approval": 1}}),
        ("prompts/get", {"name": "catch_up", "inputResponses": {"approval": 5}, "requestState": 5}),
        ("tools/list", {}),
        ("ping", None),
    ],
    ids=str,
)
async def test_what_is_no_call_with_an_answer_goes_on_as_it_came(method: str, params: dict[str, Any] | None) -> None:
    came = context(Session(), MODERN, method, params)

    async def note(ctx: Any) -> Any:
        return ctx

    assert await read_answer(came, note) == came
