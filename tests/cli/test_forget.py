"""`waha-mcp forget`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pexpect
import pytest

from tests.harness import COMMAND, Admin, environment, run
from tests.policy.common import MAYA, SAM, lid_of
from waha_mcp.policy.audit import Trail, trail_path
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    Trail("work").write_now({"chats": [SAM], "outcome": "done", "tool": "send_text"})
    Trail("work").write_now({"chats": [MAYA], "outcome": "done", "tool": "send_text"})
    return found


def chats(app_id: str = "work") -> list[Any]:
    lines = [json.loads(line) for line in trail_path(app_id).read_text().splitlines()]
    return [line.get("chats") for line in lines if "tool" in line]


def test_a_chat_is_forgotten_by_its_number_in_any_spelling_without_a_question_in_a_pipe(home: dict[str, str]) -> None:
    done = run("forget", "+1 (202) 555-0123", env=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Forgotten, lines of the trail (time and tool are kept): 1.",
        f"WAHA did not give the other id of {SAM}: if you know it, forget that, too.",
    ]
    assert chats() == [None, [MAYA]]
    assert run("forget", SAM, env=home).stdout.splitlines()[0] == "Nothing was kept of that."


def test_a_script_reads_what_was_forgotten(home: dict[str, str]) -> None:
    done = run("forget", "--all", "--json", env=home)
    assert json.loads(done.stdout) == {
        "chats": [], "one_id_only": [], "trail_lines": 2, "questions": 0, "sent_messages": 0, "first_contacts": 0,
        "task_grants": 0,
        "indexed_messages": 0, "saved_files": [], "problems": [],
    }  # fmt: skip
    assert chats() == [None, None]


def test_only_one_app_is_named_by_its_id(home: dict[str, str]) -> None:
    Trail("other").write_now({"chats": [SAM], "outcome": "done", "tool": "send_text"})
    assert run("forget", SAM, "--app", "other", env=home).returncode == 0
    assert (chats("other"), chats()) == ([None], [[SAM], [MAYA]])
    done = run("forget", SAM, "--app", "none", env=home)
    assert done.returncode == 2
    assert "no App 'none' (available: default, other, work)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the chats to forget, or --all"),
        ([SAM, "--all"], "name the chats to forget, or --all"),
        (["Maya"], "'Maya' is neither a number nor a chat id"),
        (["0202 555 0123"], "has no country code"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], said: str, home: dict[str, str]) -> None:
    done = run("forget", *arguments, env=home)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert said in line
    assert chats() == [[SAM], [MAYA]]


def test_in_a_terminal_it_asks_first(home: dict[str, str]) -> None:
    def typed(*arguments: str, answer: str | None = None) -> int:
        child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], *arguments], env=environment(**home, TERM="dumb"), timeout=30)
        if answer is not None:
            child.expect("Forget .*\\?")
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        return int(child.exitstatus or 0)

    assert typed("forget", SAM, answer="n") == 1
    assert chats() == [[SAM], [MAYA]]
    assert typed("forget", SAM, answer="y") == 0
    assert typed("forget", MAYA, "--yes") == 0
    assert chats() == [None, None]


def test_what_cannot_be_forgotten_is_an_error(home: dict[str, str]) -> None:
    store = Path(home["XDG_STATE_HOME"]) / "waha-mcp" / "store.sqlite"
    store.unlink(missing_ok=True)
    store.mkdir()
    done = run("forget", SAM, env=home)
    assert done.returncode == 1
    assert "not everything was forgotten: The store" in done.stderr


@pytest.mark.parametrize("named", ["number", "hidden id"])
async def test_both_ids_of_a_person_are_forgotten_by_either(
    named: str, home: dict[str, str], sandbox: SandboxInfo, admin: Admin
) -> None:
    lid = await lid_of(admin, SAM)
    Trail("work").write_now({"chats": [lid], "outcome": "done", "tool": "send_text"})
    env = home | {"WAHA_URL": sandbox.url, "WAHA_API_KEY": sandbox.keys["read_send"]}
    wish = SAM if named == "number" else lid
    done = await anyio.to_thread.run_sync(lambda: run("forget", wish, "--json", env=env))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["chats"] == sorted([SAM, lid])
    assert json.loads(done.stdout)["one_id_only"] == []
    assert chats() == [None, [MAYA], None]
