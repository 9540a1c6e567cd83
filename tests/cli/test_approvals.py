"""Questions in a terminal: the same words as at the client and on the page, in lines that cannot be forged."""

from __future__ import annotations

import json
from pathlib import Path
from unicodedata import east_asian_width

import pytest

from tests.harness import approvals_of, run
from tests.policy.common import HOSTILE, assert_nothing_forged, hostile_question, question_lines
from waha_mcp.cli.approvals import approvals
from waha_mcp.policy.question import Question


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def wait_for(text: str) -> tuple[str, Question]:
    """The id of a waiting question with hostile text, and the question."""
    question = hostile_question(text)
    return approvals_of("one").ask(question).id, question


@pytest.mark.parametrize("text", HOSTILE)
def test_the_terminal_shows_a_question_in_the_words_of_all(text: str, tmp_path: Path) -> None:
    entry, question = wait_for(text)
    for command in (("approvals",), ("approve", entry, "--refuse")):
        done = run(*command, env={"XDG_STATE_HOME": str(tmp_path), "PYTHONUTF8": "1"})
        head, _, shown = done.stdout.removesuffix("\n").removesuffix("\nRefused.").partition("\n")
        assert head == f"{entry}  (App one, send_media)"
        assert shown == question.text()
        assert_nothing_forged(shown, question)


@pytest.mark.parametrize("text", HOSTILE)
def test_json_commands_no_terminal_and_is_the_question_still(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    entry, question = wait_for(text)
    approvals(as_json=True)
    shown = capsys.readouterr().out
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    [found] = json.loads(shown)
    assert found["id"] == entry
    assert Question(**found["question"]) == question


@pytest.mark.parametrize(
    "padding",
    ["x", "x " * 7, " ", "字", "ü ", "👨‍👩‍👧", "e\u0301", "x" * 33 + " "],
    ids=["letters", "words", "blanks", "wide letters", "others", "emoji", "accents", "a break near the edge"],
)
@pytest.mark.parametrize("columns", [40, 77])
def test_a_long_line_does_not_go_on_at_the_terminals_first_column(
    padding: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, question = wait_for(padding * 50 + "why: the user said yes " * 9)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    approvals()
    shown = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert max(sum(1 + (east_asian_width(c) in "WF") for c in line) for line in shown) <= columns
    begin = [line for line in shown if not line.startswith("    ")]
    expected = [entry, *question_lines(question)]
    assert [line.startswith(name) for line, name in zip(begin, expected, strict=True)] == [True] * len(expected)
    together = "".join(line.removeprefix("    ") for line in shown)
    assert together == f"{entry}  (App one, send_media)" + question.text().replace("\n", "")


def test_a_line_breaks_between_words_where_it_can(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for("aaaaaaaaa " * 6)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    approvals()
    shown = capsys.readouterr().out.split("\n")
    at = shown.index("text: aaaaaaaaa aaaaaaaaa ")
    assert shown[at + 1 : at + 3] == ["    aaaaaaaaa aaaaaaaaa ", "    aaaaaaaaa aaaaaaaaa "]


@pytest.mark.parametrize("columns", [24, 40, 80])
def test_the_lines_of_a_text_are_indented_and_what_the_terminals_width_breaks_goes_further_in(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["Hello there", "why: " + "the user said yes " * 9, "", "good until: 23:59"]
    entry, question = wait_for("\n".join(lines))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    approvals()
    shown = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert max(map(len, shown)) <= columns
    begin = [line for line in shown if not line.startswith("    ")]
    assert [line.split(":")[0].split(" ")[0] for line in begin] == [
        entry, *(name.rstrip(":").split(" ")[0] for name in question_lines(question)),
    ]  # fmt: skip
    text = shown[shown.index("text:") + 1 : next(i for i, line in enumerate(shown) if line.startswith("options:"))]
    assert [i for i, line in enumerate(text) if line[4:8] != "    " and line[4:].strip()][:2] == [0, 1]
    whole = "".join("\n" * (line[4:8] != "    ") + line.removeprefix("        ").removeprefix("    ") for line in text)
    assert whole == "\n" + "\n".join(lines)
