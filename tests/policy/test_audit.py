"""The trail of an App."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import SecretStr

from tests.harness import COMMAND, Admin, environment, opened_store, run, stdio_client
from tests.platforms import only_mine, posix
from tests.policy.common import DAD, SAM, bridge_with, send
from waha_mcp.bridge import UnknownTool
from waha_mcp.policy import Asked, Refusal, audit
from waha_mcp.policy.audit import Trail, trail_path
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import Unreachable

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Between us"}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def lines(app_id: str = "default") -> list[dict[str, Any]]:
    """The lines of calls that have ended."""
    return [line for line in all_lines(app_id) if line.get("outcome") != "begun"]


def all_lines(app_id: str = "default") -> list[dict[str, Any]]:
    return [json.loads(line) for line in trail_path(app_id).read_text().splitlines()]


async def test_every_call_leaves_a_line_that_says_who_what_whom_and_how_it_ended(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **send([SAM])) as bridge:
        await bridge.call("send_text", TEXT, client="a client 1.0")
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": DAD, "text": "x"})
        await bridge.call("get_messages", {"chat": SAM})
    sent, refused, read = lines()
    assert sent.keys() == {
        "time", "call", "client", "tool", "chats", "digest", "decision", "outcome", "message_id", "ms",
    }  # fmt: skip
    assert (sent["client"], sent["tool"], sent["chats"]) == ("a client 1.0", "send_text", [SAM])
    assert (sent["decision"], sent["outcome"]) == ("allowed", "done")
    assert sent["message_id"].startswith(f"true_{SAM}_")
    assert (refused["decision"], refused["outcome"], refused["chats"]) == ("recipient refused", "refused", [DAD])
    assert (read["tool"], read["chats"]) == ("get_messages", [SAM])
    assert "Between us" not in trail_path("default").read_text()


async def test_a_call_that_waits_for_a_person_is_not_told_as_refused(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal):
            await bridge.call("send_text", TEXT)
    [line] = lines()
    assert (line["decision"], line["outcome"]) == ("waiting for approval", "waiting")


async def ending(sandbox: SandboxInfo, how: str, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text whose call ends in this way."""

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
    [line] = [line for line in lines() if line["tool"] != "get_status"]
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


async def test_an_app_can_do_without_a_trail(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, audit="off") as bridge:
        await bridge.call("send_text", TEXT)
    assert not trail_path("default").exists()


async def test_leaving_an_app_ends_the_thread_that_writes(sandbox: SandboxInfo) -> None:
    before = set(threading.enumerate())

    def writing() -> list[str]:
        return [each.name for each in set(threading.enumerate()) - before if each.name == "trail"]

    async with bridge_with(sandbox) as bridge:
        await bridge.call("list_chats", {})
        assert len(writing()) == 1
    assert writing() == []


def test_the_thread_that_writes_ends_for_want_of_lines_and_comes_back_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "LINGER", 0.01)
    trail = Trail("default")
    for number in range(3):
        trail.write({"call": str(number)})
        for writer in [each for each in threading.enumerate() if each.name == "trail"]:
            writer.join(10)
            assert not writer.is_alive()
    trail.close()
    assert [line["call"] for line in lines()] == ["0", "1", "2"]


async def test_the_file_is_for_the_user_alone(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
    assert only_mine(trail_path("default"))


def test_it_is_rotated_and_old_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 2_000)
    trail = Trail("rotated")
    for number in range(2000):
        trail.write({"number": number})
    trail.close()
    folder = trail_path("rotated").parent
    files = list(folder.glob("trail.jsonl*"))
    assert len(files) == audit.KEPT + 1
    assert all(file.stat().st_size <= 2_000 for file in files)
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


@posix
def test_a_file_that_stood_open_is_closed_to_others() -> None:
    trail_path("open").touch()
    trail_path("open").chmod(0o644)
    trail = Trail("open")
    trail.write({"number": 1})
    trail.close()
    assert trail_path("open").stat().st_mode & 0o777 == 0o600


def test_a_trail_that_was_closed_is_written_again() -> None:
    trail = Trail("closed")
    trail.write({"number": 1})
    trail.close()
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
    trail.write_now({"number": 2})
    trail_path("later").rmdir()
    trail.write_now({"number": 3})
    trail.close()
    assert lines("later") == [{"number": 3}]
    [report] = caplog.records
    assert report.message == ("The trail of App 'later' cannot be written (Is a directory); calls go on without it")
    trail_path("later").unlink()
    trail_path("later").mkdir()
    trail.write_now({"number": 4})
    assert len(caplog.records) == 2


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
        await client.call_tool("list_chats", {})
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
    done = run("log", env={"XDG_STATE_HOME": str(tmp_path), "WAHA_API_KEY": "key_sample_0000"})
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


# Before bytes leave, and after


async def test_an_effects_line_is_in_the_file_before_its_bytes_leave(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("list_chats", {})
        there: list[list[dict[str, Any]]] = []
        send_off = Waha._send

        def seen(self: Waha, request: Any, *more: Any) -> Any:
            if request.method != "GET":
                there.append(all_lines())
            return send_off(self, request, *more)

        monkeypatch.setattr(Waha, "_send", seen)
        await bridge.call("send_text", TEXT)
        await bridge.call("mark_read", {"chat": SAM})
    [sending, marking] = [each[-1] for each in there]
    assert (sending["tool"], sending["outcome"], sending["chats"]) == ("send_text", "begun", [SAM])
    assert (marking["tool"], marking["outcome"]) == ("mark_read", "begun")
    [sent] = [line for line in lines() if line["tool"] == "send_text"]
    assert (sent["call"], sent["digest"], sent["outcome"]) == (sending["call"], sending["digest"], "done")
    assert sending["call"] != marking["call"]
    assert "arguments" not in sending


async def test_the_line_stands_before_humanize_shows_itself(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[dict[str, Any]] = []

    async def seen(*_: object) -> None:
        there.extend(all_lines())

    monkeypatch.setattr("waha_mcp.policy.delivery.act_human", seen)
    async with bridge_with(sandbox, humanize=True) as bridge:
        await bridge.call("send_text", TEXT)
    assert [line["outcome"] for line in there] == ["begun"]
    assert [line["outcome"] for line in all_lines()] == ["begun", "done"]


async def test_what_never_leaves_has_one_line(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **send([SAM])) as bridge:
        with pytest.raises(Refusal):
            await bridge.call("send_text", {"chat": DAD, "text": "x"})
    assert [line["outcome"] for line in all_lines()] == ["refused"]


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_sends_leaves_the_line_and_log_calls_it_unknown(
    sandbox_process: SandboxInfo, tmp_path: Path
) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path)}
    env = environment(WAHA_URL=sandbox_process.url, WAHA_API_KEY=sandbox_process.keys["read_send"], **state)
    fault = {"path": "/api/sendText", "delay": 30, "count": 1}
    httpx.post(f"{sandbox_process.url}/sandbox/faults", json=fault, headers={"X-Api-Key": sandbox_process.admin_key})
    wish = json.dumps({"chat": SAM, "text": "Killed"})
    process = subprocess.Popen([*COMMAND, "call", "send_text", wish], env=env, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not trail_path("default").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    running = run("log", env=state)
    assert json.loads(running.stdout)["outcome"] == "begun"
    follower = subprocess.Popen(
        [*COMMAND, "log", "--follow", "--last", "1"], stdout=subprocess.PIPE, text=True, env=environment(**state)
    )
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["outcome"] == "begun"
    process.kill()
    process.wait(timeout=10)
    [line] = map(json.loads, run("log", env=state).stdout.splitlines())
    assert (line["tool"], line["outcome"], line["chats"]) == ("send_text", "unknown", [SAM])
    follower.terminate()
    follower.communicate(timeout=10)


def test_log_shows_a_call_that_ended_once_and_from_the_older_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 60)
    trail = Trail("default")
    for line in (
        {"call": "a", "outcome": "begun", "process": "7"},
        {"call": "b", "outcome": "begun", "process": "7"},
        {"outcome": "of 0.1.0"},
        {"call": "b", "outcome": "done"},
    ):
        trail.write_now(line)
    with trail_path("default").open("a") as file:
        file.write('{"torn')
    shown = run("log", "--last", "0", env={"XDG_STATE_HOME": str(tmp_path)}).stdout.splitlines()
    assert shown == [
        '{"call":"a","outcome":"unknown","process":"7"}',
        '{"outcome":"of 0.1.0"}',
        '{"call":"b","outcome":"done"}',
        '{"torn',
    ]


def test_one_line_is_left_of_each_call_the_newest_first() -> None:
    begun = [json.dumps({"call": name, "outcome": "begun", "process": f"process of {name}"}) for name in "abc"]
    ended = json.dumps({"call": "b", "outcome": "done", "text": "ü"}, ensure_ascii=False)
    shown = audit.joined(["  torn", ended + "   ", *reversed(begun), '["no object"]'], lambda of: of == "process of c")
    assert list(shown) == [
        "  torn",
        ended,
        begun[2],
        '{"call":"a","outcome":"unknown","process":"process of a"}',
        '["no object"]',
    ]
    assert audit.never_ended('{"call":"ü","outcome":"begun"}') == '{"call":"ü","outcome":"unknown"}'


def test_log_follows_calls_to_their_end_or_that_of_their_process(tmp_path: Path) -> None:
    trail = Trail("default")
    trail.write_now({"number": 0})
    process = subprocess.Popen(
        [*COMMAND, "log", "--follow"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(XDG_STATE_HOME=str(tmp_path)),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == '{"number":0}\n'
        trail.write_now({"call": "a", "outcome": "begun", "process": opened_store().process})
        trail.write_now({"call": "b", "outcome": "begun", "process": opened_store().process})
        trail.write_now({"call": "c", "outcome": "begun", "process": "7"})
        trail.write_now({"call": "b", "outcome": "done"})
        assert json.loads(process.stdout.readline())["call"] == "b"
        assert json.loads(process.stdout.readline()) == {"call": "c", "outcome": "unknown", "process": "7"}
        trail.write_now({"call": "a", "outcome": "done"})
        assert json.loads(process.stdout.readline()) == {"call": "a", "outcome": "done"}
    finally:
        process.terminate()
        process.communicate(timeout=10)


# Before the gate

EARLY: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "no such tool": ("send_telegram", {"text": "Between us"}, "not offered", "refused"),
    "a tool that is not offered": ("logout_session", {}, "not offered", "refused"),
    "an unknown argument": ("send_text", TEXT | {"extra": "Between us"}, "invalid arguments", "refused"),
    "a missing argument": ("send_text", {"text": "Between us"}, "invalid arguments", "refused"),
    "a value of another type": (
        "send_text",
        {"chat": SAM, "text": {"a": "Between us"}},
        "invalid arguments",
        "refused",
    ),
    "nobody of that name": ("send_text", {"chat": "Between us", "text": "x"}, "not resolved", "refused"),
    "a chat of another kind": ("get_group", {"group": SAM}, "not resolved", "refused"),
}


@pytest.mark.parametrize("case", EARLY)
async def test_a_call_that_does_not_come_to_the_gate_leaves_a_line(case: str, sandbox: SandboxInfo) -> None:
    tool, arguments, decision, outcome = EARLY[case]
    async with bridge_with(sandbox) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"core", "groups"})})
        with pytest.raises((UnknownTool, ArgumentError)):
            await bridge.call(tool, arguments, client="a client 1.0")
    [line] = lines()
    assert line.keys() == {"time", "call", "client", "tool", "decision", "outcome", "ms"}
    assert (line["tool"], line["decision"], line["outcome"]) == (tool, decision, outcome)
    assert line["client"] == "a client 1.0"
    assert 0 <= line["ms"] < 60_000
    assert "Between us" not in trail_path("default").read_text()


async def test_a_call_that_waha_cannot_be_asked_about_leaves_a_line(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **send(["Sam Carter"])) as bridge:
        bridge.policy._recipients.prepare = unreachable  # type: ignore[method-assign]
        with pytest.raises(Unreachable):
            await bridge.call("send_text", TEXT)
    [line] = lines()
    assert (line["decision"], line["outcome"]) == ("not checked", "failed")


async def unreachable(*, can_read: bool) -> None:
    raise Unreachable("nobody there")


async def test_a_call_that_was_cancelled_before_the_gate_broke_off(sandbox: SandboxInfo) -> None:
    async def hangs(*, can_read: bool) -> None:
        await anyio.sleep_forever()

    async with bridge_with(sandbox) as bridge:
        bridge.policy._recipients.prepare = hangs  # type: ignore[method-assign]
        with anyio.move_on_after(0.05):
            await bridge.call("send_text", TEXT)
    [line] = lines()
    assert (line["decision"], line["outcome"]) == ("not checked", "broken off")


async def test_what_the_agent_wrote_stands_in_such_a_line_only_where_the_app_says_so(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, audit="text") as bridge:
        key = bridge.app.key.get_secret_value()
        wishes: list[tuple[str, dict[str, Any]]] = [
            ("x" * 70 + key, {}),
            ("none", {"text": f"my key is {key}"}),
            ("none", {"a": ["long"] * 20_000}),
        ]
        for tool, arguments in wishes:
            with pytest.raises(UnknownTool):
                await bridge.call(tool, arguments)
    named, secret, long = lines()
    assert named["tool"] == "x" * 64
    assert secret["arguments"] == {"text": "my key is [key]"}
    assert "characters, sha256" in long["arguments"]


async def test_a_key_is_not_cut_to_a_piece_in_the_name_of_a_tool(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        with pytest.raises(UnknownTool):
            await bridge.call("x" * 50 + bridge.app.key.get_secret_value(), {})
    [line] = lines()
    assert line["tool"] == "x" * 50 + "[key]"


async def test_a_question_that_goes_back_to_the_client_leaves_a_line(sandbox: SandboxInfo) -> None:
    async def later(question: Question) -> bool:
        raise Asked

    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Asked):
            await bridge.call("send_text", TEXT, ask=later)
    [line] = lines()
    assert (line["decision"], line["outcome"]) == ("asked at the client", "waiting")


async def test_the_line_of_an_effect_is_there_before_its_answer_is(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox) as bridge:
        # The writer of deferred lines never reaches it.
        monkeypatch.setattr(audit.Trail, "write", lambda *_: None)
        await bridge.call("send_text", TEXT)
        assert [each["outcome"] for each in lines()] == ["done"]


async def test_a_folder_that_is_deleted_meanwhile_is_made_anew(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        shutil.rmtree(trail_path("default").parent)
        await bridge.call("send_text", TEXT | {"text": "Another"})
        assert [each["outcome"] for each in lines()] == ["done"]
