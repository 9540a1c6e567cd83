"""Notices about a waiting question, by a command or a URL, and never at the cost of the call."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.harness import Admin, opened_store
from tests.policy.common import HOSTILE, SAM, bridge_with, effects, hostile_question
from waha_mcp.app.policy_fields import Notify
from waha_mcp.log import hide
from waha_mcp.places import state_root
from waha_mcp.policy import Refusal, notices
from waha_mcp.policy.approval import Entry, waiting
from waha_mcp.policy.notices import Notices, summary
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo

TEXT = {"chat": SAM, "text": "between you and me"}


def entry(question: Question | None = None) -> Entry:
    asked = question or Question("one", "send_text", "Send a text", ("Sam (+12025550123)",), TEXT, "d", 1_900_000_800.0)
    return Entry("0123456789ab", "waiting", time.time(), asked.expires, asked)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def notices_of(**notify: Any) -> Notices:
    return Notices("one", Notify.model_validate(notify), opened_store())


def writing(path: Path, what: str) -> list[str]:
    """A command that writes a Python expression as JSON into a file, atomically."""
    lines = f"import json, os, sys; open({str(path)!r} + '.new', 'w').write(json.dumps({what}))"
    return [sys.executable, "-c", f"{lines}; os.replace({str(path)!r} + '.new', {str(path)!r})"]


@pytest.fixture(autouse=True)
def over() -> Iterator[None]:
    """Notices end with the test."""
    yield
    for thread in threading.enumerate():
        if thread.name == "notice":
            thread.join(timeout=30)


@pytest.mark.slow
def test_a_command_gets_one_line_and_none_of_our_secrets_and_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "told.json"
    hide(SecretStr("a-key-of-some-length"))
    monkeypatch.setenv("WAHA_API_KEY", "x")
    monkeypatch.setenv("OTHER_NAME", "Bearer a-key-of-some-length")
    monkeypatch.setenv("HARMLESS", "yes")
    command = writing(told, "[sys.argv[1:], dict(os.environ), sys.stdin.read()]")
    command[2] = "print('to stdout'); import sys; print('to stderr', file=sys.stderr); " + command[2]
    notices_of(command=[*command, "WhatsApp"]).send(entry())
    until(told.exists)
    arguments, env, stdin = json.loads(told.read_text())
    assert arguments == ["WhatsApp", summary(entry())]
    assert arguments[1].startswith("Send a text to Sam (+12025550123)? App one, id 0123456789ab, good until ")
    assert TEXT["text"] not in arguments[1]
    assert stdin == ""
    assert env["HARMLESS"] == "yes"
    assert not {"WAHA_API_KEY", "OTHER_NAME"} & env.keys()
    assert "a-key" not in json.dumps(env)
    seen = capfd.readouterr()
    assert "to std" not in seen.out + seen.err


@pytest.mark.parametrize("text", HOSTILE)
def test_a_notice_is_one_plain_line(text: str) -> None:
    said = summary(entry(hostile_question(text)))
    assert said.isprintable() or "\u200d" in said or "\u200c" in said
    assert not set("<>&\n") & set(said)
    assert "id 0123456789ab" in said
    said.encode()


def test_a_long_question_is_cut_and_its_id_is_not() -> None:
    asked = Question("one", "send_text", "Send a text", ("x" * 5000,), {}, "d", time.time() + 60)
    said = summary(entry(asked))
    assert len(said) < 350
    assert "x… App one, id 0123456789ab, good until" in said


def test_a_question_that_just_fits_is_not_cut() -> None:
    def of(length: int) -> str:
        return summary(entry(Question("one", "send_text", "Send a text", ("x" * length,), {}, "d", time.time() + 60)))

    without = of(0).partition(" App one")[0]
    longest = notices.MOST_TEXT - len(without)
    assert f"{'x' * longest}? App one" in of(longest)
    assert "…" in of(longest + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["/nowhere/at/all"], "FileNotFoundError"),
        ([sys.executable, "-c", "import sys; sys.exit(3)"], "ended with 3"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "more than 0 s and was ended"),
    ],
    ids=["not there", "fails", "never ends"],
)
def test_a_command_that_fails_is_logged(
    command: list[str], says: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "LONGEST", 0.3 if "time" in command[-1] else 10.0)
    notices_of(command=command).send(entry())
    until(lambda: says in caplog.text)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes are POSIX's")
def test_what_a_command_has_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "LONGEST", 1.5)
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    notices_of(command=[sys.executable, "-c", parent]).send(entry())
    until(lambda: pid.exists() and pid.read_text() != "")

    def gone() -> bool:
        try:
            state = Path(f"/proc/{int(pid.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"

    until(gone)


class Hook:
    """A server that keeps what is posted to it, and answers with a status."""

    def __init__(self, status: int = 204) -> None:
        self.got: list[tuple[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((self.path, json.loads(body)))
                self.send_response(status)
                self.send_header("Location", f"http://127.0.0.1:{hook.port}/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_url_gets_app_id_title_and_expiry_and_nothing_private() -> None:
    hook = Hook()
    notices_of(url=f"http://127.0.0.1:{hook.port}/topic?token=t").send(entry())
    until(lambda: bool(hook.got))
    hook.close()
    told = {"app": "one", "id": "0123456789ab", "title": "Send a text", "expires": "2030-03-17T18:00:00+00:00"}
    assert hook.got == [("/topic?token=t", told)]


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_url_that_fails_is_logged_without_itself_and_not_followed(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hook(status)
    notices_of(url=f"http://127.0.0.1:{hook.port}/secret").send(entry())
    until(lambda: str(status) in caplog.text)
    hook.close()
    assert [path for path, _ in hook.got] == ["/secret"]
    assert "secret" not in caplog.text


def test_nobody_there_is_logged_without_the_url(caplog: pytest.LogCaptureFixture) -> None:
    notices_of(url="http://127.0.0.1:9/secret").send(entry())
    until(lambda: "ConnectError" in caplog.text)
    assert "secret" not in caplog.text


def test_nobody_is_told_too_often(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(notices, "_run", lambda words: started.append(words[-1]))
    several = [notices_of(command=["x"]), notices_of(command=["x"])]
    for number in range(notices.MOST.amount + 5):
        several[number % 2].send(entry())
    until(lambda: len(started) == notices.MOST.amount)
    assert caplog.text.count("No notice of a question that waits") == 5
    Notices("another", Notify(command=["x"]), opened_store()).send(entry())
    until(lambda: len(started) == notices.MOST.amount + 1)


def test_without_a_store_nobody_is_told_and_nothing_fails(caplog: pytest.LogCaptureFixture) -> None:
    state_root().mkdir(parents=True)
    (state_root() / "store.sqlite").mkdir()
    notices_of(command=["x"]).send(entry())
    assert "No notice of a question that waits: The store" in caplog.text


def test_who_names_nobody_tells_nobody() -> None:
    Notices("one", None, opened_store()).send(entry())
    assert not [thread for thread in threading.enumerate() if thread.name == "notice"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_each_new_question_is_told_once_and_the_call_does_not_wait(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "LONGEST", 2.0)
    told = tmp_path / "told"
    lines = f"import sys, time; open({str(told)!r}, 'a').write(sys.argv[1] + '\\n'); time.sleep(60)"
    policy = {"when": "send", "notify": {"command": [sys.executable, "-c", lines]}}
    async with bridge_with(sandbox, approval=policy) as bridge:
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(Refusal, match="waiting"):
                await bridge.call("send_text", TEXT)
        assert time.monotonic() - began < notices.LONGEST
        await admin.clear()
        until(lambda: told.exists() and "\n" in told.read_text())
        [filed] = waiting()
        assert [filed.id in line for line in told.read_text().splitlines()] == [True]
        assert await effects(admin) == []
