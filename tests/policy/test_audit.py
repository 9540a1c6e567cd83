"""The trail of an App."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.harness import COMMAND, Admin, environment, run, stdio_client
from tests.policy.common import DAD, SAM, bridge_with, send
from waha_mcp.policy import Refusal, audit
from waha_mcp.policy.audit import Trail, trail_path
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Between us"}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def lines(app_id: str = "default") -> list[dict[str, Any]]:
    return [json.loads(line) for line in trail_path(app_id).read_text().splitlines()]


async def test_every_call_leaves_a_line_that_says_who_what_whom_and_how_it_ended(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **send([SAM])) as bridge:
        await bridge.call("send_text", TEXT, client="a client 1.0")
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": DAD, "text": "x"})
        await bridge.call("get_messages", {"chat": SAM})
    sent, refused, read = lines()
    assert sent.keys() == {
        "time", "client", "tool", "chats", "digest", "decision", "outcome", "message_id", "ms",
    }  # fmt: skip
    assert (sent["client"], sent["tool"], sent["chats"]) == ("a client 1.0", "send_text", [SAM])
    assert (sent["decision"], sent["outcome"]) == ("allowed", "done")
    assert sent["message_id"].startswith(f"true_{SAM}_")
    assert (refused["decision"], refused["outcome"], refused["chats"]) == ("recipient refused", "refused", [DAD])
    assert (read["tool"], read["chats"]) == ("get_messages", [SAM])
    assert "Between us" not in trail_path("default").read_text()


async def ending(sandbox: SandboxInfo, how: str, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text whose end is like this."""

    def broken(*_: object) -> object:
        raise RuntimeError("a slip of ours")

    match how:
        case "no file":
            call = ("send_media", {"chat": SAM, "kind": "file", "path": "none.txt"})
        case _:
            call = ("send_text", TEXT)
    async with bridge_with(sandbox) as bridge:
        await bridge.call("get_status", {})
        match how:
            case "refused by WAHA":
                await admin.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
            case "no answer":
                await admin.fault("/api/sendText", drop=True)
                await admin.fault("/api/default/new-message-id", status=501)
            case "a slip before":
                monkeypatch.setattr("waha_mcp.policy.delivery.MessageIds.new", broken)
            case "a slip after":
                monkeypatch.setattr("waha_mcp.tools.core.sending.sent_from", broken)
            case "cancelled before":
                await admin.fault("/api/default/new-message-id", delay=5)
            case "cancelled after":
                await admin.fault("/api/sendText", late=5)
        with suppress(Exception), anyio.move_on_after(0.3 if "cancelled" in how else 20):
            await bridge.call(*call)


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("well", "done"),
        ("no file", "failed"),
        ("refused by WAHA", "failed"),
        ("no answer", "unknown"),
        ("a slip before", "broken off"),
        ("a slip after", "unknown"),
        ("cancelled before", "broken off"),
        ("cancelled after", "unknown"),
    ],
)
async def test_the_line_says_how_it_ended(
    how: str, outcome: str, sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ending(sandbox, how, admin, monkeypatch)
    line = lines()[-1]
    assert (line["tool"], line["outcome"]) == ("send_media" if how == "no file" else "send_text", outcome)
    assert "arguments" not in line


async def test_an_approved_call_and_one_found_again_say_so(sandbox: SandboxInfo, admin: Admin) -> None:
    async def yes(question: Question) -> bool:
        return True

    async with bridge_with(sandbox, approval="send") as bridge:
        await admin.fault("/api/sendText", drop=True, after=True)
        await bridge.call("send_text", TEXT, ask=yes)
    [line] = lines()
    assert line["decision"] == "approved, found after its answer was lost"


async def test_texts_are_kept_where_the_app_says_so(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, audit="text") as bridge:
        await bridge.call("send_text", TEXT)
    [line] = lines()
    assert line["arguments"]["text"] == "Between us"


async def test_an_app_can_do_without(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, audit="off") as bridge:
        await bridge.call("send_text", TEXT)
    assert not trail_path("default").exists()


async def test_leaving_an_app_ends_the_thread_that_writes(sandbox: SandboxInfo) -> None:
    before = set(threading.enumerate())

    def writing() -> list[str]:
        return [each.name for each in set(threading.enumerate()) - before if "_monitor" in each.name]

    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        assert len(writing()) == 1
    assert writing() == []


async def test_the_file_is_for_the_user_alone(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
    assert trail_path("default").stat().st_mode & 0o077 == 0


def test_it_is_rotated_and_old_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 2_000)
    trail = Trail("rotated")
    for number in range(2000):
        trail.write({"number": number})
    trail.close()
    folder = trail_path("rotated").parent
    assert len(list(folder.iterdir())) == audit.KEPT + 1
    assert all(file.stat().st_size <= 2_000 for file in folder.iterdir())
    assert lines("rotated")[-1] == {"number": 1999}


def test_several_writers_of_one_app_lose_no_line() -> None:
    trails = [Trail("shared") for _ in range(3)]
    for number in range(100):
        trails[number % 3].write({"number": number})
    for trail in trails:
        trail.close()
    assert {line["number"] for line in lines("shared")} == set(range(100))


async def test_a_folder_that_cannot_be_made_is_reported_and_costs_no_call(
    sandbox: SandboxInfo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "waha-mcp").mkdir(mode=0o700)
    (tmp_path / "waha-mcp" / "default").write_text("in the way")
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        await bridge.call("list_chats", {})
    assert [r.message for r in caplog.records].count(
        next(r.message for r in caplog.records if "trail" in r.message)
    ) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_full_disk_is_reported_once_and_costs_no_call(
    sandbox: SandboxInfo, caplog: pytest.LogCaptureFixture
) -> None:
    trail_path("default").symlink_to("/dev/full")
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        await bridge.call("list_chats", {})
    reports = [r for r in caplog.records if "cannot be written" in r.message]
    assert [r.levelno for r in reports] == [logging.ERROR]


def test_the_key_never_stands_in_it() -> None:
    trail = Trail("secret", SecretStr('key_"quoted"_1234'))
    trail.write({"arguments": {"text": 'my key is key_"quoted"_1234'}})
    trail.close()
    assert "quoted" not in trail_path("secret").read_text()
    assert lines("secret")[0]["arguments"]["text"] == "my key is [key]"


def test_it_is_written_in_its_own_letters() -> None:
    trail = Trail("letters")
    trail.write({"text": "Grüße, Zoë"})
    trail.close()
    assert "Grüße, Zoë" in trail_path("letters").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="there are no modes")
def test_a_file_that_stood_open_is_closed_to_others() -> None:
    trail_path("open").touch()
    trail_path("open").chmod(0o644)
    trail = Trail("open")
    trail.write({"number": 1})
    trail.close()
    assert trail_path("open").stat().st_mode & 0o777 == 0o600


def test_closing_lets_go_of_the_file_and_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class File(audit._File):
        def close(self) -> None:
            closed.append(self.baseFilename)
            super().close()

    monkeypatch.setattr(audit, "_File", File)
    trail = Trail("closed")
    trail.write({"number": 1})
    trail.close()
    assert closed == [str(trail_path("closed"))]
    trail.close()
    trail.write({"number": 2})
    trail.close()
    assert [line["number"] for line in lines("closed")] == [1, 2]


def test_a_file_that_could_not_be_opened_is_written_once_it_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reported = threading.Event()

    def note(record: logging.LogRecord) -> bool:
        reported.set()
        return True

    monkeypatch.setattr(audit.logger, "filters", [note])
    trail = Trail("later")
    trail_path("later").mkdir()
    trail.write({"number": 1})
    assert reported.wait(10)
    trail_path("later").rmdir()
    trail.write({"number": 2})
    trail.close()
    assert lines("later") == [{"number": 2}]
    [report] = caplog.records
    assert "cannot be written; calls go on without it" in report.message


def test_writing_does_not_wait_for_the_disk() -> None:
    trail = Trail("fast")
    trail.write({"first": True})
    started = time.perf_counter()
    for number in range(1000):
        trail.write({"number": number})
    assert (time.perf_counter() - started) / 1000 < 0.001
    trail.close()


async def test_a_server_that_is_stopped_has_written_its_last_line(sandbox: SandboxInfo, admin: Admin) -> None:
    async with stdio_client(sandbox, sandbox.keys["read_send"]) as client:
        await client.call_tool("send_text", TEXT)
    [line] = lines()
    assert line["client"]
    assert line["outcome"] == "done"


def test_log_prints_the_last_lines_and_follows_across_a_rotation(tmp_path: Path) -> None:
    trail = Trail("default")
    for number in range(3):
        trail.write({"number": number})
    trail.close()
    env = {"XDG_STATE_HOME": str(tmp_path)}
    assert run("log", "--last", "2", env=env).stdout == '{"number":1}\n{"number":2}\n'
    process = subprocess.Popen(
        [*COMMAND, "log", "--follow", "--last", "1"], stdout=subprocess.PIPE, text=True, env=environment(**env)
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == '{"number":2}\n'
        path = trail_path("default")
        with path.open("a") as file:
            file.write('{"number":3}\n')
        assert process.stdout.readline() == '{"number":3}\n'
        path.rename(path.with_suffix(".old"))
        path.write_text('{"number":4}\n')
        assert process.stdout.readline() == '{"number":4}\n'
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_log_of_an_app_without_a_trail_says_so(tmp_path: Path) -> None:
    done = run("log", env={"XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "no trail yet" in line


def test_log_of_an_app_without_an_id_tells_where_its_earlier_calls_are(tmp_path: Path) -> None:
    file = tmp_path / "work.toml"
    file.write_text('key = "scoped-key-1234"', encoding="utf-8")
    for app_id in ("default", "work"):
        (tmp_path / "waha-mcp" / app_id).mkdir(parents=True)
        (tmp_path / "waha-mcp" / app_id / "trail.jsonl").write_text(f'{{"app":"{app_id}"}}\n', encoding="utf-8")
    done = run("log", "--app", str(file), env={"XDG_STATE_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (0, '{"app":"work"}\n')
    assert str(tmp_path / "waha-mcp" / "default" / "trail.jsonl") in done.stderr
