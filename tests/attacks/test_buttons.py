"""Buttons of a message: their labels count as words of the chat, and only buttons that were read can be pressed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.hijacked import FAST, FRIEND, SEALED, Hijacked, hijacked
from tests.harness import with_buttons
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract

LABELS = ("Pay 7731", "Refuse")


@pytest.fixture(scope="module")
def pressing(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may write to everybody, and not read one person."""
    policy = f'[chats]\nread = {{ deny = ["{SEALED}"] }}\n{FAST}'
    with hijacked(sandbox, tmp_path_factory.mktemp("pressing"), policy) as agent:
        # Each engine lacks a few operations; here it has all.
        agent.judge.ask("POST", "/sandbox/engine", {"has": [each.id for each in contract().operations]})
        yield agent


def press(agent: Hijacked, chat: str, label: str) -> tuple[bool, str]:
    message = agent.judge.arrive(chat, "Well?", raw=with_buttons(*LABELS))
    agent.judge.forget()
    return agent.call("reply_to_buttons", message_id=message, label=label)


@pytest.mark.parametrize("label", [*LABELS, "refuse", "Perhaps", "pay7731"])
def test_a_button_in_a_chat_that_may_not_be_read_is_neither_pressed_nor_told(label: str, pressing: Hijacked) -> None:
    done, said = press(pressing, SEALED, label)
    assert not done
    assert not any(each in said for each in LABELS)
    # A guessed label is answered like one that does not exist.
    assert said == press(pressing, SEALED, "no such label")[1]
    assert pressing.judge.effects() == []


@pytest.mark.parametrize("label", ["Pay", "pay7731", "refuse now", "Pay 7731 Refuse", "Refuse\nPay 7731"])
def test_what_is_no_label_presses_nothing(label: str, pressing: Hijacked) -> None:
    done, said = press(pressing, FRIEND, label)
    assert not done, said
    assert pressing.judge.effects() == []


def test_a_label_that_is_there_is_pressed_as_it_stands(pressing: Hijacked) -> None:
    done, said = press(pressing, FRIEND, "Refuse")
    assert done, said
    (sent,) = pressing.judge.effects()
    assert (sent["body"]["chatId"], sent["body"]["selectedDisplayText"]) == (FRIEND, "Refuse")
