"""Arguments as hosts and models really send them: which are accepted, and which remain errors."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args

import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with, effects
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Tool
from waha_mcp.tools.forgiving import HOST_MADE, meant
from waha_mcp.tools.params import Clears, Narrows, Unseen, mark_in

TOOLS = pytest.mark.parametrize("tool", CATALOG.values(), ids=CATALOG)
TEXT = {"chat": SAM, "text": "Hello"}
CARD = {"name": "Sam", "phone": "+1 202 555 0123"}


def parsed(name: str, /, **arguments: Any) -> dict[str, Any]:
    return CATALOG[name].parse(arguments)


def refused(name: str, /, **arguments: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        CATALOG[name].parse(arguments)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(HOST_MADE))
def test_a_property_that_a_host_adds_to_every_tool_is_dropped(name: str) -> None:
    assert parsed("send_text", **TEXT, **{name: True}) == parsed("send_text", **TEXT)


@pytest.mark.parametrize("name", sorted(HOST_MADE))
def test_within_an_object_such_a_property_is_unknown(name: str) -> None:
    assert f"contacts.0.{name}: unknown" in refused("send_contact_cards", chat=SAM, contacts=[CARD | {name: True}])


@TOOLS
def test_no_tool_has_an_argument_of_a_name_that_is_dropped(tool: Tool) -> None:
    assert HOST_MADE.isdisjoint(tool.arguments.model_fields)


@pytest.mark.parametrize(
    ("tool", "name", "right"),
    [
        ("send_text", "to", "chat"),
        ("send_text", "message", "text"),
        ("send_text", "chatId", "chat"),
        ("send_text", "replyTo", "reply_to"),
        ("create_group", "name", "subject"),
        ("create_group", "members", "participants"),
        ("react", "id", "message_id"),
        ("react", "reaction", "emoji"),
        ("get_messages", "count", "limit"),
        ("get_messages", "from", "since"),
        ("get_messages", "snice", "since"),
        ("send_media", "file_path", "path"),
        ("send_media", "text", "caption"),
        ("search_messages", "keyword", "query"),
    ],
)
def test_an_unknown_property_is_told_with_the_one_that_is_meant(tool: str, name: str, right: str) -> None:
    text = refused(tool, **{name: "x"})
    assert f"{name}: unknown property (did you mean {right}?)" in text
    assert f"{tool} takes " in text


def test_a_property_that_is_like_nothing_gets_no_guess() -> None:
    text = refused("send_text", **TEXT, colour_of_the_sky="blue")
    assert "unknown property; send_text takes chat (required), text (required), reply_to" in text


def test_in_an_object_the_names_of_that_object_are_told() -> None:
    text = refused("send_contact_cards", chat=SAM, contacts=[{"name": "Sam", "phone_number": "+1 202 555 0123"}])
    assert "contacts.0.phone_number: unknown property (did you mean phone?)" in text
    assert "contacts takes name (required), phone (required), organization" in text


@pytest.mark.parametrize("group", ["chat to recipient", "text message body"])
def test_names_that_mean_one_argument_lead_to_the_one_that_there_is(group: str) -> None:
    right, *others = group.split()
    assert [meant(other, [right, "limit"]) for other in others] == [right] * len(others)


BLANK = [None, "", "  ", "\n"]


@TOOLS
@pytest.mark.parametrize("blank", BLANK[:2])
def test_a_blank_in_an_optional_argument_counts_as_left_out(tool: Tool, blank: str | None) -> None:
    required = {name for name, field in tool.arguments.model_fields.items() if field.is_required()}
    marked = set() if blank is None else {*marked_with(tool, Narrows), *marked_with(tool, Clears)}
    full = {name: blank for name in tool.arguments.model_fields if name not in required | marked}
    try:
        expected: Any = tool.parse({})
    except ArgumentError as error:
        expected = str(error)
    if required or tool.one_of:
        assert str(expected).count(": required") == len(required)
        assert refused(tool.name, **full) == expected
    else:
        assert tool.parse(full) == expected


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_within_an_object_counts_as_left_out_too(blank: str | None) -> None:
    sections = [{"title": blank, "rows": [{"title": "Red", "description": blank, "id": blank}]}]
    given = parsed("send_list", chat=SAM, title="Wine", button="Choose", sections=sections, footer=blank)
    plain = parsed("send_list", chat=SAM, title="Wine", button="Choose", sections=[{"rows": [{"title": "Red"}]}])
    assert given == plain


@pytest.mark.parametrize("blank", [None, ""])
@pytest.mark.parametrize("name", ["chat", "text"])
def test_a_required_argument_that_is_blank_is_an_error_with_what_it_takes(name: str, blank: str | None) -> None:
    text = refused("send_text", **TEXT | {name: blank})
    assert f"{name}: {'required' if blank is None else 'must not be blank'} (" in text


def marked_with(tool: Tool, kind: type[Narrows] | type[Clears]) -> set[str]:
    parameters = inspect.signature(tool.run).parameters.values()
    return {each.name for each in parameters if mark_in(each.annotation, kind) is not None}


@TOOLS
def test_an_optional_argument_that_limits_whom_an_effect_reaches_is_marked_so(tool: Tool) -> None:
    fields = tool.arguments.model_fields
    limits = {name for name, mark in tool.references.items() if mark.reached and not fields[name].is_required()}
    seen = {name for name in limits if mark_in(fields[name].annotation, Unseen) is None}
    assert not tool.effect or seen <= marked_with(tool, Narrows)


@pytest.mark.parametrize("blank", ["", " ", []])
def test_a_blank_audience_is_no_audience_of_everybody(blank: Any) -> None:
    assert "people" in refused("post_text_status", text="Hello", people=blank)


@pytest.mark.parametrize(
    ("tool", "cleared", "required", "other"),
    [
        ("update_group", "description", {"group": "Chess"}, {"subject": "Chess club"}),
        ("update_profile", "about", {}, {"name": "Sam"}),
        ("update_session_settings", "proxy", {}, {"debug": True}),
        ("update_waha_app", "call_reply", {"app_id": "app_1"}, {"enabled": False}),
    ],
)
def test_an_empty_text_takes_something_away_only_where_nothing_else_is_given(
    tool: str, cleared: str, required: dict[str, Any], other: dict[str, Any]
) -> None:
    optional = CATALOG[tool].arguments.model_fields.keys() - required.keys() - {cleared} - other.keys()
    blanks = dict.fromkeys(optional)
    assert parsed(tool, **required, **blanks, **{cleared: ""})[cleared] == ""
    assert parsed(tool, **required, **blanks, **{cleared: ""}, **other)[cleared] is None
    assert "mpty" in CATALOG[tool].input_schema["properties"][cleared]["description"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("Maya", ["Maya"]),
        ('["Maya", "Sam"]', ["Maya", "Sam"]),
        (["Maya"], ["Maya"]),
        ("Maya, Sam", ["Maya, Sam"]),
        ("[Maya]", ["[Maya]"]),
        ('["Maya", 5]', ['["Maya", 5]']),
        ('{"a": 1}', ['{"a": 1}']),
        ("[" * 100_000, ["[" * 100_000]),
        (['["Maya", "Sam"]'], ['["Maya", "Sam"]']),
        (12025550123, ["12025550123"]),
    ],
)
def test_one_value_or_json_text_is_taken_where_a_list_is_asked_for(given: Any, taken: list[str]) -> None:
    assert parsed("send_text", **TEXT, mentions=given)["mentions"] == taken


@pytest.mark.parametrize("given", [CARD, [CARD], json.dumps(CARD), json.dumps([CARD]), [json.dumps(CARD)]])
def test_objects_are_taken_in_each_form(given: Any) -> None:
    (card,) = parsed("send_contact_cards", chat=SAM, contacts=given)["contacts"]
    assert (card.name, card.phone) == ("Sam", "+12025550123")


@pytest.mark.parametrize("given", ["[]", "[1, 2]", '"Hello"', "{}", "null", "true"])
def test_a_text_that_looks_like_json_stays_the_text_that_it_is(given: str) -> None:
    assert parsed("send_text", chat=SAM, text=given)["text"] == given


@pytest.mark.parametrize(("given", "taken"), [("2", 2), (2.0, 2), (2, 2), (" 2 ", 2)])
def test_numbers_are_taken_as_texts(given: Any, taken: int) -> None:
    assert parsed("list_chats", limit=given)["limit"] == taken


def test_a_phone_number_is_taken_as_a_number() -> None:
    assert parsed("send_text", chat=12025550123, text="Hello")["chat"] == "12025550123"


@pytest.mark.parametrize("given", ["500", 2.5, "many", True and [1, 2]])
def test_what_is_out_of_range_stays_an_error(given: Any) -> None:
    assert "limit: " in refused("list_chats", limit=given)


def test_errors_list_the_choices() -> None:
    assert "'concise' or 'full'" in refused("list_chats", detail="everything")


@pytest.mark.parametrize("tool", [tool for tool in CATALOG.values() if tool.one_of], ids=lambda tool: tool.name)
def test_of_arguments_of_which_one_is_taken_the_error_names_those_given(tool: Tool) -> None:
    assert all(not tool.arguments.model_fields[name].is_required() for name in tool.one_of)
    assert all(type(None) in get_args(tool.arguments.model_fields[name].annotation) for name in tool.one_of)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Give exactly one of url, data and path: none is given"),
        ({"url": "https://example.com/a.png", "path": "a.png"}, "url and path are given"),
        ({"url": "https://example.com/a.png", "path": "a.png", "data": "aGk="}, "url and data and path are given"),
    ],
)
def test_files_that_clash_are_named(given: dict[str, Any], words: str) -> None:
    assert words in refused("send_media", chat=SAM, kind="image", **given)


def test_a_file_next_to_blanks_is_the_one() -> None:
    given = parsed("send_media", chat=SAM, kind="image", url="https://example.com/a.png", data="", path=None)
    assert (given["data"], given["path"]) == (None, None)


@pytest.mark.anyio
async def test_nobody_is_asked_about_a_call_that_says_nothing(sandbox: SandboxInfo, admin: Admin) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("somebody was asked")

    async with bridge_with(sandbox, approval="all", toolsets=frozenset({"all"})) as bridge:
        for arguments in ({"subject": " "}, {"subject": "Chess", "description": "New"}):
            with pytest.raises(ArgumentError, match="exactly one of subject and description"):
                await bridge.call("update_group", {"group": "120363041234567890@g.us"} | arguments, ask=never)
    assert await effects(admin) == []
