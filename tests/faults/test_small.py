"""The parts of the fault table: the classes of answers, that each rule can be broken, and a few real cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.cells import LOOKS, Cell, Look, Said, broken, class_of, rows
from tests.faults.kills import Kills, run
from tests.faults.run import bench, fill, shortened
from tests.faults.world import CASES, FAULTS
from waha_mcp.policy import delivery, repeats
from waha_mcp.policy.gate import Policy
from waha_mcp.tools.catalog import Context
from waha_mcp.waha.models import Sent

SENT = Cell("send_text", "a fault", "found", False, "done", "repeat: done", at_once=1, first=1, total=1, left=True)
LOST = replace(SENT, said="unknown", said_again="repeat: not known", at_once=0)
DENIED = replace(SENT, said="not sent", said_again="done", at_once=0, first=0, left=False)
CANCELLED = replace(LOST, said="nothing")

SAID: list[tuple[str, bool, Said]] = [
    ('{"message_id":"true_1@c.us_A"}', False, "done"),
    ("Connecting to WAHA at http://h:1 failed, so the request was not sent. Ask the user.", True, "not sent"),
    ("The request was sent but the connection broke, so its outcome is unknown: it may or may not.", True, "unknown"),
    ("WAHA was asked to do this and did not refuse, but the outcome is unknown: x", True, "unknown"),
    ("WAHA does not let this key do that (403): ask.", True, "refused by WAHA"),
    ("Session 'default' is still starting: try again in a few seconds.", True, "refused by WAHA"),
    ("The same was done 3 s ago, so it is not done again.", True, "repeat: done"),
    ("The same was asked for at 14:02, and its outcome is unknown: it may.", True, "repeat: not known"),
    ("It did go out at 14:02, message true_1@c.us_A: an earlier try.", True, "repeat: found"),
    ("The same has been under way for 3 s: wait for its answer.", True, "repeat: under way"),
    ("Its outcome is unknown, but it was not sent.", True, "other"),
    ("Its outcome is unknown. Try again later.", True, "other"),
    ("waha-mcp had an internal error while running send_text.", True, "other"),
]


@pytest.mark.parametrize(("text", "is_error", "said"), SAID)
def test_words_have_their_class_and_a_contradiction_has_none(text: str, is_error: bool, said: Said) -> None:
    assert class_of(text, is_error=is_error) == said


GOOD = {
    "done": SENT,
    "unknown and done": LOST,
    "unknown and found later": replace(LOST, said_again="repeat: found"),
    "unknown and not done": replace(LOST, first=0, total=0),
    "not sent": DENIED,
    "refused": replace(DENIED, said="refused by WAHA", left=True),
    "cancelled before it left": replace(DENIED, said="nothing"),
    "cancelled after it left": CANCELLED,
    "idempotent, unknown": replace(LOST, idempotent=True, said_again="done"),
}


@pytest.mark.parametrize("cell", GOOD.values(), ids=GOOD)
def test_a_cell_that_keeps_the_rules_breaks_none(cell: Cell) -> None:
    assert broken(cell) == []


BAD: list[tuple[Cell, str]] = [
    (replace(SENT, hit=False), "the fault did not hit"),
    (replace(SENT, account_agrees=False), "the account does not show what the log says"),
    (replace(SENT, said="other"), "what was said is in no class"),
    (replace(SENT, said="repeat: done"), "what was said is in no class"),
    (replace(LOST, total=2), "more than one effect"),
    (replace(DENIED, first=1, total=2), "more than one effect"),
    (replace(SENT, at_once=0), "said to be done where WAHA has it not"),
    (replace(DENIED, first=1), "denied where WAHA did it"),
    (replace(DENIED, said="refused by WAHA", first=1), "denied where WAHA did it"),
    (replace(DENIED, said="nothing", first=1), "denied where WAHA did it"),
    (replace(DENIED, said_again="repeat: not known"), "not to be done after it was denied"),
    (replace(DENIED, total=0), "not to be done after it was denied"),
    (replace(DENIED, said="nothing", said_again="repeat: not known"), "not to be done after it was denied"),
    (replace(LOST, said_again="done"), "done again although the outcome was open"),
    (replace(CANCELLED, said_again="done"), "done again although the outcome was open"),
    (replace(LOST, said_again="repeat: found", first=0, total=0), "said to be found where WAHA has it not"),
    (replace(LOST, said_again="repeat: done"), "the repeat is not told that the outcome is not known"),
    (replace(CANCELLED, said_again="repeat: done"), "the repeat is not told that the outcome is not known"),
    (replace(SENT, said_again="done"), "the repeat is not told that it was done"),
    (replace(LOST, idempotent=True), "an idempotent call may not be repeated"),
    (replace(DENIED, total=0), "a repeat that was said to be done has no effect"),
]


@pytest.mark.parametrize(("cell", "rule"), BAD)
def test_each_rule_can_be_broken(cell: Cell, rule: str) -> None:
    assert rule in broken(cell)


def test_tools_of_which_the_same_is_said_share_a_row() -> None:
    def cells(tool: str, **other: Any) -> list[Cell]:
        return [replace(SENT, tool=tool, look=look, **other) for look in LOOKS]

    assert rows([*cells("one"), *cells("two"), *cells("three", total=2)]) == [
        "| a fault | one, two |" + " done, 1 → refused (was done), 1 |" * 3,
        "| a fault | three |" + " done, 1 → refused (was done), 2 |" * 3,
    ]
    assert rows([*cells("one"), *cells("two")]) == ["| a fault | all |" + " done, 1 → refused (was done), 1 |" * 3]


def fault(beginning: str) -> Any:
    return next(each for each in FAULTS if each.name.startswith(beginning))


QUICK_FAULTS = ["connection refused", "cancelled after", "connection cut; done", "502", "answer cut off", "403"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_real_cells_keep_the_rules() -> None:
    cells = await fill(CASES[:3], [fault(each) for each in QUICK_FAULTS])
    assert len(cells) == 3 * len(QUICK_FAULTS) * len(LOOKS)
    assert {cell.words: broken(cell) for cell in cells if broken(cell)} == {}
    assert {cell.said for cell in cells} == {"done", "not sent", "refused by WAHA", "unknown", "nothing"}


async def believing(message_id: str, chat: str, context: Context, *, waits: Sequence[float]) -> Sent:
    """A look-up that accepts whatever WAHA answers as the message."""
    return Sent(message_id=f"true_{chat}_{message_id}", chat=chat, time=None)


#: A defence, its replacement, and the cell and the rule that reveal it.
WITHOUT: dict[str, tuple[Any, str, Any, str, Look, str]] = {
    "the repeat guard": (
        repeats.Attempt, "holds", property(lambda _: False), "502", "not found", "more than one effect",
    ),
    "what is lost counts as possible": (
        Policy, "_happened", staticmethod(lambda *_: False), "no answer in time; done after", "found",
        "more than one effect",
    ),
    "a look-up needs the message": (
        delivery, "look_up", believing, "connection cut; not done", "not a message",
        "said to be done where WAHA has it not",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("what", WITHOUT)
async def test_a_defence_that_is_switched_off_shows_in_the_table(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead, begins, look, rule = WITHOUT[what]
    monkeypatch.setattr(where, name, instead)
    with shortened():
        async with bench() as place:
            cell = await place.cell(CASES[0], fault(begins), look)
    assert rule in broken(cell), cell


@pytest.mark.slow
def test_a_killed_process_doubles_nothing_and_leaves_no_false_word() -> None:
    kills = run(3, seed=2)
    assert len(kills.killed) == 3
    assert kills.broken() == []


KILLED: list[tuple[list[Said], int, bool]] = [
    (["done"], 1, True),
    (["repeat: found"], 1, True),
    (["repeat: not known"], 0, True),
    (["repeat: not known"], 1, True),
    (["done"], 2, False),
    (["done"], 0, False),
    (["repeat: done"], 0, False),
    (["repeat: found"], 0, False),
    (["not sent"], 1, False),
    (["other"], 1, False),
]


@pytest.mark.parametrize(("said", "sent", "good"), KILLED)
def test_what_was_said_of_a_killed_send_is_held_against_what_waha_has_sent(
    said: list[Said], sent: int, good: bool
) -> None:
    assert (Kills(said={"a": said}, sent={"a": sent}).broken() == []) is good
