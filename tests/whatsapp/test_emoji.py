"""Reactions: emoji and their names are accepted, other texts are not."""

import pytest

from waha_mcp.whatsapp.emoji import _BY_NAME, _NAMES, emoji_of

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    "emoji", ["👍", "👍🏽", "❤", "❤️", "🇩🇪", "1️⃣", "#⃣", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🤷‍♀️", "⛹🏿‍♂️", "☎️", "🫩", ENGLAND, *_NAMES]
)
def test_an_emoji_is_taken_as_it_is(emoji: str) -> None:
    assert emoji_of(f" {emoji} ") == emoji


@pytest.mark.parametrize(
    ("name", "emoji"),
    [
        ("thumbs up", "👍"),
        ("Thumbs_Up", "👍"),
        ("thumbs-up", "👍"),
        (":+1:", "👍"),
        ("+1", "👍"),
        ("-1", "👎"),
        ("heart", "❤️"),
        (":heart:", "❤️"),
        (":tada:", "🎉"),
        (":white_check_mark:", "✅"),
        ("<3", "❤️"),
        (":)", "🙂"),
        ("face with tears of joy", "😂"),
        ("SLICE OF PIZZA", "🍕"),
        ("", ""),
        (" ", ""),
    ],
)
def test_a_name_stands_for_its_emoji(name: str, emoji: str) -> None:
    assert emoji_of(name) == emoji


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "y",
        "ok then",
        "👍👍",
        "👍 ok",
        "✓",
        "latin small letter a",
        "snowman with",
        "😀\u200b",
        "\u200d",
        "\ufe0f",
        "🇩",
        "👍" + "\u200d👍" * 5,
        "👍\U000e0068\U000e0069\U000e007f",
        "\U0001f3f4\U000e0068\U000e0069\U000e007f",
    ],
)
def test_what_is_no_single_emoji_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="one emoji, such as 👍, or its name"):
        emoji_of(text)


def test_no_name_stands_for_two_emoji() -> None:
    assert len(_BY_NAME) == sum(names.count(", ") + 1 for names in _NAMES.values())
