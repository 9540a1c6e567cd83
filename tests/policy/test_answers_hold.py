"""A person's answers hold over restarts, processes and clients, and a flood of questions displaces no other."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, types
from mcp.types import Implementation

from tests.attacks.hijacked import FAST, hijacked
from tests.harness import ERAS, Admin, Era, approvals_of, opened_store, run, sandbox_server, texts
from tests.policy.common import DAD, MAYA, SAM, bridge_with, effects
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Ask, Refusal, approval, approver, cannot_ask, shown_files
from waha_mcp.policy.approval import MOST_PER_CHATS, Entry, TooManyWaiting, decide, waiting
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol
from waha_mcp.store import StoreAway
from waha_mcp.store.sqlite import Sqlite
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Once"}
CONSOLE = {"when": "send", "ask_at": "console"}


async def yes(question: Question) -> bool:
    return True


async def no(question: Question) -> bool:
    return False


async def nobody(question: Question) -> bool | None:
    raise AssertionError("was asked")


def question(*chats: str, digest: str = "d", expires: float | None = None) -> Question:
    until = time.time() + LIFETIME if expires is None else expires
    return Question(
        "one", "send_text", "Send a text", chats, {}, digest, until, chats=tuple(sorted(chats)), seen=digest
    )


# Declined at a client


@asynccontextmanager
async def client_of(bridge: Bridge, era: Era, action: str, name: str = "codex-mcp-client") -> AsyncIterator[Client]:
    """A client of this name that answers every question by itself."""

    async def answer(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult.model_validate({"action": action})

    server = Protocol(lambda _: bridge).server
    info = Implementation(name=name, version="1.2")
    async with Client(server, mode=era, elicitation_callback=answer, client_info=info) as client:
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_host_declines_by_itself_is_said_to_be_declined_there(
    era: Era, sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era, "decline") as client:
        await admin.clear()
        said = texts(await client.call_tool("send_text", TEXT))
    assert said.startswith("Declined at the client codex-mcp-client 1.2, so it was not done")
    assert 'ask_at = "console"' in said
    assert "person" not in said
    assert await effects(admin) == []
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match=r"Declined at the client codex-mcp-client 1\.2,") as refused:
            await bridge.call("send_text", TEXT, ask=nobody, client="another 1")
    assert refused.value.decision == "declined at the client codex-mcp-client 1.2"
    assert waiting() == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_that_cancels_by_itself_has_asked_nobody(era: Era, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge, client_of(bridge, era, "cancel", "claude") as client:
        said = texts(await client.call_tool("send_text", TEXT))
        [entry] = waiting()
        assert f"waiting for approval, id {entry.id}" in said
        assert "waha-mcp approve" in said
        assert decide(entry.id, approve=True)
        await admin.clear()
        assert not (await client.call_tool("send_text", TEXT)).is_error
    assert await effects(admin) == ["/api/sendText"]


async def test_what_is_approved_at_the_console_is_not_asked_at_the_client_again(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)
        assert decide(waiting()[0].id, approve=True)
        await bridge.call("send_text", TEXT, ask=nobody)


@pytest.mark.parametrize("answer", [True, False])
async def test_what_a_client_answers_waits_no_longer_at_the_console(answer: bool, sandbox: SandboxInfo) -> None:
    async def answered(question: Question) -> bool:
        return answer

    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)
        assert len(waiting()) == 1
        if answer:
            await bridge.call("send_text", TEXT, ask=answered)
        else:
            with pytest.raises(Refusal, match="Declined"):
                await bridge.call("send_text", TEXT, ask=answered)
    assert waiting() == []
    assert approvals_of("default").entries() == []


async def test_who_is_asked_at_the_console_is_not_bound_by_a_client(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="Declined at the client that asked"):
            await bridge.call("send_text", TEXT, ask=no)
    async with bridge_with(sandbox, approval=CONSOLE) as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT, ask=nobody)
        assert decide(waiting()[0].id, approve=True)
        await admin.clear()
        await bridge.call("send_text", TEXT, ask=nobody)
        assert await effects(admin) == ["/api/sendText"]


async def test_what_was_declined_is_asked_again_when_its_time_is_up(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="Declined"):
            await bridge.call("send_text", TEXT, ask=no)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + LIFETIME - 5)
        with pytest.raises(Refusal, match="Declined"):
            await bridge.call("send_text", TEXT, ask=nobody)
        monkeypatch.setattr(time, "time", lambda: real() + LIFETIME + 1)
        await bridge.call("send_text", TEXT, ask=yes)


@pytest.mark.parametrize("name", ["a\nwhy: yes", "\u202eevil", "", None, "x" * 500])
async def test_a_clients_name_forges_nothing(name: str | None, sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="Declined at the client") as refused:
            await bridge.call("send_text", TEXT, ask=no, client=name)
    assert str(refused.value).isprintable()


async def test_a_no_is_not_lost_to_an_approval_that_is_given_back() -> None:
    approvals = approvals_of("one")
    approved = Entry("0123456789ab", "approved", time.time(), time.time() + 60, question(SAM))
    refused = approvals.ask(question(SAM))
    assert approvals.decide(refused.id, approve=False)
    approvals.give_back(approved)
    assert [each.state for each in approvals.entries()] == ["refused"]


async def test_an_approval_that_is_given_back_answers_what_waits() -> None:
    approvals = approvals_of("one")
    approvals.ask(question(SAM))
    approvals.give_back(Entry("0123456789ab", "approved", time.time(), time.time() + 60, question(SAM)))
    [entry] = approvals.entries()
    assert (entry.id, entry.state) == ("0123456789ab", "approved")
    assert approvals.use(entry)
    assert not approvals.use(entry)


@pytest.mark.parametrize("left", [0.0, -1.0])
async def test_an_approval_whose_time_is_up_is_not_given_back(left: float) -> None:
    approvals = approvals_of("one")
    approvals.give_back(Entry("0123456789ab", "approved", time.time(), time.time() + left, question(SAM)))
    assert approvals.entries() == []


@pytest.mark.parametrize("junk", ["", "5", "[]", "{}", '{"client": "x"}', '{"client": "x", "created": "now"}'])
async def test_a_row_of_what_was_declined_that_cannot_be_read_is_gone(junk: str) -> None:
    opened_store().swap("declined", "one/d", None, junk)
    assert approvals_of("one").declined("d") is None


async def test_what_was_declined_in_the_future_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    approvals, real = approvals_of("one"), time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3_600)
    approvals.decline(question(SAM), "codex")
    assert approvals.declined("d") == "codex"
    monkeypatch.setattr(time, "time", real)
    assert approvals.declined("d") is None
    approvals.decline(question(SAM), "codex")
    assert approvals.declined("d") == "codex"


async def test_calls_that_were_declined_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MOST_DECLINED", 10)
    for number in range(12):
        approvals_of("one").decline(question(SAM, digest=str(number)), "codex")
    assert len(opened_store().rows("declined")) <= 10
    assert approvals_of("one").declined("11") == "codex"


async def test_a_yes_at_the_client_that_was_not_used_holds_over_a_restart(sandbox: SandboxInfo, admin: Admin) -> None:
    refusal = {"status": 422, "body": '{"error": "no", "session": "default"}'}
    async with bridge_with(sandbox, approval="send") as bridge:
        await admin.fault("/api/sendText", **refusal)
        with pytest.raises(WahaError):
            await bridge.call("send_text", TEXT, ask=yes)
    async with bridge_with(sandbox, approval="send") as bridge, bridge_with(sandbox, approval="send") as beside:
        await bridge.call("send_text", TEXT, ask=nobody)
        with pytest.raises(Refusal, match="Declined"):
            await beside.call("send_text", TEXT | {"allow_repeat": True}, ask=no)


async def test_without_the_store_nobody_is_asked(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bridge_with(sandbox, approval="all") as bridge:

        def away(*_: Any) -> Any:
            raise StoreAway("gone")

        monkeypatch.setattr(Sqlite, "get", away)
        with pytest.raises(Refusal, match="so this was not done"):
            await bridge.call("mark_read", {"chat": SAM}, ask=nobody)


# A flood


async def test_a_flood_about_one_chat_keeps_no_other_out() -> None:
    approvals = approvals_of("one")
    for number in range(50):
        # Each in a different combination, so that no two are about the same chats.
        approvals.ask(question(SAM, f"120255501{number:02}@c.us", digest=f"flood {number}"))
        assert len(approvals.entries()) <= approval.MOST_WAITING
    honest = approvals.ask(question(MAYA, digest="honest"))
    for number in range(50, 100):
        approvals.ask(question(SAM, f"120255501{number:02}@c.us", digest=f"flood {number}"))
    assert honest in approvals.entries()
    assert approvals.ask(question(DAD, digest="another")).state == "waiting"
    assert approvals.decide(honest.id, approve=True)


async def test_a_flood_about_many_chats_keeps_no_other_out() -> None:
    approvals = approvals_of("one")
    for number in range(30):
        approvals.ask(question(f"120255501{number:02}@c.us", digest=f"flood {number}"))
    honest = approvals.ask(question(MAYA, digest="honest"))
    left = approvals.entries()
    assert len(left) == approval.MOST_WAITING
    assert left[-1] == honest
    assert left[0].question.digest == f"flood {30 - approval.MOST_WAITING + 1}"


async def test_questions_about_the_same_chats_are_bounded_in_whatever_order() -> None:
    approvals = approvals_of("one")
    for number in range(approval.MOST_PER_CHATS):
        approvals.ask(question(*([SAM, MAYA] if number % 2 else [MAYA, SAM]), digest=str(number)))
    with pytest.raises(approval.TooManyWaiting):
        approvals.ask(question(SAM, MAYA, digest="more"))
    approvals.ask(question(SAM, digest="more"))
    approvals_of("two").ask(question(SAM, MAYA, digest="more"))


async def test_questions_about_no_chat_are_bounded_as_those_about_one() -> None:
    approvals = approvals_of("one")
    for number in range(approval.MOST_PER_CHATS):
        approvals.ask(question(digest=str(number)))
    with pytest.raises(approval.TooManyWaiting):
        approvals.ask(question(digest="more"))


async def test_what_is_decided_makes_no_room_and_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MOST_WAITING", 2)
    approvals = approvals_of("one")
    decided = [approvals.ask(question(f"{n}@c.us", digest=str(n))) for n in range(2)]
    for entry in decided:
        assert approvals.decide(entry.id, approve=entry == decided[0])
    for number in range(2, 6):
        approvals.ask(question(f"{number}@c.us", digest=str(number)))
    states = [each.state for each in approvals.entries()]
    assert states == ["approved", "refused", "waiting", "waiting"]


async def test_a_chat_that_is_only_named_counts(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="all") as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        for tool in ("archive_chat", "send_text"):
            with pytest.raises(Refusal, match="waiting"):
                await bridge.call(tool, {"chat": SAM} | ({"text": "x"} if tool == "send_text" else {}))
    assert [entry.question.chats for entry in waiting()] == [(SAM,), (SAM,)]


# Waiting for the decision


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approver, "LOOK_EVERY", 0.02)


WAITS = CONSOLE | {"wait": "50s"}


async def decide_when_asked(approve: bool) -> str:
    while not (found := waiting()):  # noqa: ASYNC110 - another process's question cannot be awaited
        await anyio.sleep(0.01)
    assert decide(found[0].id, approve=approve)
    return found[0].id


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("approve", [True, False])
async def test_a_call_waits_for_the_decision_and_goes_on(approve: bool, sandbox: SandboxInfo, admin: Admin) -> None:
    reported: list[tuple[float, float | None, str]] = []

    async def progress(done: float, total: float | None, message: str) -> None:
        reported.append((done, total, message))

    async with bridge_with(sandbox, approval=WAITS) as bridge:
        await admin.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(decide_when_asked, approve)
            if approve:
                await bridge.call("send_text", TEXT, progress=progress)
            else:
                with pytest.raises(Refusal, match="The user refused this"):
                    await bridge.call("send_text", TEXT, progress=progress)
    assert await effects(admin) == (["/api/sendText"] if approve else [])
    assert reported
    assert {total for _, total, _ in reported} == {50.0}
    assert reported[0][2].startswith("Waiting for approval, id ")


@pytest.mark.slow
@pytest.mark.usefixtures("often")
async def test_a_call_waits_only_so_long(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval=CONSOLE | {"wait": "1s"}) as bridge:
        await admin.clear()
        began = anyio.current_time()
        with pytest.raises(Refusal, match="waiting for approval"):
            await bridge.call("send_text", TEXT)
        assert 1 <= anyio.current_time() - began < 10
        assert len(waiting()) == 1
        assert await effects(admin) == []


@pytest.mark.usefixtures("often")
async def test_a_call_that_is_cancelled_while_it_waits_leaves_the_question_and_holds_nothing(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    (tmp_path / "menu.txt").write_text("soup")
    async with bridge_with(sandbox, approval=WAITS) as bridge:
        bridge.app = bridge.app.model_copy(update={"outbox": tmp_path})
        call = {"chat": SAM, "kind": "file", "path": "menu.txt"}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bridge.call, "send_media", call)
            while not waiting():  # noqa: ASYNC110 - as above
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert bridge.policy._held == 0
        assert decide(waiting()[0].id, approve=True)
        await admin.clear()
        await bridge.call("send_media", call)
        assert await effects(admin) == ["/api/sendFile"]


@pytest.mark.usefixtures("often")
async def test_of_two_calls_that_wait_for_one_decision_one_is_done(sandbox: SandboxInfo, admin: Admin) -> None:
    said: list[str] = []

    async def call() -> None:
        try:
            await bridge.call("send_text", TEXT | {"allow_repeat": True})
        except Refusal as error:
            said.append(error.decision)

    async with bridge_with(sandbox, approval=WAITS) as bridge:
        await admin.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(call)
            tasks.start_soon(decide_when_asked, True)
    assert await effects(admin) == ["/api/sendText"]
    assert said == ["question gone"]


@pytest.mark.usefixtures("often")
async def test_a_message_that_is_edited_while_the_call_waits_is_not_quoted(sandbox: SandboxInfo, admin: Admin) -> None:
    row = await admin.request("POST", "/api/sendText", {"session": "default", "chatId": SAM, "text": "At six"})

    async def edit_and_approve() -> None:
        while not waiting():  # noqa: ASYNC110 - as above
            await anyio.sleep(0.01)
        await admin.request("PUT", f"/api/default/chats/{SAM}/messages/{row['id']}", {"text": "At seven"})
        await admin.clear()
        await decide_when_asked(True)

    async with bridge_with(sandbox, approval=WAITS) as bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(edit_and_approve)
        with pytest.raises(Refusal, match="was changed while the user was asked"):
            await bridge.call("send_text", TEXT | {"reply_to": row["id"]})
    assert await effects(admin) == []


async def test_a_client_that_takes_no_progress_holds_nothing_up(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approver, "LOOK_EVERY", 0.02)

    async def stuck(done: float, total: float | None, message: str) -> None:
        await anyio.sleep_forever()

    async with bridge_with(sandbox, approval=WAITS) as bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(decide_when_asked, True)
        with anyio.fail_after(20):
            await bridge.call("send_text", TEXT, progress=stuck)


async def test_a_question_is_good_for_the_lifetime_that_the_app_gives(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval=CONSOLE | {"lifetime": "2h"}) as bridge:
        with pytest.raises(Refusal, match="It expires in 120 min"):
            await bridge.call("send_text", TEXT)
        [entry] = waiting()
        assert entry.expires == pytest.approx(time.time() + 7_200, abs=30)


# Several processes


@pytest.mark.slow
def test_answers_hold_for_several_servers_that_start_again(tmp_path: Path) -> None:
    policy = '[approval]\nwhen = "send"\n' + FAST
    with sandbox_server() as sandbox:
        with hijacked(sandbox, tmp_path, policy, asks=True) as agent:
            agent.answer = lambda question: {"result": {"action": "decline"}}
            done, said = agent.call("send_text", chat=SAM, text="declined")
            assert not done
            assert said.startswith("Declined at the client agent 1")
            agent.answer = lambda question: {"result": {"action": "cancel"}}
            done, said = agent.call("send_text", chat=SAM, text="filed")
            filed = said.partition("id ")[2].partition(".")[0]
        # The same App, started again beside another process of it, on the same state folder.
        with hijacked(sandbox, tmp_path, policy, asks=True) as again, hijacked(sandbox, tmp_path, policy) as beside:
            again.judge.forget()
            for agent in (again, beside):
                done, said = agent.call("send_text", chat=SAM, text="declined")
                assert not done
                assert said.startswith("Declined at the client agent 1")
            approved = run("approve", filed, "--yes", env={"XDG_STATE_HOME": str(agent.state)})
            assert approved.returncode == 0, approved.stderr
            call = {"chat": SAM, "text": "filed", "allow_repeat": True}
            assert sorted(agent.call("send_text", **call)[0] for agent in (again, beside)) == [False, True]
            assert again.judge.delivered(SAM, "filed") == 1
            assert again.judge.delivered(SAM, "declined") == 0


# What looks the same to the recipient

ALIKE: dict[str, dict[str, Any]] = {
    "one blank more": {"text": "Once "},
    "an invisible character": {"text": "On\u200bce"},
    "with a link preview": {"link_preview": True},
}


async def held_back(bridge: Bridge, call: dict[str, Any], ask: Ask = cannot_ask) -> str:
    with pytest.raises(Refusal) as refused:
        await bridge.call("send_text", call, ask=ask)
    return str(refused.value)


@pytest.mark.parametrize("spelling", ALIKE)
async def test_a_refusal_at_the_console_is_for_what_looks_the_same(
    spelling: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, approval=CONSOLE) as bridge:
        await admin.clear()
        assert "waiting for approval" in await held_back(bridge, TEXT)
        assert decide(waiting()[0].id, approve=False)
        assert (await held_back(bridge, TEXT | ALIKE[spelling])).startswith("The user refused this.")
        assert waiting() == []
        assert "waiting for approval" in await held_back(bridge, TEXT | {"text": "Twice"})
        assert await effects(admin) == []


@pytest.mark.parametrize("spelling", ALIKE)
async def test_a_no_at_the_client_is_for_what_looks_the_same(spelling: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        await admin.clear()
        assert "waiting for approval" in await held_back(bridge, TEXT | ALIKE[spelling])
        assert "Declined at the client" in await held_back(bridge, TEXT, no)
        assert waiting() == []
        assert "Declined at the client" in await held_back(bridge, TEXT | ALIKE[spelling], nobody)
        assert await effects(admin) == []


@pytest.mark.parametrize("spelling", ALIKE)
async def test_a_yes_is_for_exactly_the_call_that_was_shown(spelling: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, approval=CONSOLE) as bridge:
        await admin.clear()
        await held_back(bridge, TEXT)
        assert decide(waiting()[0].id, approve=True)
        assert "waiting for approval" in await held_back(bridge, TEXT | ALIKE[spelling])
        assert await effects(admin) == []


def test_a_question_takes_the_place_of_one_that_looks_the_same() -> None:
    approvals = approvals_of("one")
    first = approvals.ask(replace(question(SAM, digest="a"), seen="same"))
    other = approvals.ask(question(SAM, digest="b"))
    second = approvals.ask(replace(question(SAM, digest="c"), seen="same"))
    assert approvals.entries() == [other, second]
    assert not decide(first.id, approve=True)


def test_questions_of_earlier_versions_look_like_no_other() -> None:
    approvals = approvals_of("one")
    entries = [approvals.ask(replace(question(SAM, digest=each), seen="")) for each in ("a", "b")]
    assert approvals.decide(entries[0].id, approve=False)
    assert approvals.refused("a", "") is not None
    assert approvals.refused("b", "") is None
    assert approvals.refused("b", "same") is None


def test_questions_that_are_filed_at_once_stay_within_their_number() -> None:
    approvals = approvals_of("one")

    def ask(number: int) -> bool:
        with suppress(TooManyWaiting):
            approvals.ask(question(SAM, digest=str(number)))
            return True
        return False

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(ask, range(32))) == MOST_PER_CHATS


# Bytes in base64


async def test_bytes_in_base64_are_shown_as_a_file_is(sandbox: SandboxInfo) -> None:
    content = b"\x89PNG\r\n\x1a\n" + bytes(300)
    data = base64.b64encode(content).decode()
    async with bridge_with(sandbox, approval=CONSOLE) as bridge:
        with pytest.raises(Refusal, match="waiting for approval"):
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "data": data})
    [entry] = waiting()
    lines = entry.question.text()
    digest = hashlib.sha256(content).hexdigest()[:16]
    assert f"data: bytes in base64\nwhat data holds: 308 bytes, image/png by its bytes, SHA-256 {digest}…" in lines
    assert data[:20] not in lines
    assert shown_files.read(opened_store(), entry.id, 0) == content
