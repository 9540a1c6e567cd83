"""The defences of buttons, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence

BUTTONS = (
    Defence(
        "labels are shown and matched only if the chat may be read",
        (
            (
                "tools/messages/compose.py",
                "choices_of(ctx.messages.get(message_id, {})) if readable else []",
                "choices_of(ctx.messages.get(message_id, {}))",
            ),
        ),
        ("buttons::a_button_in_a_chat_that_may_not_be_read_is_neither_pressed_nor_told",),
    ),
    Defence(
        "only a label that exists can be pressed",
        (
            (
                "waha/choices.py",
                "if wanted in (_folded(each.label), _folded(_in_section(each)))]",
                "if wanted]",
            ),
            (
                "waha/choices.py",
                "if len({each.id or each.label for each in answering}) == 1:",
                "if answering:",
            ),
        ),
        ("buttons::what_is_no_label_presses_nothing",),
    ),
)
