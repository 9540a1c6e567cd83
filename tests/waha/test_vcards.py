"""Contact cards are parsed as far as possible, and none of their content reaches a log."""

from __future__ import annotations

import logging

import pytest

from waha_mcp.waha.vcards import cards_in

BROKEN = "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\nmy secret line\nTEL;;;:::\nEND:VCARD"


def test_lines_that_cannot_be_read_are_left_out_and_not_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    assert [card.name for card in cards_in(BROKEN)] == ["Ann"]
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["", "no card", "BEGIN:VCARD", "BEGIN:VCARD\nEND:VCALENDAR"])
def test_what_is_no_card_gives_none(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert [card for card in cards_in(text) if card.name] == []
    assert capfd.readouterr() == ("", "")
