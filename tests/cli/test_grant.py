"""`waha-mcp grant`: for whom it can be opened, which questions it asks, and how grants are shown and closed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness import COMMAND, environment, opened_store, run
from waha_mcp.policy.task_grants import give, in_force
from waha_mcp.sandbox import SandboxInfo

MAYA, SAM = "447700900142@c.us", "12025550123@c.us"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_process: SandboxInfo) -> dict[str, str]:
    """The environment of a user with two Apps: one that asks, and one that may write to Maya alone."""
    config = tmp_path / "config" / "waha-mcp"
    config.mkdir(parents=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    head = f'url = "{sandbox_process.url}"\nkey = "{sandbox_process.keys["read_send"]}"\nsession = "default"\n'
    (config / "work.toml").write_text(head + 'approval = "send"\n')
    deny = '[chats]\nsend = { allow = ["+44 7700 900142"], deny = ["+1 202 555 0123"] }\n'
    (config / "narrow.toml").write_text(head + 'audit = "off"\n' + deny)
    (config / "sends.toml").write_text(head.replace(*_keys(sandbox_process, "read_send", "send")))
    (config / "reads.toml").write_text(head.replace(*_keys(sandbox_process, "read_send", "read")))
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def _keys(sandbox: SandboxInfo, *names: str) -> tuple[str, str]:
    first, second = (sandbox.keys[name] for name in names)
    return first, second


def said(home: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = run("grant", *arguments, env=home)
    assert done.returncode == code, done.stderr
    return (done.stdout if code == 0 else done.stderr).strip()


def trail(home: dict[str, str], app_id: str) -> list[dict[str, Any]]:
    path = Path(home["XDG_STATE_HOME"]) / "waha-mcp" / app_id / "trail.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def given() -> dict[str, tuple[str, int, float]]:
    return {each.chat: (each.app_id, each.left, each.seconds) for each in in_force(opened_store())}


def test_it_is_opened_for_whom_it_shows_and_the_trail_says_so(home: dict[str, str]) -> None:
    shown = said(
        home, "--app", "work", "--to", "Maya Lindqvist", "--to", "+1 202 555 0123", "--for", "10m", "--messages", "2",
        "--yes",
    )  # fmt: skip
    assert shown.splitlines()[:3] == [
        "Agents of App 'work' may write without a question, 2 messages in 10 min, to each of:",
        "  Maya Lindqvist (+447700900142)",
        "  Sam Okafor (+12025550123)",
    ]
    assert given() == {MAYA: ("work", 2, 600.0), SAM: ("work", 2, 600.0)}
    [line] = trail(home, "work")
    assert (line["decision"], line["chats"], line["of"]) == (
        "task grant given by the user", [MAYA, SAM], "2 messages in 10 min",
    )  # fmt: skip


def test_by_itself_it_is_the_most_that_there_may_be(home: dict[str, str]) -> None:
    said(home, "--app", "work", "--to", MAYA, "--yes")
    assert given() == {MAYA: ("work", 5, 1800.0)}


def test_nobody_is_asked_without_a_terminal_and_nothing_is_opened(home: dict[str, str]) -> None:
    assert "run it in a terminal, or add --yes" in said(home, "--app", "work", "--to", MAYA, code=2)
    assert given() == {}


@pytest.mark.parametrize(("answer", "opened"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_in_a_terminal_it_asks_back(answer: str, opened: int, home: dict[str, str]) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [*COMMAND, "grant", "--app", "work", "--to", MAYA]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**home)) as process:
        os.close(theirs)
        shown = b""
        while b"Open it?" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, answer.encode())
        process.wait(timeout=30)
    os.close(ours)
    assert b"Maya Lindqvist (+447700900142)" in shown
    assert len(given()) == opened


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--to", MAYA, "--for", "2h"), "--for: must be from 1m to 30m"),
        (("--to", MAYA, "--for", "31m"), "--for: must be from 1m to 30m"),
        (("--to", MAYA, "--for", "30s"), "--for: must be from 1m to 30m"),
        (("--to", MAYA, "--for", "soon"), '--for: write a time such as "90s", "10m" or "2h"'),
        (("--to", MAYA, "--messages", "6"), "Input should be less than or equal to 5"),
        (("--to", MAYA, "--messages", "0"), "Input should be greater than or equal to 1"),
        ((), "give one of --to, --list and --end"),
        (("--to", MAYA, "--list"), "give one of --to, --list and --end"),
        (("--to", MAYA, "--end", "all"), "give one of --to, --list and --end"),
        (("--to", MAYA, "--app", "wrok"), "no App 'wrok'"),
    ],
)
def test_what_cannot_be_given_is_a_clear_error(arguments: tuple[str, ...], why: str, home: dict[str, str]) -> None:
    app = () if "--app" in arguments else ("--app", "work")
    assert why in said(home, *app, "--yes", *arguments, code=2)
    assert given() == {}


@pytest.mark.parametrize(
    ("app", "to", "why"),
    [
        ("work", "Maya", "447700900142@c.us: person saved as 'Maya Lindqvist'"),
        ("work", "Nobody at all", "is nobody's name here"),
        ("work", "status@broadcast", "neither a person nor a group"),
        ("work", "120363000000000002@newsletter", "neither a person nor a group"),
        ("narrow", SAM, "may not write to 12025550123@c.us"),
        ("narrow", "+1 202 555 0101", "may not write to 12025550101@c.us"),
        ("sends", "Maya Lindqvist", "this key has no read action"),
        ("reads", MAYA, "App 'reads' sends nothing"),
    ],
)
def test_whom_it_cannot_be_given_for_is_said_with_what_would_do(
    app: str, to: str, why: str, home: dict[str, str]
) -> None:
    assert why in said(home, "--app", app, "--to", to, "--yes", code=1)
    assert given() == {}


def test_a_key_that_cannot_read_gives_one_by_number(home: dict[str, str]) -> None:
    assert "+447700900142" in said(home, "--app", "sends", "--to", "+44 7700 900142", "--yes")
    assert list(given()) == [MAYA]


def test_an_app_without_a_trail_gets_none(home: dict[str, str]) -> None:
    said(home, "--app", "narrow", "--to", MAYA, "--yes")
    said(home, "--end", "all")
    assert trail(home, "narrow") == []


def test_what_is_open_is_shown_and_closed_by_number_or_name_or_all_at_once(home: dict[str, str]) -> None:
    assert said(home, "--list") == "Nothing is open."
    assert said(home, "--end", "all") == "Nothing was open."
    shown = {MAYA: "Maya Lindqvist (+447700900142)", SAM: "Sam Okafor (+12025550123)"}
    for app in ("work", "narrow"):
        give(opened_store(), app, shown)
    assert (
        said(home, "--list", "--app", "work")
        .splitlines()[0]
        .startswith("App work, Maya Lindqvist (+447700900142): 5 messages left until ")
    )
    assert len(said(home, "--list").splitlines()) == 4
    assert said(home, "--end", "+1 202 555 0123", "--app", "work") == "Closed: App work, Sam Okafor (+12025550123)"
    assert len(said(home, "--end", "maya").splitlines()) == 2
    assert "nothing is open for 'maya'; open to: Sam Okafor (+12025550123)" in said(home, "--end", "maya", code=1)
    assert said(home, "--end", "all") == "Closed: App narrow, Sam Okafor (+12025550123)"
    assert [line["decision"] for line in trail(home, "work")] == ["task grant ended by the user"] * 2


def test_a_part_of_several_names_closes_none(home: dict[str, str]) -> None:
    give(opened_store(), "work", {MAYA: "Maya (+447700900142)", SAM: "May (+12025550123)"})
    assert "several are open for 'may'" in said(home, "--end", "may", code=1)
    assert len(given()) == 2


@pytest.mark.parametrize("how", ["remove", "disable"])
def test_with_the_app_its_grants_end(how: str, home: dict[str, str]) -> None:
    give(opened_store(), "work", {MAYA: "Maya"})
    give(opened_store(), "narrow", {MAYA: "Maya"})
    yes = ("--yes",) if how == "remove" else ()
    done = run("apps", how, "work", "--here", *yes, env=home)
    assert done.returncode == 0, done.stderr
    assert {each.app_id for each in in_force(opened_store())} == {"narrow"}


def test_a_store_that_cannot_be_used_is_an_error(home: dict[str, str]) -> None:
    (Path(home["XDG_STATE_HOME"]) / "waha-mcp" / "store.sqlite").mkdir(parents=True)
    for arguments in (("--list",), ("--end", "all"), ("--app", "sends", "--to", MAYA, "--yes")):
        assert "cannot be used" in said(home, *arguments, code=1)
