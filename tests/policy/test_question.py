"""The question that a person is asked: its words, its record, and why it is asked."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import app_for, approvals_of, opened_store
from tests.policy.common import (
    DAD,
    HOSTILE,
    MAYA,
    SAM,
    STRANGER,
    assert_nothing_forged,
    bridge_with,
    hostile_question,
    send,
)
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal
from waha_mcp.policy.approval import decide, waiting
from waha_mcp.policy.approver import Reason
from waha_mcp.policy.question import File, Line, Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG

pytestmark = pytest.mark.anyio

SAM_IN_WORDS, MAYA_IN_WORDS = "Sam Okafor (+12025550123)", "Maya Lindqvist (+447700900142)"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


# Its text


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_forges_a_line(text: str) -> None:
    question = hostile_question(text)
    assert_nothing_forged(question.text(), question)


@given(st.text() | st.lists(st.sampled_from("\n\r\x1b\x9b\u202e\u200b\u200d\ufe0f\u2028\x85 :a<\U0001f3f4\U000e0067")))
def test_no_text_at_all_forges_a_line(text: str | list[str]) -> None:
    question = hostile_question("".join(text))
    assert_nothing_forged(question.text(), question)


def test_each_line_of_a_text_with_several_is_indented() -> None:
    question = replace(hostile_question("x"), content={"text": "Hello\n\n  why: yes\n", "note": "one line"})
    assert question.text().partition("\ntext:")[2] == "\n    Hello\n    \n      why: yes\n    \nnote: one line"


def test_the_servers_own_lines_come_before_what_may_be_too_long_to_read() -> None:
    names = [line.name for line in hostile_question("x").lines()]
    assert names == ["", "why", "good until", "path", "what path holds", "text", "options", "on"]


def test_no_parameter_of_a_tool_is_called_as_a_line_of_the_server() -> None:
    parameters = {name for tool in CATALOG.values() for name in tool.arguments.model_fields}
    assert not parameters & {"why", "good until"}
    assert not [name for name in parameters if name.startswith("what ")]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be set here")
@pytest.mark.parametrize(
    ("zone", "shown"), [("UTC", "18:00 (UTC+00:00)"), ("<+0530>-5:30", "23:30 (UTC+05:30)")], ids=["UTC", "east of it"]
)
def test_it_says_until_when_it_is_good_on_this_machines_clock(
    zone: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = replace(hostile_question("x"), expires=1_900_000_859.0)  # 18:00:59 UTC
    try:
        with monkeypatch.context() as here:
            here.setenv("TZ", zone)
            time.tzset()
            assert Line("good until", shown) in question.lines()
    finally:
        time.tzset()


FILES: dict[str, tuple[str, bytes, str]] = {
    "as its name says": ("a.png", PNG, "8 bytes, image/png"),
    "by its bytes alone": ("menu", PNG, "8 bytes, image/png by its bytes"),
    "by its name alone": ("menu.txt", b"x", "1 byte, text/plain by its name"),
    "not as its name says": ("a.pdf", PNG, "8 bytes, application/pdf by its name, image/png by its bytes"),
    "unknown": ("menu", b"x" * 1234, "1,234 bytes, of unknown type"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_is_shown_with_name_size_type_and_digest(case: str) -> None:
    name, content, holds = FILES[case]
    file = File.of("path", name, content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert (file.size, file.sha256) == (len(content), sha256)
    assert file.lines() == [Line("path", name), Line("what path holds", f"{holds}, SHA-256 {sha256[:16]}…")]


# Its stored form


@pytest.mark.parametrize("text", HOSTILE)
def test_a_question_is_the_same_after_json(text: str) -> None:
    question = hostile_question(text)
    assert Question(**json.loads(json.dumps(asdict(question)))) == question


def test_a_question_is_the_same_from_its_file() -> None:
    question = hostile_question(HOSTILE[0])
    approvals_of("one").ask(question)
    [entry] = waiting()
    assert entry.question == question
    assert entry.expires == question.expires


@pytest.mark.parametrize("change", [{"files": [{}]}, {"files": ["x"]}, {"more": 1}, {"why": None}], ids=str)
def test_a_question_with_fields_that_are_not_ours_is_gone(change: dict[str, Any]) -> None:
    approvals_of("one").ask(hostile_question(HOSTILE[0]))
    store = opened_store()
    [row] = store.rows("question")
    record = json.loads(row.value)
    record["question"] |= change
    assert store.swap("question", row.key, row.value, json.dumps(record))
    assert waiting() == []


# Its reason


def test_a_reason_names_a_few_chats_and_counts_the_others() -> None:
    names = {str(number): f"{{{number}}}" for number in range(7)}
    assert Reason("it reaches {}", list(names)).text(names) == "it reaches {0}, {1}, {2}, {3}, {4} and 2 more"
    assert Reason("it reaches {}", ["1"]).text(names) == "it reaches {1}"
    assert Reason("it reaches {}", list(names)[:5]).text(names) == "it reaches {0}, {1}, {2}, {3}, {4}"
    assert Reason("always").text(names) == "always"


TEXT = {"chat": SAM, "text": "x"}
ASKS: dict[str, tuple[dict[str, Any], tuple[str, dict[str, Any]], list[str]]] = {
    "first contact": (
        {"approval": "first_contact"},
        ("send_text", {"chat": SAM, "text": "x @1", "mentions": [STRANGER]}),
        ["first contact: this account is not known to have written to +12025550199"],
    ),
    "everyone": (
        {"approval": "first_contact"},
        ("update_profile", {"about": "Away"}),
        ["first contact: it reaches everyone who can see this account, possibly including strangers"],
    ),
    "status stories": (
        {"approval": "first_contact"},
        ("post_text_status", {"text": "Away"}),
        ["first contact: it reaches everyone who sees its status stories, possibly including strangers"],
    ),
    "every send": ({"approval": "send"}, ("send_text", TEXT), ["the App asks before whatever reaches somebody"]),
    "a loss": (
        {"approval": "destructive"},
        ("delete_chat", {"chat": SAM}),
        ["it removes something that does not come back by itself"],
    ),
    "every change": ({"approval": "all"}, ("archive_chat", {"chat": SAM}), ["the App asks before every change"]),
    "a list": (
        send([SAM], ask=["people"], deny=[DAD]),
        ("send_text", {"chat": MAYA, "text": "x", "mentions": [SAM]}),
        [f"the App's list of chats to ask about covers {MAYA_IN_WORDS}"],
    ),
    "a list and more": (
        send([SAM], ask=[STRANGER, MAYA]) | {"approval": "first_contact"},
        ("send_text", {"chat": SAM, "text": "x", "mentions": [STRANGER, MAYA]}),
        [
            f"the App's list of chats to ask about covers +12025550199, {MAYA_IN_WORDS}",
            "first contact: this account is not known to have written to +12025550199",
        ],
    ),
}


@pytest.mark.parametrize("case", ASKS)
async def test_a_question_says_why_it_is_asked(case: str, sandbox: SandboxInfo) -> None:
    fields, call, why = ASKS[case]
    async with bridge_with(sandbox, "full", **fields) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all", "destructive"})})
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call(*call)
    [entry] = waiting()
    assert list(entry.question.why) == why
    assert Line("why", "; ".join(why)) in entry.question.lines()


async def test_an_answer_is_for_recipients_and_content_whatever_the_reason_and_the_time(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, approval="send") as bridge:
        with pytest.raises(Refusal, match="waiting"):
            await bridge.call("send_text", TEXT)
    decide(waiting()[0].id, approve=True)
    async with bridge_with(sandbox, approval="all") as bridge:
        await bridge.call("send_text", TEXT)


# Local files


async def test_a_question_shows_what_the_file_holds_that_the_answer_is_for(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    (outbox / "plan.txt").write_text("harmless")
    app = app_for(sandbox, sandbox.keys["read_send"], session="default", outbox=outbox, approval="send")
    call: tuple[str, dict[str, Any]] = ("send_media", {"chat": SAM, "kind": "file", "path": "plan.txt"})
    shown = []
    async with Bridge(app) as bridge:

        async def refuse(question: Question) -> bool:
            shown.append(question)
            return False

        with pytest.raises(Refusal, match="Declined at the client"):
            await bridge.call(*call, ask=refuse)
    [question] = shown
    digest = hashlib.sha256(b"harmless").hexdigest()
    assert question.files == (File("path", "plan.txt", 8, digest, None, "text/plain"),)
    assert "path" not in question.content
    assert question.text().splitlines()[3:5] == [
        "path: plan.txt",
        f"what path holds: 8 bytes, text/plain by its name, SHA-256 {digest[:16]}…",
    ]
