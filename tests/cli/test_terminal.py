"""Output to a terminal is wrapped at its width, between words; output to a pipe or a file is not."""

from __future__ import annotations

import re
from pathlib import Path

import pexpect
import pytest

from tests.harness import COMMAND, environment
from waha_mcp.cli.terminal import wrapped
from waha_mcp.sandbox import SandboxInfo

COLUMNS = 60


def in_a_terminal(*arguments: str, **env: str) -> list[str]:
    """The lines that a command prints in a terminal with `COLUMNS` columns, without colors."""
    values = environment(TERM="xterm-256color", **env)
    values.pop("COLUMNS", None)  # one more than the terminal
    child = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], *arguments],
        env=values,
        encoding="utf-8",
        timeout=60,
        dimensions=(24, COLUMNS),
    )
    shown = child.read()
    child.close()
    assert child.exitstatus == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).split("\r\n")


def test_the_tool_lists_of_the_demo_are_wrapped_between_names(tmp_path: Path) -> None:
    lines = in_a_terminal("demo", XDG_STATE_HOME=str(tmp_path))
    assert not [line for line in lines[: lines.index("{")] if len(line) > COLUMNS]
    start = next(at for at, line in enumerate(lines) if "tools/list" in line)
    listed = lines[start + 1 : lines.index("", start)]
    assert len(listed) > 2
    assert all(line.startswith("   ") for line in listed)
    assert all(re.fullmatch(r"( *[a-z_]+, )+", line) for line in listed[:-1])


def test_the_hidden_tools_are_wrapped_between_names(sandbox_process: SandboxInfo, tmp_path: Path) -> None:
    key = sandbox_process.keys["read"]
    lines = in_a_terminal("tools", WAHA_URL=sandbox_process.url, WAHA_API_KEY=key, XDG_STATE_HOME=str(tmp_path))
    assert not [line for line in lines if len(line) > COLUMNS]
    hidden = lines[lines.index("Hidden:") + 1 :]
    hidden = hidden[: hidden.index("")]
    further = [line for line in hidden if line.startswith("    ")]
    assert len(further) > 10
    assert all(re.fullmatch(r"    ([a-z_]+,? ?)+", line) for line in further if ":" not in line)
    assert "send_text" in re.split(r"[ ,:]+", " ".join(hidden))


def test_a_pipe_gets_lines_as_they_are() -> None:
    assert wrapped("word " * 99, "    ") == "word " * 99


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("aa bb cc dd ee", ["aa bb cc ", "  dd ee"]),
        ("  aa bb cc dd", ["  aa bb ", "    cc dd"]),
        ("aaaaaaaaaaaaaa", ["aaaaaaaaaa", "  aaaa"]),
        ("aa\nbb cc dd ee", ["aa", "bb cc dd ", "  ee"]),
        ("\u5b57" * 7, ["\u5b57" * 5, "  " + "\u5b57" * 2]),
        ("", [""]),
    ],
    ids=["words", "indented already", "one long word", "several lines", "wide letters", "nothing"],
)
def test_lines_break_between_words_and_go_on_indented(
    text: str, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert wrapped(text, "  ").split("\n") == shown
