"""The answering services of examples/answering_service reply, with the commands of its README and scripted agents."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import environment
from tests.serving import serving
from waha_mcp.app.definition import load_app
from waha_mcp.sandbox import SandboxInfo

FOLDER = Path(__file__).parent.parent / "examples" / "answering_service"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
MAYA = "447700900142@c.us"
#: A stand-in for a host's program: it answers the chat that woke it, and records its arguments.
HOST = """
import json, os, subprocess, sys
burst = json.load(sys.stdin)
print("arguments", json.dumps(sys.argv[1:]), file=sys.stderr)
body = {"chat": os.environ["LISTEN_CHAT"], "text": f"You said: {burst['messages'][-1]['text']}"}
subprocess.run(["waha-mcp", "call", "send_text", json.dumps(body), "--app", "answering"], check=True)
"""
COMMANDS = {block.split("--exec ")[1].split()[0]: block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)}


@contextmanager
def scripted_model() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A service for chat completions that echoes the message; its URL, and its requests."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            burst = json.loads(body["messages"][-1]["content"])
            said = {"role": "assistant", "content": f"You said: {burst['messages'][-1]['text']}"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": said}]}).encode())

        def log_message(self, *arguments: Any) -> None: ...

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/v1", asked


@pytest.fixture
def home(sandbox_process: SandboxInfo, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has the App and, on the PATH, the hosts."""
    config, programs = tmp_path / "config" / "waha-mcp", tmp_path / "bin"
    config.mkdir(parents=True)
    programs.mkdir()
    app = (FOLDER / "answering.toml").read_text(encoding="utf-8")
    (config / "answering.toml").write_text(app.replace("http://localhost:3000", sandbox_process.url))
    (config / "answering.key").write_text(sandbox_process.keys["read_send"])
    for name in ("claude", "goose"):
        (programs / name).write_text(f"#!{sys.executable}\n{HOST}")
        (programs / name).chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    command = shutil.which("waha-mcp", path=str(Path(sys.executable).parent))
    assert command is not None
    path = f"{programs}:{Path(command).parent}:{os.environ['PATH']}"
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "PATH": path}


@pytest.mark.parametrize("name", ["python", "claude", "goose"])
def test_the_command_of_the_readme_answers_who_wrote(
    name: str, sandbox_process: SandboxInfo, home: dict[str, str]
) -> None:
    admin = {"X-Api-Key": sandbox_process.admin_key}
    text = f"Are you there, {name}?"
    with scripted_model() as (model, asked):
        command = COMMANDS[name].replace("http://localhost:11434/v1", model)
        running = subprocess.Popen(
            ["bash", "-c", f"exec env {command}" if "MODEL" in command else f"exec {command}"],
            cwd=FOLDER,
            env=environment(**home),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stderr is not None
        try:
            _until(running, "from now on")
            httpx.post(f"{sandbox_process.url}/sandbox/messages", json={"chatId": MAYA, "text": text}, headers=admin)
            said = _until(running, "exit code")
        finally:
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=30)
    assert "exit code 0" in said, said
    requests = httpx.get(f"{sandbox_process.url}/sandbox/requests", headers=admin).json()
    sent = [each["body"] for each in requests if each["path"] == "/api/sendText"]
    assert [each["chatId"] for each in sent if each["text"] == f"You said: {text}"] == [MAYA]
    assert len(asked) == (name == "python")


def _until(running: subprocess.Popen[str], words: str) -> str:
    """Its stderr up to the line with these words; all of it, if it ends before."""
    assert running.stderr is not None
    said = ""
    for line in running.stderr:
        said += line
        if words in line:
            break
    return said


def test_its_app_reaches_reads_and_is_woken_by_the_same_two_people() -> None:
    app = load_app(str(FOLDER / "answering.toml"), overrides={"key": "key_sample_0000"})
    assert app.listen.allow == app.chats.send.allow == app.chats.read.allow
    assert len(app.listen.allow) == 2
    assert "*" not in app.listen.allow
