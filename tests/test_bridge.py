"""The bridge: what it learns about a key, what it offers, and that it makes no request for what it does not offer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain, combinations
from typing import Any

import anyio
import httpx
import pytest

from tests.canned import (
    ADMIN,
    CHATS,
    CONTACTS,
    FORBIDDEN,
    OK,
    READ,
    SEND,
    SESSIONS,
    TEXT,
    UNAUTHORIZED,
    VERSION,
    Server,
    answering,
    app,
    names,
    of_action,
    settled,
    until,
    waits_for,
)
from waha_mcp import bridge as bridge_module
from waha_mcp.app.actions import NULL_ACTIONS, Action
from waha_mcp.app.definition import AppError
from waha_mcp.app.policy_fields import Chats
from waha_mcp.bridge import Bridge, UnknownTool
from waha_mcp.policy.gate import Policy
from waha_mcp.tools import catalog
from waha_mcp.tools.catalog import CATALOG, ArgumentError
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import BadAnswer, Forbidden, OutcomeUnknown, Unauthorized, Unreachable, WahaError
from waha_mcp.waha.key_probe import KeyProbe

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Server]:
    with answering() as found:
        yield found


# What is offered

DECLARED = [frozenset(c) for c in chain.from_iterable(combinations(Action, n) for n in range(7))]


@pytest.fixture
def a_tool_for_every_action(monkeypatch: pytest.MonkeyPatch) -> None:
    for action in Action:
        record = next(t for t in CATALOG.values() if t.name == "list_chats")
        made = type(record)(**{**_fields(record), "name": f"do_{action}", "action": action})
        monkeypatch.setitem(catalog._TOOLS, made.name, made)


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}


@pytest.mark.usefixtures("a_tool_for_every_action")
@pytest.mark.parametrize("declared", DECLARED, ids=lambda s: ",".join(sorted(s)) or "none")
async def test_exactly_the_tools_of_the_declared_actions_are_offered(
    server: Server, declared: frozenset[Action]
) -> None:
    async with settled(app(actions=declared)) as (bridge, _):
        assert names(bridge) == of_action(*declared)
        server.requests.clear()
        for hidden in CATALOG.keys() - names(bridge):
            with pytest.raises(UnknownTool):
                await bridge.call(hidden, {})
        assert server.requests == []


async def test_nothing_is_offered_before_it_is_known(server: Server) -> None:
    assert names(Bridge(app())) == of_action()
    assert names(Bridge(app(actions=frozenset({Action.READ})))) == of_action(Action.READ)
    assert server.requests == []


@pytest.mark.usefixtures("a_tool_for_every_action")
async def test_null_offers_all_but_delete(server: Server) -> None:
    async with settled(app(actions=NULL_ACTIONS)) as (bridge, _):
        assert names(bridge) == of_action(*NULL_ACTIONS)
        assert "do_delete" not in names(bridge)


@pytest.mark.usefixtures("a_tool_for_every_action")
@pytest.mark.parametrize("refused", [set(), {Action.READ}, {Action.SEND}, {Action.READ, Action.SEND}], ids=sorted)
async def test_undeclared_actions_are_found_out_and_the_others_are_off(server: Server, refused: set[Action]) -> None:
    for action, path in ((Action.READ, READ), (Action.SEND, SEND)):
        if action in refused:
            server.answers[path] = FORBIDDEN
    async with settled(app()) as (bridge, _):
        assert names(bridge) == of_action(*({Action.READ, Action.SEND} - refused))
    assert "/api/apps" not in server.requests


# Keys that are no good


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502),
        httpx.Response(500, json={}),
        httpx.Response(429),
        httpx.Response(302, headers={"location": "/login"}),
        httpx.Response(403, html="<html>Blocked by the proxy</html>"),
        httpx.ConnectError(""),
        httpx.ReadTimeout(""),
    ],
    ids=repr,
)
@pytest.mark.parametrize("tool", ["send_text", "get_status"])
async def test_no_tool_runs_on_a_key_that_may_be_an_admins(
    server: Server, answer: httpx.Response | Exception, tool: str
) -> None:
    server.answers[ADMIN] = answer
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        if tool == "get_status":
            status = (await bridge.call(tool, {})).model_dump()
            assert status["actions"] == {}
            assert status["next_step"]
        else:
            with pytest.raises(WahaError):
                await bridge.call(tool, TEXT)
    assert set(server.requests) == {ADMIN}


# The session


async def test_a_session_that_appears_later_is_found_by_get_status(server: Server) -> None:
    server.answers[SESSIONS] = httpx.Response(200, json=[])
    async with settled(app(session=None)) as (bridge, announced):
        assert (await bridge.call("get_status", {})).model_dump()["session"] is None
        del server.answers[SESSIONS]
        assert (await bridge.call("get_status", {})).model_dump()["session"] == "default"
        assert announced[-1] == of_action(Action.READ, Action.SEND)


# While it runs


async def test_a_call_goes_through(server: Server) -> None:
    async with settled(app()) as (bridge, announced):
        assert (await bridge.call("send_text", TEXT)).model_dump()["message_id"] == OK["id"]
        assert announced == []


@pytest.mark.parametrize("name", ["no_such_tool", "", "../x"])
async def test_an_unknown_tool_is_refused_with_no_request(server: Server, name: str) -> None:
    async with settled(app()) as (bridge, _):
        server.requests.clear()
        with pytest.raises(UnknownTool):
            await bridge.call(name, {})
        assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "names_it"), [({}, "chat"), ({**TEXT, "chat": ""}, "chat"), ({**TEXT, "colour": 1}, "colour")]
)
async def test_wrong_arguments_name_the_property_and_no_request_leaves(
    server: Server, arguments: Mapping[str, Any], names_it: str
) -> None:
    async with settled(app()) as (bridge, _):
        server.requests.clear()
        with pytest.raises(ArgumentError) as caught:
            await bridge.call("send_text", arguments)
        assert f"{names_it}: " in str(caught.value)
        assert server.requests == []


async def test_the_first_refusal_of_an_action_hides_its_tools_and_is_announced_once(server: Server) -> None:
    async with settled(app()) as (bridge, announced):
        server.answers |= {"/api/sendText": FORBIDDEN, SEND: FORBIDDEN}
        refusals: list[BaseException] = []

        async def call(number: int) -> None:
            try:
                await bridge.call("send_text", TEXT | {"text": f"Number {number}"})
            except (Forbidden, UnknownTool) as error:
                refusals.append(error)

        async with anyio.create_task_group() as calls:
            for number in range(10):
                calls.start_soon(call, number)
        assert len(refusals) == 10
        assert announced == [of_action(Action.READ)]
        with pytest.raises(UnknownTool):
            await bridge.call("mark_read", {"chat": "12025550123@c.us"})


async def test_one_refused_operation_takes_nothing_away_where_the_probe_is_granted(server: Server) -> None:
    async with settled(app()) as (bridge, announced):
        before = bridge.key.grant
        server.answers["/api/sendText"] = FORBIDDEN
        with pytest.raises(Forbidden):
            await bridge.call("send_text", TEXT)
        assert SEND in server.requests  # it was asked for
        assert bridge.key.grant == before
        assert announced == []


@pytest.mark.parametrize("answer", [httpx.Response(500, json={}), httpx.ReadTimeout("")], ids=["500", "time-out"])
async def test_a_probe_that_tells_nothing_takes_nothing_away(
    server: Server, answer: httpx.Response | Exception
) -> None:
    async with settled(app()) as (bridge, announced):
        server.answers |= {"/api/sendText": FORBIDDEN, SEND: answer}
        with pytest.raises(Forbidden):
            await bridge.call("send_text", TEXT)
        assert Action.SEND in bridge.key.grant.actions
        assert announced == []


async def test_an_action_without_a_probe_falls_by_its_tools_own_operation_alone(server: Server) -> None:
    async with settled(app(actions=frozenset(Action), toolsets=frozenset({"all"}))) as (bridge, announced):
        elsewhere = Forbidden("403")
        elsewhere.operation = "GET /api/{session}/lids"
        with pytest.raises(Forbidden):
            async with bridge._noting(CATALOG["control_session"]):
                raise elsewhere
        assert Action.CONTROL in bridge.key.grant.actions
        assert announced == []
        server.answers["/api/sessions/default/stop"] = FORBIDDEN
        with pytest.raises(Forbidden):
            await bridge.call("control_session", {"do": "stop"})
        assert bridge.key.grant.actions == frozenset(Action) - {Action.CONTROL}
        assert len(announced) == 1


async def test_a_revoked_key_hides_everything_and_is_announced_once(server: Server) -> None:
    async with settled(app()) as (bridge, announced):
        server.answers[CHATS] = UNAUTHORIZED
        refusals: list[BaseException] = []

        async def call() -> None:
            try:
                await bridge.call("list_chats", {})
            except (Unauthorized, UnknownTool) as error:
                refusals.append(error)

        async with anyio.create_task_group() as calls:
            for _ in range(10):
                calls.start_soon(call)
        assert len(refusals) == 10
        assert announced == [of_action()]


@pytest.mark.parametrize("answer", [FORBIDDEN, UNAUTHORIZED], ids=["403", "401"])
async def test_get_status_brings_back_what_waha_grants_again(server: Server, answer: httpx.Response) -> None:
    async with settled(app()) as (bridge, announced):
        server.answers |= {"/api/sendText": answer, SEND: answer, ADMIN: answer}
        with pytest.raises((Forbidden, Unauthorized)):
            await bridge.call("send_text", TEXT)
        status = (await bridge.call("get_status", {})).model_dump()
        assert "send" not in status["actions"]
        assert any("send_text" in hidden["tools"] for hidden in status["hidden"])
        server.answers.clear()
        assert "send" in (await bridge.call("get_status", {})).model_dump()["actions"]
        assert announced[-1] == of_action(Action.READ, Action.SEND)


async def test_a_failure_that_is_not_about_the_key_changes_nothing(server: Server) -> None:
    async with settled(app()) as (bridge, announced):
        before = bridge.key.grant
        failures: list[Any] = [
            httpx.Response(500, json={}),
            httpx.Response(403, html="<p>proxy"),
            httpx.ReadTimeout(""),
        ]
        for number, answer in enumerate(failures):
            server.answers["/api/sendText"] = answer
            with pytest.raises((BadAnswer, OutcomeUnknown)):
                await bridge.call("send_text", TEXT | {"text": f"Number {number}"})
        assert bridge.key.grant == before
        assert announced == []


async def test_a_listener_that_fails_stops_nothing_and_hinders_no_other(server: Server) -> None:
    heard: list[str] = []

    def listener(name: str) -> Callable[[], Awaitable[None]]:
        async def listen() -> None:
            heard.append(name)
            raise anyio.ClosedResourceError

        return listen

    with anyio.fail_after(10):
        async with Bridge(app()) as bridge:
            bridge.listeners |= {listener("one"), listener("two")}
            assert await bridge.key.settle(5)
            assert names(bridge) == of_action(Action.READ, Action.SEND)
            heard.clear()
            server.answers |= {"/api/sendText": FORBIDDEN, SEND: FORBIDDEN}
            with pytest.raises(Forbidden):
                await bridge.call("send_text", TEXT)
            assert sorted(heard) == ["one", "two"]


async def test_a_waha_that_comes_up_later_is_found(server: Server) -> None:
    server.answers[ADMIN] = httpx.ConnectError("")
    async with settled(app()) as (bridge, announced):
        assert names(bridge) == of_action()
        status = (await bridge.call("get_status", {})).model_dump()
        assert "waha.test:3000" in status["next_step"]
        del server.answers[ADMIN]
        await until(lambda: len(announced) == 2)
        assert names(bridge) == of_action(Action.READ, Action.SEND)


async def test_a_declared_tool_says_that_waha_cannot_be_reached(server: Server) -> None:
    server.answers[ADMIN] = httpx.ConnectError("")
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        assert names(bridge) == of_action(Action.SEND)
        with pytest.raises(Unreachable):
            await bridge.call("send_text", TEXT)


async def test_leaving_ends_what_is_under_way(server: Server) -> None:
    asked, ended = anyio.Event(), anyio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    server.answers[READ] = never
    with anyio.fail_after(5):
        async with Bridge(app()):
            await asked.wait()
    assert ended.is_set()


# What reaches whom, and when


async def test_a_call_waits_until_it_is_known_what_the_key_may_do(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(10):
        async with Bridge(app()) as bridge:
            assert (await bridge.call("send_text", TEXT)).model_dump()["message_id"] == OK["id"]
    # It is not an error that nobody listens for changes.
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("answer", [httpx.Response(200, json={}), UNAUTHORIZED], ids=["an admin's", "unknown"])
async def test_a_declared_call_that_comes_before_a_slow_look_is_held_to_what_that_finds(
    server: Server, monkeypatch: pytest.MonkeyPatch, answer: httpx.Response
) -> None:
    monkeypatch.setattr(KeyProbe.settle, "__defaults__", (0.0,))
    let = anyio.Event()
    server.answers[ADMIN] = waits_for(let, answer)
    bridge = Bridge(app(actions=frozenset({Action.SEND, Action.READ})))
    refused: list[str] = []

    async def call(tool: str, arguments: Mapping[str, Any]) -> None:
        with pytest.raises(UnknownTool):
            await bridge.call(tool, arguments)
        refused.append(tool)

    async def complete() -> None:
        refused.append(f"completions: {await bridge.chat_names('a')}")

    with anyio.fail_after(10):
        async with bridge.waha, anyio.create_task_group() as calls:
            calls.start_soon(call, "send_text", TEXT)
            calls.start_soon(call, "list_chats", {})
            calls.start_soon(complete)
            await anyio.wait_all_tasks_blocked()
            let.set()
    assert sorted(refused) == ["completions: []", "list_chats", "send_text"]
    assert [each for each in server.requests if each != VERSION] == [ADMIN]


async def test_a_name_on_the_apps_lists_is_looked_up_before_the_first_call(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The background task never gets to it.
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 3600)
    server.answers[CONTACTS] = httpx.Response(200, json=[{"id": TEXT["chat"], "name": "Ann", "pushname": ""}])
    async with settled(app(chats=Chats.model_validate({"send": {"allow": ["Ann"]}}))) as (bridge, _):
        assert "policy" not in bridge.__dict__  # a listing needs no names
        assert (await bridge.call("send_text", TEXT)).model_dump()["message_id"] == OK["id"]


async def test_a_name_on_the_apps_lists_is_looked_up_while_nobody_calls(server: Server) -> None:
    server.answers[CONTACTS] = httpx.Response(200, json=[{"id": TEXT["chat"], "name": "Ann", "pushname": ""}])
    async with settled(app(chats=Chats.model_validate({"send": {"allow": ["Ann"]}}))):
        await until(lambda: CONTACTS in server.requests)


async def test_names_are_fetched_anew_after_an_effect_on_people_or_groups_alone(server: Server) -> None:
    group = "120363000000000001@g.us"
    server.answers["/api/default/groups"] = httpx.Response(200, json=[{"id": group, "subject": "Chess"}])
    fields = {"actions": frozenset({Action.READ, Action.SEND}), "toolsets": frozenset({"all"})}
    async with settled(app(**fields)) as (bridge, _):

        async def fetched_by(tool: str, arguments: Mapping[str, Any]) -> int:
            await bridge.call("find_chats", {"query": "chess"})
            server.requests.clear()
            await bridge.call(tool, arguments)
            await bridge.call("find_chats", {"query": "chess"})
            return server.requests.count(CONTACTS)

        assert await fetched_by("update_group", {"group": group, "subject": "Go"}) == 1
        assert await fetched_by("block_contact", {"contact": TEXT["chat"], "blocked": True}) == 1
        assert await fetched_by("send_text", TEXT) == 0
        assert await fetched_by("list_groups", {}) == 0


async def test_a_chat_of_another_kind_than_the_tool_takes_is_named_with_both(server: Server) -> None:
    async with settled(app(toolsets=frozenset({"all"}))) as (bridge, _):
        server.requests.clear()
        with pytest.raises(ArgumentError) as caught:
            await bridge.call("list_participants", {"group": TEXT["chat"]})
        assert str(caught.value) == f"group: {TEXT['chat']} is a person; this tool takes a group"
        assert server.requests == []


async def test_every_chat_of_a_list_is_resolved_and_one_left_out_is_none(server: Server) -> None:
    bodies: list[Any] = []

    async def send(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=OK)

    server.answers |= {
        "/api/sendText": send,
        CONTACTS: httpx.Response(200, json=[{"id": "12025550124@c.us", "name": "Ann", "pushname": ""}]),
    }
    async with settled(app()) as (bridge, _):
        for mentions in (["Ann", "12025550125@s.whatsapp.net"], None):
            await bridge.call("send_text", {**TEXT, "mentions": mentions} if mentions else TEXT)
        with pytest.raises(ArgumentError, match=r"^mentions: 'Zzyzx' is nobody's name here"):
            await bridge.call("send_text", {**TEXT, "mentions": ["Ann", "Zzyzx"]})
    assert bodies[0]["mentions"] == ["12025550124@c.us", "12025550125@c.us"]
    assert not bodies[1].get("mentions")
    assert len(bodies) == 2


@pytest.mark.parametrize(
    "given",
    [{"to": TEXT["chat"], "text": "hi"}, {"chat": TEXT["chat"], "body": "hi"}, {"to": TEXT["chat"], "message": "hi"}],
)
async def test_an_argument_is_never_taken_under_the_name_that_it_most_likely_means(
    server: Server, given: dict[str, str]
) -> None:
    async with settled(app()) as (bridge, _):
        with pytest.raises(ArgumentError, match=r"did you mean (chat|text)\?"):
            await bridge.call("send_text", given)
    assert "/api/sendText" not in server.requests


async def test_one_error_tells_of_a_wrong_argument_and_of_a_name_that_nobody_has(server: Server) -> None:
    async with settled(app()) as (bridge, _):
        with pytest.raises(ArgumentError) as caught:
            await bridge.call("send_text", {"recipient": "Zzyzx", "text": "hi"})
    first, _, second = str(caught.value).partition(". chat: 'Zzyzx'")
    assert "recipient: unknown property (did you mean chat?)" in first
    assert second.startswith(" is nobody's name here, and nothing was done")


async def test_one_error_tells_of_all_ids_that_no_answer_gave(server: Server) -> None:
    async with settled(app()) as (bridge, _):
        with pytest.raises(ArgumentError) as caught:
            await bridge.call("send_text", TEXT | {"chat": "g799086624", "reply_to": "m799086624"})
    for each in ("chat: g799086624", "reply_to: m799086624"):
        assert f"{each} was not given by any answer" in str(caught.value)


async def test_a_key_that_may_only_send_is_told_why_it_has_no_names(server: Server) -> None:
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        server.requests.clear()
        with pytest.raises(ArgumentError, match="no read action"):
            await bridge.call("send_text", {**TEXT, "chat": "Ann"})
        assert server.requests == []


# Completions


ANN_AND_BEN = [{"id": "12025550124@c.us", "name": "Ann", "pushname": ""}, {"id": "12025550125@c.us", "name": "Ben"}]


async def test_names_are_completed_once_the_key_is_known_to_read(server: Server) -> None:
    server.answers[CONTACTS] = httpx.Response(200, json=ANN_AND_BEN)
    with anyio.fail_after(10):
        async with Bridge(app()) as bridge:
            assert await bridge.chat_names("ann", 1) == ["Ann"]
            assert sorted(await bridge.chat_names("")) == ["Ann", "Ben"]


async def test_a_name_that_may_not_be_read_is_completed_for_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 3600)
    server.answers[CONTACTS] = httpx.Response(200, json=ANN_AND_BEN)
    async with settled(app(chats=Chats.model_validate({"read": {"deny": ["Ann"]}}))) as (bridge, _):
        assert await bridge.chat_names("") == ["Ben"]


async def test_a_key_that_may_not_read_completes_nothing_and_asks_nobody(server: Server) -> None:
    server.answers[ADMIN] = httpx.ConnectError("")
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        assert await bridge.chat_names("a") == []
        assert CONTACTS not in server.requests


async def test_completions_of_a_waha_that_cannot_be_reached_say_so(server: Server) -> None:
    server.answers[ADMIN] = httpx.ConnectError("")
    async with settled(app(actions=frozenset({Action.READ}))) as (bridge, _):
        with pytest.raises(Unreachable):
            await bridge.chat_names("a")
    assert set(server.requests) == {ADMIN}


@pytest.mark.parametrize(("answer", "gone"), [(FORBIDDEN, {Action.READ}), (UNAUTHORIZED, {Action.READ, Action.SEND})])
async def test_a_refusal_of_the_names_is_taken_back_and_announced(
    server: Server, answer: httpx.Response, gone: set[Action]
) -> None:
    server.answers[CONTACTS] = httpx.Response(200, json=ANN_AND_BEN)
    async with settled(app()) as (bridge, announced):
        assert await bridge.chat_names("ann", 1) == ["Ann"]
        bridge.people.expire()
        server.requests.clear()
        server.answers |= {CONTACTS: answer, READ: answer}
        with pytest.raises((Forbidden, Unauthorized)):
            await bridge.chat_names("a")
        assert ADMIN not in server.requests  # that was known
        left = of_action(*({Action.READ, Action.SEND} - gone))
        assert names(bridge) == left
        assert announced == [left]
        server.requests.clear()
        assert await bridge.chat_names("a") == []
        assert server.requests == []


# Looking, again and again


async def test_what_is_doubted_is_asked_for_and_nothing_else(server: Server) -> None:
    async with settled(app()) as (bridge, _):
        server.requests.clear()
        server.answers["/api/sendText"] = FORBIDDEN
        with pytest.raises(Forbidden):
            await bridge.call("send_text", TEXT)
        assert server.requests[-2:] == ["/api/sendText", SEND]


async def test_what_a_refused_name_puts_in_doubt_is_read(server: Server) -> None:
    async with settled(app()) as (bridge, announced):
        server.answers |= {CONTACTS: FORBIDDEN, READ: FORBIDDEN}
        with pytest.raises(Forbidden):
            await bridge.call("send_text", {**TEXT, "chat": "Ann"})
        assert bridge.key.grant.actions == {Action.SEND}
        assert announced == [of_action(Action.SEND)]


async def test_a_bridge_that_is_left_has_closed_what_it_opened_and_loads_nothing_for_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Policy | Waha] = []
    for each in (Policy, Waha):

        async def aclose(self: Policy | Waha, close: Callable[..., Awaitable[None]] = each.aclose) -> None:
            closed.append(self)
            await close(self)

        monkeypatch.setattr(each, "aclose", aclose)
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 3600)
    async with settled(app()) as (bridge, _):
        pass
    assert "policy" not in bridge.__dict__
    assert closed == [bridge.waha]
    closed.clear()
    async with settled(app()) as (bridge, _):
        await bridge.call("list_chats", {})
    assert closed == [bridge.waha, bridge.policy]


# get_status


async def test_the_status_shows_the_account_and_none_of_the_sessions_secrets(server: Server) -> None:
    row = {
        "name": "default",
        "status": "WORKING",
        "me": {"id": "12025550123@s.whatsapp.net", "pushName": "Zoë"},
        "config": {"webhooks": [{"hmac": {"key": "s3cr3t"}}]},
    }
    server.answers |= {
        SESSIONS: httpx.Response(200, json=[{"name": "other", "status": "FAILED"}, row]),
        "/api/server/version": httpx.Response(200, json={"version": "2026.9.2", "engine": "GOWS"}),
    }
    async with settled(app(actions=frozenset({Action.READ}))) as (bridge, _):
        status = (await bridge.call("get_status", {})).model_dump(mode="json", exclude_none=True)
    assert status["account"] == {"id": "12025550123@c.us", "name": "Zoë", "phone": "+12025550123"}
    assert (status["state"], status["waha"], status["engine"]) == ("WORKING", "2026.9.2", "GOWS")
    assert status["actions"] == {"read": "confirmed by WAHA"}
    assert "next_step" not in status
    assert "s3cr3t" not in json.dumps(status)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"name": "default", "status": "SCAN_QR_CODE"}], "QR code"),
        ([{"name": "default", "status": None}], "does not say"),
        ([{"name": "default", "status": "WORKING", "me": "junk"}], None),
        ([{"name": "default", "status": "WORKING", "me": {"id": 5, "pushName": 5}}], None),
        ([], "no session 'default'"),
        ("junk", "sessions"),
    ],
)
async def test_the_status_says_what_to_do_whatever_waha_lists(server: Server, rows: Any, words: str | None) -> None:
    server.answers |= {
        SESSIONS: httpx.Response(200, json=rows),
        "/api/server/version": httpx.Response(200, json={"version": 5, "engine": []}),
    }
    async with settled(app()) as (bridge, _):
        step = (await bridge.call("get_status", {})).model_dump()["next_step"]
    assert step is None if words is None else words in step


async def test_a_version_that_is_no_object_is_left_out(server: Server) -> None:
    server.answers["/api/server/version"] = httpx.Response(200, json=["x"])
    async with settled(app()) as (bridge, _):
        assert (await bridge.call("get_status", {})).model_dump()["waha"] is None


# The App


def test_an_unknown_toolset_is_told_with_those_that_there_are() -> None:
    with pytest.raises(AppError) as caught:
        Bridge(app(toolsets=frozenset({"core", "gropus"})))
    assert "'gropus'" in str(caught.value)
    assert "core" in str(caught.value)


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_an_unknown_tool_is_told_with_those_that_there_are(field: str) -> None:
    with pytest.raises(AppError) as caught:
        Bridge(app(**{field: frozenset({"send_text", "send_smoke"})}))
    assert f"{field} 'send_smoke'" in str(caught.value)
    assert "send_sticker" in str(caught.value)
