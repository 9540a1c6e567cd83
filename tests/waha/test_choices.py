"""Buttons and rows of lists, from the payloads of every engine."""

from typing import Any

import pytest

from tests.engines.corpus import ENGINES, Case, cases
from waha_mcp.waha.choices import Choice, choices_of

TAPPED = ("buttons", "list", "template", "interactive")
#: Kinds of `TAPPED` without anything that could be tapped and that has a label.
NONE = (
    "interactive shop front",
    "interactive of a shop",
    "interactive order with a request to pay",
    "interactive with an order to pay",
    "list of products",
    "template, in the choice field only",
)
CORPUS = cases("messages")


@pytest.mark.parametrize("case", [each for each in CORPUS if each.kind in TAPPED], ids=str)
def test_each_choice_has_the_label_that_a_person_sees(case: Case) -> None:
    found = choices_of(case.row)
    assert bool(found) == (case.case not in NONE)
    assert not [each.label for each in found if each.label not in case.says]
    assert all(each.id for each in found if each.kind in ("reply", "row"))


@pytest.mark.parametrize("case", [each for each in CORPUS if each.kind not in TAPPED], ids=str)
def test_other_messages_have_no_choices_not_even_replies_to_one_that_has(case: Case) -> None:
    assert choices_of(case.row) == []


@pytest.mark.parametrize("engine", [each for each in ENGINES if each in ("webjs", "wpp")])
def test_the_browser_engines_give_ids_links_and_sections(engine: str) -> None:
    rows = {each.case: each.row for each in cases("messages", engine)}
    assert choices_of(rows["buttons under a text"]) == [
        Choice("Today", "reply", "send_today"),
        Choice("Tomorrow", "reply", "send_tomorrow"),
    ]
    assert choices_of(rows["list"])[0] == Choice("Five metres", "row", "rope_5", "for a dinghy", "Short")
    assert choices_of(rows["template with buttons"]) == [
        Choice("Confirm", "reply", "confirm_118"),
        Choice("Track parcel", "link", value="https://example.com/track/118"),
        Choice("Call the shop", "call", value="+12025550110"),
    ]
    assert choices_of(rows["interactive with reply, link, copy and call buttons"])[2:] == [
        Choice("Copy code", "copy", value="ROPE50"),
        Choice("Call us", "call", value="+12025550110"),
    ]
    assert choices_of(rows["interactive carousel"])[0] == Choice(
        "See the dinghy", "link", section="A small dinghy", value="https://example.com/dinghy"
    )


BUTTON = {"buttonText": {"displayText": "Yes"}, "type": 1}
FLOW = '{"display_text":"Book","flow_id":"7"}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"buttonsMessage": {"buttons": [BUTTON | {"buttonId": "y"}]}}, [Choice("Yes", "reply", "y")]),
        ({"buttonsMessage": {"buttons": [BUTTON | {"buttonID": "y"}]}}, [Choice("Yes", "reply", "y")]),
        (
            {"viewOnceMessage": {"message": {"listMessage": {"sections": [{"rows": [{"title": "A", "rowID": "a"}]}]}}}},
            [Choice("A", "row", "a")],
        ),
        (
            {"hydratedButtons": [{"HydratedButton": {"QuickReplyButton": {"displayText": "Stop", "ID": "stop"}}}]},
            [Choice("Stop", "reply", "stop")],
        ),
        ({"buttons": [{"name": "flow", "buttonParamsJSON": FLOW}]}, [Choice("Book", "other")]),
        ({"buttons": [{"name": "cta_url", "buttonParamsJson": "{broken"}]}, []),
        ({"buttons": [{"name": "cta_url", "buttonParamsJson": "[" * 100_000}]}, []),
        ({"buttons": [{"name": "cta_url", "buttonParamsJson": '{"display_text": 7}'}]}, []),
        (
            {"buttons": [BUTTON | {"buttonId": 7}, None, "x", {"buttonId": "y", "buttonText": None}]},
            [Choice("Yes", "reply")],
        ),
        ({"listMessage": {"sections": [{"rows": [None, "x", {"title": None}, {"title": "A"}]}]}}, [Choice("A", "row")]),
        ({"listMessage": {"sections": [{"rows": "x"}]}}, []),
        ({"extendedTextMessage": {"contextInfo": {"quotedMessage": {"buttons": [BUTTON | {"buttonId": "y"}]}}}}, []),
        (
            {"a": {"buttons": [BUTTON | {"buttonId": "y"}]}, "b": [BUTTON | {"buttonId": "y"}]},
            [Choice("Yes", "reply", "y")],
        ),
    ],
)
def test_choices_are_read_wherever_a_message_holds_them(message: dict[str, Any], expected: list[Choice]) -> None:
    for field in ("message", "Message"):
        assert choices_of({"_data": {field: message}}) == expected


def test_a_message_nested_without_end_has_no_choices() -> None:
    nested: dict[str, Any] = {"buttons": [BUTTON | {"buttonId": "y"}]}
    for _ in range(5_000):
        nested = {"message": nested}
    assert choices_of({"_data": nested}) == []
