"""`waha-mcp pause` and `resume`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness import COMMAND, environment, run
from waha_mcp.sandbox import SandboxInfo


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with two Apps, one of which has an id other than its file's name."""
    config = tmp_path / "config" / "waha-mcp"
    config.mkdir(parents=True)
    (config / "work.toml").write_text('key = "scoped-key-1234"\n')
    (config / "private.toml").write_text('id = "family"\nkey = "scoped-key-1234"\naudit = "off"\n')
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def said(home: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = run(*arguments, env=home)
    assert done.returncode == code, done.stderr
    return (done.stdout if code == 0 else done.stderr).strip()


def trail(home: dict[str, str], app_id: str) -> list[dict[str, Any]]:
    path = Path(home["XDG_STATE_HOME"]) / "waha-mcp" / app_id / "trail.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_all_apps_are_paused_and_resumed_and_their_trails_say_so(home: dict[str, str]) -> None:
    first = said(home, "pause")
    assert first.startswith("Paused by the user since ")
    assert "all Apps" in first
    assert said(home, "pause") == first
    assert said(home, "resume") == "All Apps may act again."
    assert said(home, "resume") == "There was no pause of all Apps."
    assert [(line["decision"], line["of"], line["client"]) for line in trail(home, "work")] == [
        ("paused by the user", "all Apps", "waha-mcp pause"),
        ("resumed by the user", "all Apps", "waha-mcp resume"),
    ]
    assert trail(home, "family") == []
    assert trail(home, "default") == []


def test_a_single_app_is_named_by_its_file_or_its_id(home: dict[str, str]) -> None:
    assert "App 'family'" in said(home, "pause", "private")
    assert said(home, "resume", "family") == "App 'family' may act again."
    assert said(home, "resume", "family") == "App 'family' was not paused."
    assert "App 'work'" in said(home, "pause", str(Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / "work.toml"))
    assert [line["of"] for line in trail(home, "work")] == ["work"]
    assert "App 'default'" in said(home, "pause", "default")


def test_an_app_that_there_is_not_is_an_error_that_names_those_there_are(home: dict[str, str]) -> None:
    for command in ("pause", "resume"):
        assert (
            said(home, command, "wrok", code=2)
            == "waha-mcp: no App 'wrok' (available: default, family, work); did you mean 'work'?"
        )


def test_the_resume_of_one_app_does_not_lift_the_pause_of_all_and_says_so(home: dict[str, str]) -> None:
    said(home, "pause")
    said(home, "pause", "work")
    told = said(home, "resume", "work", code=1)
    assert "App 'work' may not act yet: its own pause has ended, but it is paused by the user since" in told
    assert told.endswith("waha-mcp resume)")
    assert "its own pause" not in said(home, "resume", "work", code=1)
    said(home, "pause", "work")
    first, second = said(home, "resume").splitlines()
    assert first == "All Apps may act again."
    assert second.startswith("Still paused by themselves: work (")
    assert second.endswith("waha-mcp resume work)")


def test_an_app_whose_file_is_elsewhere_is_known_by_its_state(home: dict[str, str]) -> None:
    (Path(home["XDG_STATE_HOME"]) / "waha-mcp" / "elsewhere").mkdir(parents=True)
    assert "App 'elsewhere'" in said(home, "pause", "elsewhere")


def test_where_no_app_has_run_yet_the_line_is_the_default_ones(tmp_path: Path) -> None:
    home = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "none")}
    said(home, "pause")
    assert [line["decision"] for line in trail(home, "default")] == ["paused by the user"]


def test_a_store_that_cannot_be_used_is_an_error(home: dict[str, str]) -> None:
    (Path(home["XDG_STATE_HOME"]) / "waha-mcp" / "store.sqlite").mkdir(parents=True)
    assert "Nothing but reading is done as long as that is so" in said(home, "pause", code=1)
    assert "cannot be used" in said(home, "resume", code=1)


@pytest.mark.slow
def test_a_running_server_refuses_at_once_and_goes_on_after_the_resume(
    home: dict[str, str], sandbox_process: SandboxInfo
) -> None:
    env = environment(**home, WAHA_URL=sandbox_process.url, WAHA_API_KEY=sandbox_process.keys["read_send"])

    def sent(text: str) -> subprocess.CompletedProcess[str]:
        wish = json.dumps({"chat": "12025550123@c.us", "text": text})
        return subprocess.run(
            [*COMMAND, "call", "send_text", wish], env=env, capture_output=True, text=True, timeout=60, check=False
        )

    assert sent("One").returncode == 0
    said(home, "pause", "default")
    refused = sent("Two")
    assert refused.returncode == 1
    assert "paused by the user since" in refused.stderr
    assert [line["decision"] for line in trail(home, "default")][-2:] == ["paused by the user", "paused"]
    said(home, "resume", "default")
    assert sent("Three").returncode == 0
