"""Next steps: an agent is told to ask the user, and the user is told what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import waha_mcp
from waha_mcp.steps import for_person
from waha_mcp.waha.errors import error_for, no_session, session_step

#: Rooms whose texts are read by both agents and people.
ROOMS = ("waha", "people", "store", "policy", "tools", "bridge.py")


@pytest.mark.parametrize(
    ("agent", "person"),
    [
        ("It failed. Ask the user to look at WAHA's log.", "It failed. Look at WAHA's log."),
        ("No session: ask the user to set one.", "No session: set one."),
        ("Try later, or ask the user to raise the limit.", "Try later, or raise the limit."),
        ("Ask the user who is meant, and pass that id:", "Say who is meant, and pass that id:"),
        ("Look first, or ask the user.", "Look first."),
        ("Do it otherwise, or tell the user that it is lacking.", "Do it otherwise."),
        ("Do not look for a way around; tell the user.", "Do not look for a way around."),
        ("Nothing is sent. Tell the user.", "Nothing is sent."),
        ("give a number from the user", "give a number"),
        ("Only the user can change that.", "Only the user can change that."),
        ("No user in it: ask others.", "No user in it: ask others."),
    ],
)
def test_a_step_that_leads_an_agent_to_the_user_is_the_users_own(agent: str, person: str) -> None:
    assert for_person(agent) == person


def texts(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.JoinedStr(values):
                    yield "".join(str(each.value) if isinstance(each, ast.Constant) else "x" for each in values)
                case ast.Constant(str(text)):
                    yield text


STEP = re.compile(r"\b(ask|tell) the user|(with|from) the user\b(?!')", re.IGNORECASE)
SAID = sorted(
    {
        text
        for room in ROOMS
        for text in texts(Path(waha_mcp.__file__).parent / room)
        if STEP.search(text) and "\n\n" not in text
    }
)


@pytest.mark.parametrize("text", SAID)
def test_every_step_in_the_code_has_a_form_that_is_known(text: str) -> None:
    said = for_person(text)
    assert not STEP.search(said)
    assert said[:1].isupper() is text[:1].isupper()
    assert "  " not in said


def test_the_texts_are_found() -> None:
    assert len(SAID) > 25


def test_an_error_says_one_thing_to_both() -> None:
    refused = str(error_for(401, None, session="default"))
    assert "Ask the user to run `waha-mcp doctor`" in refused
    assert for_person(refused).endswith("was disabled in WAHA. Run `waha-mcp doctor`, which names the fix.")
    assert for_person(no_session("shop")) == "WAHA has no session 'shop': set the App's session."
    assert for_person(session_step("shop", "STOPPED")) == "Session 'shop' is stopped: start it in WAHA's dashboard."
