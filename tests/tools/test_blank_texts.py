"""Texts that WAHA refuses as blank or duplicate are refused before anybody is asked, and by the sandbox too."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with, effects
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG, ArgumentError

pytestmark = pytest.mark.anyio

GROUP = "120363041234567890@g.us"
BLANK = ["", " ", "\n\t", "\u200b", "\u3164 \u00a0", "\U000e0041"]
#: Calls with a blank text, by tool; "BLANK" stands for it.
CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("create_group", {"subject": "BLANK", "participants": [SAM]}, "subject"),
    ("create_channel", {"name": "BLANK"}, "name"),
    ("save_label", {"name": "BLANK"}, "name"),
    ("send_poll", {"chat": SAM, "question": "BLANK", "options": ["a", "b"]}, "question"),
    ("send_poll", {"chat": SAM, "question": "When?", "options": ["a", "BLANK"]}, "options.1"),
    ("send_list", {"chat": SAM, "title": "BLANK", "button": "x", "sections": [{"rows": [{"title": "a"}]}]}, "title"),
    ("send_event", {"chat": SAM, "name": "BLANK", "start": "2030-05-01T09:00:00+02:00"}, "name"),
]


def filled(value: Any, blank: str) -> Any:
    match value:
        case dict():
            return {key: filled(each, blank) for key, each in value.items()}
        case list():
            return [filled(each, blank) for each in value]
    return blank if value == "BLANK" else value


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize(("tool", "arguments", "what"), CALLS)
def test_a_blank_name_is_refused_with_its_property(tool: str, arguments: dict[str, Any], what: str, blank: str) -> None:
    with pytest.raises(ArgumentError, match=what):
        CATALOG[tool].parse(filled(arguments, blank))
    assert CATALOG[tool].parse(filled(arguments, "Words"))


@pytest.mark.parametrize("options", [["a", "a"], ["a", " a"], ["two  words", "two words"], ["a", "b", "a\u200b"]])
def test_two_answers_of_a_poll_that_look_the_same_are_refused(options: list[str]) -> None:
    with pytest.raises(ArgumentError, match=r"options: .* twice"):
        CATALOG["send_poll"].parse({"chat": SAM, "question": "When?", "options": options})


def test_answers_that_differ_in_case_are_different() -> None:
    assert CATALOG["send_poll"].parse({"chat": SAM, "question": "When?", "options": ["A", "a"]})


async def test_nobody_is_asked_about_a_poll_that_cannot_be(sandbox: SandboxInfo, admin: Admin) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("somebody was asked")

    async with bridge_with(sandbox, approval="all", toolsets=frozenset({"all"})) as bridge:
        with pytest.raises(ArgumentError):
            await bridge.call("send_poll", {"chat": SAM, "question": "When?", "options": ["a", "a"]}, ask=never)
    assert await effects(admin) == []


POLL = {"name": "When?", "multipleAnswers": False}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/sendPoll", {"session": "default", "chatId": SAM, "poll": POLL | {"options": ["a", " "]}}),
        ("/api/sendPoll", {"session": "default", "chatId": SAM, "poll": POLL | {"options": ["a", "a "]}}),
        ("/api/default/groups", {"name": " ", "participants": [{"id": SAM}]}),
    ],
)
async def test_the_sandbox_refuses_what_waha_refuses(path: str, body: dict[str, Any], admin: Admin) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await admin.request("POST", path, body)


@pytest.mark.parametrize(("what", "text"), [("subject", ""), ("subject", " "), ("description", "")])
async def test_the_sandbox_keeps_what_a_group_is_called(what: str, text: str, admin: Admin) -> None:
    made = await admin.request("POST", "/api/default/groups", {"name": "Chess", "participants": [{"id": SAM}]})
    group = made.get("id") or made["JID"]
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await admin.request("PUT", f"/api/default/groups/{group}/{what}", {what: text})
