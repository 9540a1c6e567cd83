"""Private copies of files, only for showing them with the question that waits."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Admin, app_for, approvals_of, opened_store
from tests.platforms import only_mine
from tests.policy.common import SAM, effects
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.bridge import Bridge
from waha_mcp.places import state_root
from waha_mcp.policy import Refusal, approval, shown_files
from waha_mcp.policy.approval import Entry, decide, waiting
from waha_mcp.policy.question import File, Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.local_files import from_outbox

SOUP = b"soup of the day"


def asked(*contents: bytes, digest: str = "d", expires: float | None = None) -> Question:
    files = tuple(File.of(f"path{n}", f"menu{n}.txt", content) for n, content in enumerate(contents))
    until = time.time() + LIFETIME if expires is None else expires
    return Question("one", "send_media", "Send media", ("Sam",), {}, digest, until, (), files, (SAM,))


def filed(*contents: bytes, **more: Any) -> Entry:
    return approvals_of("one").ask(asked(*contents, **more), contents)


def copies() -> list[Path]:
    return sorted(state_root().glob("*/questions/*"))


def test_a_copy_is_for_the_user_alone() -> None:
    entry = filed(SOUP)
    [copy] = copies()
    assert copy.read_bytes() == SOUP
    assert shown_files.read(opened_store(), entry.id, 0) == SOUP
    assert shown_files.read(opened_store(), entry.id, 1) is None
    assert only_mine(copy)
    assert only_mine(copy.parent)
    assert entry.question.files[0].copied is True


@pytest.mark.parametrize("approve", [True, False])
def test_a_decided_question_has_no_copy(approve: bool) -> None:
    first, second = filed(SOUP), filed(b"other", digest="e")
    assert decide(first.id, approve=approve)
    assert [path.name for path in copies()] == [f"{second.id}-0"]


def test_a_question_that_is_taken_back_has_no_copy() -> None:
    filed(SOUP)
    approvals_of("one").withdraw(asked(SOUP).digest, asked(SOUP).seen)
    assert copies() == []
    assert waiting() == []


def test_a_question_whose_call_has_its_approval_back_has_no_copy() -> None:
    approvals = approvals_of("one")
    first = filed(SOUP)
    assert approvals.decide(first.id, approve=True)
    [approved] = approvals.entries()
    assert approvals.use(approved)
    again = filed(SOUP)
    assert [path.name for path in copies()] == [f"{again.id}-0"]
    approvals.give_back(approved)
    assert [each.state for each in approvals.entries()] == ["approved"]
    assert copies() == []


def test_what_was_decided_is_not_taken_back() -> None:
    entry = filed(SOUP)
    assert decide(entry.id, approve=True)
    approvals_of("one").withdraw(asked(SOUP).digest, asked(SOUP).seen)
    assert [each.state for each in approvals_of("one").entries()] == ["approved"]


def test_a_question_that_is_forgotten_has_no_copy() -> None:
    filed(SOUP)
    kept = filed(b"other", digest="e")
    assert approval.forget(opened_store(), "one/", lambda text: '"digest": "d"' in text) == 1
    assert [path.name for path in copies()] == [f"{kept.id}-0"]


def test_with_what_is_forgotten_go_the_copies_of_expired_questions() -> None:
    filed(b"old", expires=time.time() - shown_files._AFTER - 1)
    assert approval.forget(opened_store(), "one/", lambda text: False) == 0
    assert copies() == []


def test_a_question_that_makes_room_has_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "MOST_WAITING", 1)
    filed(SOUP)
    second = filed(b"other", digest="e")
    assert [path.name for path in copies()] == [f"{second.id}-0"]


def test_an_expired_copy_is_deleted_and_no_other() -> None:
    filed(SOUP)
    filed(b"old", digest="e", expires=time.time() - shown_files._AFTER - 1)
    assert len(copies()) == 2
    assert waiting()
    assert [path.read_bytes() for path in copies()] == [SOUP]


async def test_an_app_that_starts_deletes_what_expired(sandbox: SandboxInfo) -> None:
    filed(b"old", expires=time.time() - shown_files._AFTER - 1)
    async with Bridge(app_for(sandbox, "read_send")) as bridge:
        assert bridge.policy
        assert copies() == []


def test_what_a_process_left_half_written_is_deleted() -> None:
    filed(SOUP)
    [copy] = copies()
    half = copy.with_name(f".{copy.name}.x1y2")
    half.write_bytes(b"so")
    os.utime(half, (1.0, 1.0))
    assert shown_files.sweep() == 1
    assert copies() == [copy]


def test_a_process_deletes_what_expires_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_files, "_AFTER", 0.05)
    monkeypatch.setattr(shown_files, "_sweeping", threading.Lock())
    filed(SOUP, expires=time.time() - 1)
    end = time.monotonic() + 10
    while copies():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_copies_of_a_question_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_files, "MOST_COPIED", 10)
    entry = filed(b"x" * 7, b"y" * 4, b"z" * 3)
    assert [file.copied for file in entry.question.files] == [True, False, True]
    assert [path.read_bytes() for path in copies()] == [b"x" * 7, b"z" * 3]
    said = entry.question.text().splitlines()
    assert [line.endswith("too large to be shown here") for line in said] == [
        name.startswith("what path1 holds") for name in said
    ]


@pytest.mark.parametrize("size", [shown_files.MOST_COPIED, shown_files.MOST_COPIED + 1])
def test_a_file_is_copied_up_to_20_mb(size: int) -> None:
    entry = filed(bytes(size))
    assert entry.question.files[0].copied is (size == 20_000_000)


def test_a_copy_that_cannot_be_written_is_said_not_to_be_there(caplog: pytest.LogCaptureFixture) -> None:
    state_root().joinpath("one").mkdir(parents=True)
    state_root().joinpath("one", "questions").write_text("a file where the folder should be")
    entry = filed(SOUP)
    assert entry.question.files[0].copied is False
    assert "cannot be kept" in caplog.text


def test_of_two_processes_that_ask_the_same_one_keeps_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    approvals, question = approvals_of("one"), asked(SOUP)
    first: list[Entry] = []

    def beside(*given: Any) -> tuple[File, ...]:
        kept = shown_files_keep(*given)
        if not first:
            first.append(filed(SOUP))
        return kept

    shown_files_keep = shown_files.keep
    first_time = iter([beside])
    monkeypatch.setattr(shown_files, "keep", lambda *given: next(first_time, shown_files_keep)(*given))
    assert approvals.ask(question, [SOUP]) == first[0]
    assert [path.name for path in copies()] == [f"{first[0].id}-0"]


# Through the gate


@pytest.mark.anyio
async def test_an_approved_call_sends_what_it_digested_and_never_the_copy(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    (tmp_path / "menu.txt").write_bytes(SOUP)
    call = {"chat": SAM, "kind": "file", "path": "menu.txt"}
    app = app_for(sandbox, sandbox.keys["read_send"], session="default", outbox=tmp_path, approval="send")
    async with Bridge(app) as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_media", call)
        [entry] = waiting()
        [copy] = copies()
        assert copy.read_bytes() == SOUP
        copy.write_bytes(b"poison")
        assert decide(entry.id, approve=True)
        assert copies() == []
        await admin.clear()
        (tmp_path / "menu.txt").write_bytes(b"poison")
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_media", call)
        assert await effects(admin) == []
        (tmp_path / "menu.txt").write_bytes(SOUP)
        await bridge.call("send_media", call)
        assert len(await effects(admin)) == 1


@pytest.mark.anyio
async def test_a_file_is_read_once_per_call(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "menu.txt").write_bytes(SOUP)
    read: list[str] = []

    async def noted(name: str, outbox: Path | None) -> bytes:
        read.append(name)
        return await from_outbox(name, outbox)

    monkeypatch.setattr("waha_mcp.policy.call.from_outbox", noted)
    monkeypatch.setattr("waha_mcp.tools.local_files.from_outbox", noted)
    app = app_for(sandbox, sandbox.keys["read_send"], session="default", outbox=tmp_path, approval="send")

    async def swap(question: Question) -> bool:
        assert question.files[0].sha256 == hashlib.sha256(SOUP).hexdigest()
        (tmp_path / "menu.txt").write_bytes(b"poison")
        return True

    async with Bridge(app) as bridge:
        await bridge.call("send_media", {"chat": SAM, "kind": "file", "path": "menu.txt"}, ask=swap)
        assert read == ["menu.txt"]
        assert bridge.policy._held == 0
    [sent] = await admin.performed("/api/sendFile")
    assert sent["body"]["file"]["data"] == "c291cCBvZiB0aGUgZGF5"


@pytest.mark.anyio
@pytest.mark.parametrize("more", [{"path": "more.txt"}, {"data": "eA=="}], ids=["a file", "base64"])
async def test_calls_hold_so_many_bytes_of_files_and_no_more(
    more: dict[str, str], sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.policy.gate.MOST_HELD", len(SOUP))
    (tmp_path / "menu.txt").write_bytes(SOUP)
    (tmp_path / "more.txt").write_bytes(b"x")
    app = app_for(sandbox, sandbox.keys["read_send"], session="default", outbox=tmp_path, approval="send")
    call = {"chat": SAM, "kind": "file"}

    async def beside(question: Question) -> bool:
        with pytest.raises(Refusal, match="hold too many files"):
            await bridge.call("send_media", call | more, ask=beside)
        return True

    async with Bridge(app) as bridge:
        await bridge.call("send_media", call | {"path": "menu.txt"}, ask=beside)
        assert bridge.policy._held == 0
        await admin.clear()

        async def yes(question: Question) -> bool:
            return True

        await bridge.call("send_media", call | more, ask=yes)
        assert await effects(admin) == ["/api/sendFile"]


def test_a_question_without_copies_makes_none() -> None:
    approvals_of("one").ask(asked(SOUP))
    assert copies() == []
