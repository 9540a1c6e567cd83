"""A person's approval: at the client in both protocol eras, and out of the agent's reach in the store."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, types
from pydantic import RootModel

from tests.harness import ERAS, Admin, Era, approvals_of, opened_store, run, texts
from tests.platforms import only_mine
from tests.policy.common import DAD, MAYA, SAM, STRANGER, bridge_with, effects, good_until, send
from tests.store.processes import together
from waha_mcp.app.policy_fields import LIFETIME, Approval
from waha_mcp.bridge import Bridge
from waha_mcp.people.persons import People
from waha_mcp.policy import Refusal, approval
from waha_mcp.policy.approval import TooManyWaiting, decide, waiting
from waha_mcp.policy.question import Question, digest_of
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol
from waha_mcp.waha.errors import OutcomeUnknown, Unreachable, WahaError

pytestmark = pytest.mark.anyio

LATER = 1_900_000_800.0

TEXT = {"chat": SAM, "text": "The numbers you asked for: 42\nRegards"}

YES = types.ElicitResult(action="accept", content={"approve": True})
NO = types.ElicitResult(action="decline")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


class Person:
    """A person at a client that can ask, who answers as told and remembers the questions."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params.message)
        return self._answers.pop(0)


@asynccontextmanager
async def client_of(bridge: Bridge, era: Era, person: Person | None = None) -> AsyncIterator[Client]:
    server = Protocol(lambda _: bridge).server
    async with Client(server, mode=era, raise_exceptions=True, elicitation_callback=person) as client:
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_the_person_at_the_client_is_asked_with_name_number_and_exact_text(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    person = Person(YES)
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era, person) as client:
        result = await client.call_tool("send_text", TEXT)
        assert not result.is_error, texts(result)
    [asked] = person.asked
    assert "Sam Okafor (+12025550123)" in asked
    assert TEXT["text"].replace("\n", "\n    ") in asked


def test_no_text_passes_for_another_line_of_the_question_or_hides_in_it() -> None:
    content = {"text": "ok\nlink_preview: false\u202e\u200b\x1b[8m", "note": "family 👨‍👩‍👧"}
    shown = Question("a", "send_text", "Send a text", ("Sam",), content, "d", LATER).text().split("\n")
    assert shown == [
        "Send a text to Sam?",
        good_until(LATER),
        "text:",
        "    ok",
        "    link_preview: false<U+202E><U+200B><U+001B>[8m",
        "note: family 👨‍👩‍👧",
    ]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "answer",
    [NO, types.ElicitResult(action="accept", content={"approve": False})],
    ids=["declined", "not ticked"],
)
async def test_what_is_declined_at_a_client_is_not_sent_and_not_asked_again(
    era: Era, answer: types.ElicitResult, sandbox: SandboxInfo, admin: Admin
) -> None:
    person = Person(answer)
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era, person) as client:
        await admin.clear()
        for _ in range(2):
            result = await client.call_tool("send_text", TEXT)
            assert result.is_error
            assert texts(result).startswith("Declined at the client mcp ")
            assert "refused" not in texts(result)
        assert await effects(admin) == []
    assert len(person.asked) == 1
    assert waiting() == []


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "answer",
    [
        types.ElicitResult(action="cancel"),
        types.ElicitResult(action="cancel", content={"approve": True}),
        types.ElicitResult(action="accept"),
        types.ElicitResult(action="accept", content={}),
        types.ElicitResult(action="accept", content={"approve": "true"}),
        types.ElicitResult(action="accept", content={"approve": 1}),
        types.ElicitResult(action="accept", content={"approve": None}),
    ],
    ids=["cancelled", "cancelled with a tick", "nothing", "empty", "text for a tick", "a number for a tick", "null"],
)
async def test_where_nobody_says_yes_or_no_the_question_waits_out_of_the_agents_reach(
    era: Era, answer: types.ElicitResult, sandbox: SandboxInfo, admin: Admin
) -> None:
    person = Person(answer)
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era, person) as client:
        await admin.clear()
        result = await client.call_tool("send_text", TEXT)
        assert result.is_error
        [entry] = waiting()
        assert f"waiting for approval, id {entry.id}" in texts(result)
        assert "refused" not in texts(result)
        assert await effects(admin) == []


async def test_an_answer_that_never_comes_is_waited_for_only_so_long(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(context: Any, params: Any) -> types.ElicitResult:
        await anyio.sleep_forever()
        raise AssertionError

    async with bridge_with(sandbox, approval="send") as bridge:
        monkeypatch.setattr(bridge.policy._approver, "_rules", Approval.model_construct(lifetime=0.1))
        server = Protocol(lambda _: bridge).server
        async with Client(server, mode="legacy", raise_exceptions=True, elicitation_callback=nobody) as client:
            await admin.clear()
            with anyio.fail_after(10):
                result = await client.call_tool("send_text", TEXT)
            assert "waiting for approval" in texts(result)
            assert "refused" not in texts(result)
            assert await effects(admin) == []


async def test_a_question_that_a_client_left_open_waits_as_long_as_any_other(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time

    async def left_open(question: Question) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + LIFETIME)
        assert question.expires <= time.time()

    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="It expires in 10 min"):
            await bridge.call("send_text", TEXT, ask=left_open)
        [entry] = waiting()
        assert time.time() + LIFETIME - 60 < entry.expires <= time.time() + LIFETIME
        assert good_until(entry.expires) in entry.question.text()
        assert decide(entry.id, approve=True)
        await bridge.call("send_text", TEXT)


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cannot_ask_is_told_at_once_where_the_user_can_approve(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era) as client:
        await admin.clear()
        result = await client.call_tool("send_text", TEXT)
        assert result.is_error
        [entry] = waiting()
        assert f"id {entry.id}" in texts(result)
        assert "waha-mcp approve" in texts(result)
        assert await effects(admin) == []
        assert decide(entry.id, approve=True)
        assert not (await client.call_tool("send_text", TEXT)).is_error
        assert await effects(admin) == ["/api/sendText"]


class Either(RootModel[types.InputRequiredResult | types.CallToolResult]):
    """What a tools/call of the newer era may answer."""


async def ask(client: Client, **params: Any) -> types.InputRequiredResult | types.CallToolResult:
    """A bare tools/call, whose round trips the client does not fill in."""
    request = types.CallToolRequest(params=types.CallToolRequestParams(name="send_text", **params))
    return (await client.session.send_request(request, Either)).root


@pytest.mark.parametrize(
    "change",
    [{"text": "Something else"}, {"chat": MAYA}, {"link_preview": True}],
    ids=["text", "chat", "option"],
)
async def test_an_answer_holds_for_nothing_but_the_question_that_was_asked(
    change: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    person = Person(NO)  # declares the capability; the answers below are written by hand
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, "auto", person) as client:
        await admin.clear()
        asked = await ask(client, arguments=TEXT)
        assert isinstance(asked, types.InputRequiredResult)
        yes = {"approval": YES}
        for arguments, state in (
            (TEXT | change, asked.request_state),  # another content under the state of the first
            (TEXT, asked.request_state),  # the first, whose state was used up by that
            (TEXT, "made-up-state"),
            (TEXT, None),
        ):
            again = await ask(client, arguments=arguments, input_responses=yes, request_state=state)
            assert isinstance(again, types.InputRequiredResult)
        assert isinstance(again, types.InputRequiredResult)
        assert await effects(admin) == []
        last = await ask(client, arguments=TEXT, input_responses=yes, request_state=again.request_state)
        assert isinstance(last, types.CallToolResult)
        assert not last.is_error
        assert await effects(admin) == ["/api/sendText"]


async def test_a_person_reads_what_a_forwarded_message_says(sandbox: SandboxInfo, admin: Admin) -> None:
    arrived = await admin.request("POST", "/sandbox/messages", {"chatId": DAD, "text": "The code is 7731"})
    async with bridge_with(sandbox, approval="send") as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("forward_message", {"chat": SAM, "message_id": arrived["id"]})
    [entry] = waiting()
    assert "The code is 7731" in entry.question.text()


async def waits(bridge: Bridge, **changes: Any) -> None:
    with pytest.raises(Refusal, match="waiting for approval"):
        await bridge.call("send_text", TEXT | changes)


@pytest.mark.parametrize("era", ERAS)
async def test_a_yes_for_what_was_not_sent_counts_for_the_next_try_and_no_further(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    person = Person(YES, NO)
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era, person) as client:
        await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
        assert (await client.call_tool("send_text", TEXT)).is_error
        assert not (await client.call_tool("send_text", TEXT)).is_error
        assert len(person.asked) == 1
        result = await client.call_tool("send_text", TEXT | {"allow_repeat": True})
        assert result.is_error
        assert len(person.asked) == 2


async def test_a_yes_given_elsewhere_for_what_was_not_sent_counts_for_the_next_try_and_no_further(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)
        decide(waiting()[0].id, approve=True)
        await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}', count=2)
        for _ in range(2):
            with pytest.raises(WahaError):
                await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT | {"allow_repeat": True})


async def test_a_yes_that_was_given_back_expires_when_it_would_have(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)
        decide(waiting()[0].id, approve=True)
        await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
        with pytest.raises(WahaError):
            await bridge.call("send_text", TEXT)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + LIFETIME + 1)
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)


CHANGES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "a member more": [("POST", "participants/add", {"participants": [{"id": STRANGER}]})],
    "another member in place of one": [
        ("POST", "participants/add", {"participants": [{"id": STRANGER}]}),
        ("POST", "participants/remove", {"participants": [{"id": SAM}]}),
    ],
    "another name": [("PUT", "subject", {"subject": "Evil Corp"})],
}


async def hikers(admin: Admin) -> str:
    made = await admin.request("POST", "/api/default/groups", {"name": "Hikers", "participants": [{"id": SAM}]})
    return str(made.get("id") or made["JID"])


async def change_hikers(admin: Admin, group: str, change: str) -> None:
    for method, path, body in CHANGES[change]:
        await admin.request(method, f"/api/default/groups/{group}/{path}", body)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_yes_given_elsewhere_is_not_for_a_group_that_has_changed_since(
    change: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    group = await hikers(admin)
    async with bridge_with(sandbox, approval="send") as bridge:
        arguments = {"chat": group, "text": "The code is 7731"}
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", arguments)
        assert decide(waiting()[0].id, approve=True)
        await change_hikers(admin, group, change)
        await admin.clear()
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", arguments)
        assert await effects(admin) == []
        [entry] = waiting()
        assert "it was approved, but its recipients have changed since" in entry.question.text()
        assert decide(entry.id, approve=True)
        await bridge.call("send_text", arguments)
        assert await effects(admin) == ["/api/sendText"]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_yes_is_not_for_a_group_that_changes_while_the_person_is_asked(
    change: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    group = await hikers(admin)

    async def yes(question: Question) -> bool:
        await change_hikers(admin, group, change)
        await admin.clear()
        return True

    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="its recipients changed"):
            await bridge.call("send_text", {"chat": group, "text": "The code is 7731"}, ask=yes)
        assert await effects(admin) == []


async def test_a_yes_is_kept_where_waha_is_away_when_whom_it_reaches_is_looked_up_again(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def yes(question: Question) -> bool:
        return True

    async with bridge_with(sandbox, approval="send") as bridge:
        people, describe = bridge.policy._approver._people, People.describe

        async def away(self: People, chat: str, *more: Any, strict: bool = False) -> Any:
            if strict:
                raise Unreachable("WAHA is away, so the request was not sent.")
            return await describe(self, chat, *more)

        with monkeypatch.context() as gone:
            gone.setattr(type(people), "describe", away)
            with pytest.raises(Unreachable):
                await bridge.call("send_text", TEXT, ask=yes)
        assert await effects(admin) == []
        await bridge.call("send_text", TEXT)
        assert await effects(admin) == ["/api/sendText"]


async def test_a_yes_is_not_for_a_message_that_was_changed_while_the_person_was_asked(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        row = await admin.request("POST", "/api/sendText", {"session": "default", "chatId": SAM, "text": "At six"})
        message = row["id"]

        async def change_and_say_yes(question: Question) -> bool:
            await admin.request("PUT", f"/api/default/chats/{SAM}/messages/{message}", {"text": "At seven"})
            await admin.clear()
            return True

        call = {"chat": SAM, "text": "As I said", "reply_to": message}
        with pytest.raises(Refusal, match="was changed while the user was asked"):
            await bridge.call("send_text", call, ask=change_and_say_yes)
        assert await effects(admin) == []

        async def say_yes(question: Question) -> bool:
            return True

        await bridge.call("send_text", call, ask=say_yes)
        assert len(await effects(admin)) == 1


async def test_a_yes_for_what_may_have_gone_out_is_spent(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)
        decide(waiting()[0].id, approve=True)
        await admin.fault("/api/sendText", status=500, body="{}")
        with pytest.raises(OutcomeUnknown):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT | {"allow_repeat": True})


async def test_an_approval_is_good_once(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        await admin.clear()
        decide(waiting()[0].id, approve=True)
        await bridge.call("send_text", TEXT)
        await waits(bridge, allow_repeat=True)
        assert await effects(admin) == ["/api/sendText"]


async def test_parallel_calls_share_no_approval(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        await admin.clear()
        decide(waiting()[0].id, approve=True)

        async def call() -> None:
            with suppress(Refusal):
                await bridge.call("send_text", TEXT | {"allow_repeat": True})

        async with anyio.create_task_group() as calls:
            for _ in range(8):
                calls.start_soon(call)
        assert await effects(admin) == ["/api/sendText"]


@pytest.mark.parametrize(
    "change", [{"text": "Other"}, {"chat": MAYA}, {"mentions": [DAD]}], ids=["text", "chat", "more"]
)
async def test_an_approval_is_not_for_anything_else(change: dict[str, Any], sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        decide(waiting()[0].id, approve=True)
        await admin.clear()
        await waits(bridge, **change)
        assert await effects(admin) == []


async def test_an_approval_of_a_file_is_for_the_bytes_it_held(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    (outbox / "plan.txt").write_text("harmless")
    call = {"chat": SAM, "kind": "file", "path": "plan.txt"}
    async with bridge_with(sandbox, approval="send") as bridge:
        bridge.app = bridge.app.model_copy(update={"outbox": outbox})
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_media", call)
        decide(waiting()[0].id, approve=True)
        (outbox / "plan.txt").write_text("swapped")
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_media", call)
        (outbox / "plan.txt").write_text("harmless")
        await bridge.call("send_media", call)


async def test_a_refusal_by_the_person_holds(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        decide(waiting()[0].id, approve=False)
        for _ in range(2):
            with pytest.raises(Refusal, match="refused"):
                await bridge.call("send_text", TEXT)


async def test_an_approval_expires(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        [entry] = waiting()
        decide(entry.id, approve=True)
        monkeypatch.setattr("time.time", lambda: entry.expires + 1)
        assert waiting() == []
        await waits(bridge)


async def test_one_that_waited_too_long_cannot_be_approved(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        [entry] = waiting()
        monkeypatch.setattr("time.time", lambda: entry.expires + 1)
        assert not decide(entry.id, approve=True)


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"created": 1, "expires": 9e99, "question": {"digest": "x"}}'])
async def test_a_damaged_row_is_no_approval(junk: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        decide(waiting()[0].id, approve=True)
        store = opened_store()
        [row] = store.rows("question")
        assert store.swap("question", row.key, row.value, junk)
        await admin.clear()
        await waits(bridge)
        assert await effects(admin) == []


async def test_a_folder_that_cannot_be_written_means_not_sent(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    (tmp_path / "waha-mcp").write_text("a file where the folder should be")
    async with bridge_with(sandbox, approval="send", audit="off") as bridge:
        await admin.clear()
        with pytest.raises(Refusal, match="not done"):
            await bridge.call("send_text", TEXT)
        assert await effects(admin) == []


async def test_an_agent_cannot_bury_the_person_in_questions_about_one_chat(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        for number in range(approval.MOST_PER_CHATS):
            await waits(bridge, text=f"Question {number}")
        with pytest.raises(Refusal, match="Too many"):
            await bridge.call("send_text", TEXT)
        assert len(waiting()) == approval.MOST_PER_CHATS
        await waits(bridge, chat=MAYA)


async def test_what_keeps_questions_is_for_the_user_alone(sandbox: SandboxInfo, tmp_path: Path) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
    folder = tmp_path / "waha-mcp"
    assert all(map(only_mine, folder.rglob("*")))


MODES: dict[str, list[tuple[str, dict[str, Any], bool]]] = {
    "never": [("send_text", {"chat": STRANGER, "text": "x"}, False)],
    "first_contact": [
        ("send_text", {"chat": STRANGER, "text": "x"}, True),
        ("send_text", {"chat": SAM, "text": "x"}, False),
        ("send_text", {"chat": SAM, "text": "x @1", "mentions": [STRANGER]}, True),
    ],
    "send": [("send_text", {"chat": SAM, "text": "x"}, True), ("mark_read", {"chat": SAM}, True)],
    "destructive": [("send_text", {"chat": STRANGER, "text": "x"}, False)],
    "all": [("send_text", {"chat": SAM, "text": "x"}, True), ("mark_read", {"chat": SAM}, True)],
}


@pytest.mark.parametrize("mode", MODES)
async def test_each_mode_asks_for_its_own(mode: str, sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval=mode) as bridge:
        for tool, arguments, asks in MODES[mode]:
            if asks:
                with pytest.raises(Refusal, match="waiting"):
                    await bridge.call(tool, arguments)
            else:
                await bridge.call(tool, arguments)


async def test_a_stranger_who_wrote_is_still_a_first_contact(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/messages", {"chatId": STRANGER, "text": "Send me everything"})
    async with bridge_with(sandbox, approval="first_contact") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", {"chat": STRANGER, "text": "Everything"})


async def test_who_is_listed_is_no_first_contact(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="first_contact", **send([STRANGER])) as bridge:
        await bridge.call("send_text", {"chat": STRANGER, "text": "Hello"})


async def test_for_those_under_ask_a_person_decides(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **send([SAM], ask=["people"], deny=[DAD])) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "Hello"})
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", {"chat": MAYA, "text": "Hello"})
        with pytest.raises(Refusal, match="may not"):
            await bridge.call("send_text", {"chat": DAD, "text": "Hello"})


async def test_the_terminal_lists_approves_and_refuses(sandbox: SandboxInfo, tmp_path: Path) -> None:
    def waha_mcp(*arguments: str) -> Any:
        return anyio.to_thread.run_sync(lambda: run(*arguments, env={"XDG_STATE_HOME": str(tmp_path)}))

    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
        [entry] = waiting()
        listed = await waha_mcp("approvals")
        assert entry.id in listed.stdout
        assert "Sam Okafor (+12025550123)" in listed.stdout
        assert json.loads((await waha_mcp("approvals", "--json")).stdout)[0]["id"] == entry.id
        asks_back = await waha_mcp("approve", entry.id)
        assert asks_back.returncode == 2
        assert [each.id for each in waiting()] == [entry.id]
        approved = await waha_mcp("approve", entry.id, "--yes")
        assert approved.returncode == 0, approved.stderr
        assert "The numbers you asked for" in approved.stdout
        assert waiting() == []
        gone = await waha_mcp("approve", entry.id, "--yes")
        assert gone.returncode == 1
        await bridge.call("send_text", TEXT)
        await waits(bridge, text="Another")
        assert (await waha_mcp("approve", waiting()[0].id, "--refuse")).returncode == 0
        with pytest.raises(Refusal, match="refused"):
            await bridge.call("send_text", TEXT | {"text": "Another"})


@pytest.mark.parametrize("guess", ["000000000000", "../../etc/passwd", "*", "waiting", ""])
async def test_an_id_that_does_not_wait_decides_nothing(guess: str, sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge)
    assert not decide(guess, approve=True)
    assert len(waiting()) == 1


async def test_that_a_chat_exists_does_not_make_a_stranger_known(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/messages", {"chatId": STRANGER, "text": "Send me everything"})
    async with bridge_with(sandbox, approval="first_contact", chats={"existing_only": True}) as bridge:
        await admin.clear()
        for _ in range(2):
            with pytest.raises(Refusal, match="waiting"):
                await bridge.call("send_text", {"chat": STRANGER, "text": "Everything"})
        assert await effects(admin) == []


GROUP = "120363000000000001@g.us"
SAM_IN_WORDS, MAYA_IN_WORDS = "Sam Okafor (+12025550123)", "Maya Lindqvist (+447700900142)"
QUESTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "one recipient, several lines": (
        "send_text",
        {"chat": SAM, "text": "Hello\nSam"},
        f"Send a text to {SAM_IN_WORDS}?\ntext:\n    Hello\n    Sam\nlink_preview: false",
    ),
    "several parameters name people": (
        "send_text",
        {"chat": SAM, "text": "@Maya", "mentions": [MAYA, SAM]},
        f"Send a text to {SAM_IN_WORDS}, {MAYA_IN_WORDS}?\nchat: {SAM_IN_WORDS}\n"
        f"mentions: {MAYA_IN_WORDS}, {SAM_IN_WORDS}\ntext: @Maya\nlink_preview: false",
    ),
    "a group and people": (
        "add_participants",
        {"group": GROUP, "people": [SAM]},
        f"Add participants to {SAM_IN_WORDS}, {GROUP}?\ngroup: {GROUP}\npeople: {SAM_IN_WORDS}",
    ),
    "a list of texts in any letters": (
        "send_poll",
        {"chat": SAM, "question": "Wo?", "options": ["Zürich", "Köln"]},
        f'Send a poll to {SAM_IN_WORDS}?\nquestion: Wo?\noptions: ["Zürich", "Köln"]\nmultiple_answers: false',
    ),
    "only people": (
        "create_group",
        {"subject": "Choir", "participants": [SAM, MAYA]},
        f"Create a group to {SAM_IN_WORDS}, {MAYA_IN_WORDS}?\nsubject: Choir",
    ),
    "a chat that does not notice": (
        "archive_chat",
        {"chat": SAM},
        f"Archive a chat?\nchat: {SAM_IN_WORDS}\narchived: true",
    ),
    "everyone": (
        "update_profile",
        {"about": "Away"},
        "Update own profile to everyone who can see this account?\nabout: Away",
    ),
}


@pytest.mark.parametrize("case", QUESTIONS)
async def test_a_question_says_who_is_reached_and_all_that_would_be_done(case: str, sandbox: SandboxInfo) -> None:
    tool, arguments, text = QUESTIONS[case]
    async with bridge_with(sandbox, approval="all") as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call(tool, arguments)
    [entry] = waiting()
    what, _, content = text.partition("\n")
    said = ["why: the App asks before every change", good_until(entry.expires)]
    assert entry.question.text() == "\n".join([what, *said, content])


async def test_a_reply_shows_what_it_answers(sandbox: SandboxInfo, admin: Admin) -> None:
    arrived = await admin.request("POST", "/sandbox/messages", {"chatId": SAM, "text": "Shall I pay?"})
    async with bridge_with(sandbox, approval="send") as bridge:
        await waits(bridge, text="Yes", reply_to=arrived["id"])
    [entry] = waiting()
    assert entry.question.text().splitlines() == [
        f"Send a text to {SAM_IN_WORDS}?",
        "why: the App asks before whatever reaches somebody",
        good_until(entry.expires),
        "text: Yes",
        f"reply_to: {arrived['id']}",
        "link_preview: false",
        "what reply_to says: Shall I pay?",
    ]


# The store


def question(digest: str = "d", app: str = "one") -> Question:
    return Question(app, "send_text", "Send a text", ("Sam",), {"text": "Hello"}, digest, time.time() + LIFETIME)


def test_digests_are_the_same_for_the_same_and_for_nothing_else() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    different = [("x",), ("X",), ("x", None), (["x"],), ({"x": 1},), ("\U0001f600",), ("\ud83d\ude00",), ("\\ud83d",)]
    assert len({digest_of(*each) for each in different}) == len(different)


def test_an_approval_that_is_no_longer_good_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    approvals = approvals_of("one")
    approvals.ask(question())
    assert approvals.decide(approvals.entries()[0].id, approve=True)
    [entry] = approvals.entries()
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda: entry.expires + 1)
        assert not approvals.use(entry)
    assert approvals.use(entry)
    assert not approvals.use(entry)


def test_what_waits_or_was_refused_is_no_approval() -> None:
    approvals = approvals_of("one")
    entry = approvals.ask(question())
    assert not approvals.use(entry)
    assert approvals.decide(entry.id, approve=False)
    assert approvals.ask(question()).state == "refused"
    assert not approvals.use(approvals.ask(question()))


def test_of_two_processes_one_takes_an_approval() -> None:
    beside = [approvals_of("one"), approvals_of("one")]
    beside[0].decide(beside[0].ask(question()).id, approve=True)
    found = [each.ask(question()) for each in beside]
    assert [entry.state for entry in found] == ["approved", "approved"]
    assert [each.use(entry) for each, entry in zip(beside, found, strict=True)] == [True, False]


def test_of_two_answers_at_once_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    approvals, beside = approvals_of("one"), approvals_of("one")
    entry = approvals.ask(question())
    seen = approvals.entries()
    assert beside.decide(entry.id, approve=False)
    monkeypatch.setattr(approvals, "entries", lambda: seen)  # read just before the other answered
    assert not approvals.decide(entry.id, approve=True)
    assert [each.state for each in beside.entries()] == ["refused"]


def test_an_answer_goes_to_the_app_whose_question_it_is() -> None:
    asked = {app: approvals_of(app).ask(question(app=app)) for app in ("one", "two", "three")}
    assert [entry.question.app for entry in waiting()] == ["one", "two", "three"]
    assert decide(asked["two"].id, approve=True)
    assert not decide(asked["two"].id, approve=True)
    assert [entry.id for entry in waiting()] == [asked["one"].id, asked["three"].id]
    assert approvals_of("two").use(approvals_of("two").ask(question(app="two")))


def test_an_id_that_leads_out_of_the_folder_decides_nothing() -> None:
    entry = approvals_of("one").ask(question())
    assert not approvals_of("two").decide(f"../../one/approvals/{entry.id}", approve=True)
    assert [each.state for each in approvals_of("one").entries()] == ["waiting"]


def test_a_question_is_asked_once_and_another_one_beside_it() -> None:
    approvals = approvals_of("one")
    first = approvals.ask(question())
    assert approvals.ask(question()) == first
    second = approvals.ask(question("other"))
    assert approvals.entries() == [first, second]


def test_questions_that_were_answered_leave_room_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MOST_PER_CHATS", 2)
    approvals = approvals_of("one")
    for number in range(2):
        approvals.ask(question(str(number)))
    with pytest.raises(TooManyWaiting):
        approvals.ask(question("one more"))
    assert approvals.decide(approvals.entries()[0].id, approve=True)
    assert approvals.ask(question("one more")).state == "waiting"


def about(*chats: str, digest: str = "d", seen: str = "") -> Question:
    return replace(question(digest), chats=chats, seen=seen)


def test_what_a_person_refused_stays_refused_for_what_looks_the_same() -> None:
    approvals = approvals_of("one")
    entry = approvals.ask(about(SAM, seen="s"))
    assert approvals.decide(entry.id, approve=False)
    assert approvals.ask(about(SAM, digest="other", seen="s")) == approvals.refused("other", "s")
    assert approvals.refused("other", "") is None
    assert approvals.ask(about(SAM, digest="other", seen="t")).state == "waiting"


def test_what_looks_the_same_takes_the_place_of_what_waits_and_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MOST_PER_CHATS", 2)
    approvals = approvals_of("one")
    approvals.ask(about(SAM, digest="a", seen="s"))
    kept = approvals.ask(about(SAM, digest="b", seen="t"))
    new = approvals.ask(about(SAM, digest="c", seen="s"))
    assert approvals.entries() == [kept, new]


def test_what_is_withdrawn_leaves_the_others_waiting() -> None:
    approvals = approvals_of("one")
    approvals.ask(about(SAM, digest="a", seen="s"))
    kept = approvals.ask(about(SAM, digest="b", seen="t"))
    approvals.withdraw("c", "s")
    assert approvals.entries() == [kept]


def test_a_row_that_stands_under_the_digest_of_another_call_is_none() -> None:
    approvals = approvals_of("one")
    assert approvals.decide(approvals.ask(question("b")).id, approve=True)
    [row] = opened_store().rows("question")
    opened_store().swap("question", "one/d", None, row.value)
    assert approvals.find("d") is None
    assert approvals.find("b") is not None


JUNK = ["", "[]", "{}", '{"question": {}}', '{"created": "x", "question": {"recipients": []}}']


@pytest.mark.parametrize("content", JUNK)
def test_a_row_that_is_not_as_it_was_written_is_gone(content: str) -> None:
    approvals = approvals_of("one")
    opened_store().swap("question", "one/d", None, content)
    assert approvals.entries() == []
    assert waiting() == []
    assert approvals.ask(question()).state == "waiting"
    assert len(approvals.entries()) == 1


def test_a_question_that_expired_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    approvals = approvals_of("one")
    entry = approvals.ask(question())
    monkeypatch.setattr("time.time", lambda: entry.expires + 1)
    assert not approvals.decide(entry.id, approve=True)
    assert opened_store().rows("question") == []


@pytest.mark.slow
def test_of_processes_that_ask_and_answer_at_once_one_gets_the_approval(tmp_path: Path) -> None:
    lines = """
import time
from waha_mcp.policy.approval import Approvals
from waha_mcp.policy.question import Question
approvals = Approvals("one", store)
for n in range(20):
    asked = Question("one", "send_text", "Send a text", ("Sam",), {}, str(n), time.time() + 600, chats=(str(n),))
    entry = approvals.ask(asked)
    print("asked", entry.id)
    if approvals.decide(entry.id, approve=True):
        print("decided", n)
    if approvals.use(approvals.ask(asked)):
        print("used", n)
"""
    lines_of = "".join(together(tmp_path / "waha-mcp" / "store.sqlite", lines, 3)).splitlines()
    decided = Counter(line for line in lines_of if line.startswith("decided"))
    used = Counter(line for line in lines_of if line.startswith("used"))
    # A used question is deleted, so that another process may ask and use it again: never more often than was decided.
    assert set(used) == {f"used {n}" for n in range(20)}
    assert all(used[f"used {n}"] == decided[f"decided {n}"] for n in range(20))


def test_commands_say_in_one_line_that_the_store_is_away(tmp_path: Path) -> None:
    (tmp_path / "waha-mcp" / "store.sqlite").mkdir(parents=True)
    for arguments in (["approvals"], ["approve", "00000000000a", "--yes"]):
        done = run(*arguments, env={"XDG_STATE_HOME": str(tmp_path)})
        assert done.returncode != 0
        assert "cannot be used" in done.stderr
        assert "Traceback" not in done.stderr
