"""Buttons and rows of lists, from the payloads of every engine."""

from typing import Any

import pytest

from tests.engines.corpus import ENGINES, Case, cases
from waha_mcp.waha.choices import Choice, choices_of, chosen
from waha_mcp.waha.errors import Refused

TAPPED = ("buttons", "list", "template", "interactive")
#: Kinds in `TAPPED` without an element that can be tapped and has a label.
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


REPLIES = {"buttons": [{"buttonId": "7", "buttonText": {"displayText": "Yes"}}]}


@pytest.mark.parametrize("around", ["contextInfo", "ContextInfo", "quotedMessage", "quotedMsg", "messageContextInfo"])
def test_what_can_be_tapped_under_another_message_is_none_of_this_one(around: str) -> None:
    assert choices_of({"_data": {"message": {"extendedTextMessage": {"text": "x", around: REPLIES}}}}) == []


CARDS: dict[str, dict[str, Any]] = {
    "its title": {"header": {"title": "A dinghy"}, "body": {"text": "Small"}},
    "its title, as a browser has it": {"interactiveHeader": {"title": "A dinghy"}, "caption": "Small"},
    "its caption": {"caption": "A dinghy", "body": {"text": "Small"}},
    "its text": {"body": {"text": "A dinghy"}},
}


@pytest.mark.parametrize("field", ["cards", "carouselCardsParsed"])
@pytest.mark.parametrize("what", CARDS)
def test_a_choice_of_a_carousel_names_its_card_by(what: str, field: str) -> None:
    message = {"interactiveMessage": {field: [CARDS[what] | REPLIES]}}
    assert choices_of({"_data": {"message": message}}) == [Choice("Yes", "reply", "7", section="A dinghy")]


#: A raw part, and the label of its only choice, if it has one.
ODD: list[tuple[Any, str | None]] = [
    ({"cards": {"buttons": REPLIES["buttons"]}}, "Yes"),
    ({"buttonId": "7"}, None),
    ({"buttonId": "7", "buttonText": "Yes"}, "Yes"),
    ({"buttonId": "7", "buttonText": {"displayText": ""}}, None),
    ({"buttonParamsJson": '{"display_text": "Yes"}'}, "Yes"),
    ({"name": "single_select", "buttonParamsJson": '{"display_text": "All", "sections": [{"rows": []}]}'}, None),
    (
        {
            "name": "single_select",
            "buttonParamsJson": '{"display_text": "All", "sections": [{"rows": [{"title": "A"}]}]}',
        },
        "A",
    ),
    ({"buttonParamsJson": {"display_text": "Yes"}}, None),
    ({"buttonParamsJson": None}, None),
    ({"buttonParamsJson": '{"display_text": "Yes", "x": "' + "x" * 200_000 + '"}'}, None),
    ({7: {"x": 1}, "buttons": REPLIES["buttons"]}, "Yes"),
    ({"rows": [{7: 1, "title": "A", "rowId": "a"}]}, "A"),
]


@pytest.mark.parametrize(("part", "label"), ODD)
def test_odd_parts_have_the_choices_that_can_be_read(part: Any, label: str | None) -> None:
    found = choices_of({"_data": {"message": {"interactiveMessage": part}}})
    assert [each.label for each in found] == ([] if label is None else [label])


YES, NO = Choice("Yes", "reply", "y"), Choice("No", "reply", "n")
LINK = Choice("Look", "link", value="https://example.com")


def refusal(choices: list[Choice], label: str) -> str:
    with pytest.raises(Refused) as refused:
        chosen(choices, label)
    return str(refused.value)


def test_a_choice_is_found_by_its_label_however_that_is_written() -> None:
    assert chosen([YES, NO, LINK], " yes\u200b") == YES
    twice = [YES, Choice("Yes", "row", "y", section="More")]
    assert chosen(twice, "Yes") == YES
    # Without ids, the same label means the same choice.
    assert chosen([Choice("Yes", "reply"), Choice("yes", "reply", section="More")][:1] * 2, "Yes").label == "Yes"


def test_of_several_with_one_label_the_section_tells() -> None:
    rows = [Choice("Nine", "row", "a", section="Monday"), Choice("Nine", "row", "b", section="Tuesday"), NO]
    said = refusal(rows, "Nine")
    assert "Several" in said
    assert "'Monday: Nine', 'Tuesday: Nine', 'No'" in said
    assert chosen(rows, "tuesday: nine").id == "b"


def test_what_does_not_answer_is_for_a_person_and_not_named_as_an_answer() -> None:
    assert "opens a link, which only a person can do" in refusal([YES, LINK], "Look")
    assert "'Look'" not in refusal([YES, LINK], "Other")
    assert refusal([LINK], "Other").endswith("None of its buttons answers it.")
    assert "no buttons and no list" in refusal([], "Yes")


@pytest.mark.parametrize(("count", "more"), [(30, False), (31, True)])
def test_of_many_the_first_are_named(count: int, more: bool) -> None:
    said = refusal([Choice(f"Row {number}", "row", str(number)) for number in range(count)], "Other")
    assert ("and 1 more" in said) is more
    assert "'Row 29'" in said
