"""Chat ids, numbers and message ids: many notations in, one form out."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waha_mcp.whatsapp.ids import normalize_chat_id, parse_chat, parse_message_id, parse_phone, phone_of


@pytest.mark.parametrize(
    "text",
    [
        "+49 151 23456789",
        "+49 (0)151 23456789",
        "0049 151 23456789",
        "49 151 23456789",
        "4915123456789",
        "+49-151-2345.6789",
        "tel:+49-151-23456789",
        "  +49 (151) 234/56789 ",
        "\uff0b49 151 23456789",
        "+４９１５１２３４５６７８９",
        "+٤٩١٥١٢٣٤٥٦٧٨٩",
        "+49\u00a0151\u202f23456789",
        "\u202a+49 151 23456789\u202c",
    ],
)
def test_a_number_may_be_written_in_many_ways(text: str) -> None:
    assert parse_phone(text) == "4915123456789"
    assert parse_chat(text) == "4915123456789@c.us"


@pytest.mark.parametrize("region", ["US", "DE", "BR", "MX", "AR", "IN", "IT", "GB", "ID", "NG", "IL"])
@pytest.mark.parametrize("form", ["E164", "INTERNATIONAL", "RFC3966"])
def test_every_usual_writing_of_a_countrys_example_gives_its_digits(region: str, form: str) -> None:
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert number is not None
    digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    assert parse_phone(phonenumbers.format_number(number, getattr(phonenumbers.PhoneNumberFormat, form))) == digits


def test_an_italian_zero_is_kept() -> None:
    assert parse_phone("+39 06 1234567") == "39061234567"


@pytest.mark.parametrize("text", ["0151 23456789", "(0151) 23456789", "01511 2345678"])
def test_a_number_without_its_country_is_told_what_is_missing(text: str) -> None:
    with pytest.raises(ValueError, match=r"\+1 202 555 0123"):
        parse_phone(text)


@pytest.mark.parametrize(
    "text", ["", " ", "+", "+49", "123", "+1 555", "+49 151 1234567890123456", "Anna", "+49 15a", "1" * 300, "--", "²²"]
)
def test_what_cannot_be_a_number_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"\+1 202 555 0123") as caught:
        parse_phone(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("value", "chat"),
    [
        ("12025550123@c.us", "12025550123@c.us"),
        ("12025550123@s.whatsapp.net", "12025550123@c.us"),
        ("12025550123:17@s.whatsapp.net", "12025550123@c.us"),
        (" 12025550123@c.us\n", "12025550123@c.us"),
        ("98765:2@lid", "98765@lid"),
        ("120363000000000000@g.us", "120363000000000000@g.us"),
        ("12025550123-1500000000@g.us", "12025550123-1500000000@g.us"),
        ("120363@newsletter", "120363@newsletter"),
        ("867051314767696@bot", "867051314767696@bot"),
        ("status@broadcast", "status@broadcast"),
        ("1500000000@broadcast", "1500000000@broadcast"),
    ],
)
def test_chat_ids_get_the_form_that_the_api_takes(value: str, chat: str) -> None:
    assert normalize_chat_id(value) == chat
    assert parse_chat(value) == chat


@pytest.mark.parametrize(
    "value",
    [
        "@c.us",
        "abc@c.us",
        "1@c.us@c.us",
        "1@example.com",
        "1@C.US",
        "../1@c.us",
        "1@c.us/../x",
        "１@c.us",
        "1@cXus",
        "-1@g.us",
        "everyone@broadcast",
        "all@c.us",
        "1" * 21 + "@c.us",
        "@" * 5000,
    ],
)
def test_what_is_no_chat_id_is_refused_with_what_would_be_right(value: str) -> None:
    assert normalize_chat_id(value) is None
    with pytest.raises(ValueError, match="phone number with country code") as caught:
        parse_chat(value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", ["", "Anna", "all", "?", "Anna 2"])
def test_a_name_is_no_chat(value: str) -> None:
    with pytest.raises(ValueError, match="chat id"):
        parse_chat(value)


def test_the_phone_of_a_chat_shows_only_where_the_id_holds_one() -> None:
    assert phone_of("12025550123@c.us") == "+12025550123"
    for hidden in ("12025550123@lid", "120363000000000000@g.us", "0@c.us", "status@broadcast"):
        assert phone_of(hidden) is None


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("true_12025550123@c.us_3EB0A", (True, "12025550123@c.us", "3EB0A", None)),
        ("false_12025550123@s.whatsapp.net_3EB0A", (False, "12025550123@c.us", "3EB0A", None)),
        ("false_98765@lid_A-1.b", (False, "98765@lid", "A-1.b", None)),
        (
            "false_120363@g.us_3EB0A_12025550123:3@s.whatsapp.net",
            (False, "120363@g.us", "3EB0A", "12025550123@c.us"),
        ),
        ("true_120363@g.us_3EB0A_out", (True, "120363@g.us", "3EB0A", "out")),
        ("true_status@broadcast_3EB0A_1202555@c.us", (True, "status@broadcast", "3EB0A", "1202555@c.us")),
        ("false_120363@newsletter_143", (False, "120363@newsletter", "143", None)),
    ],
)
def test_message_ids_are_taken_apart(value: str, parts: tuple[bool, str, str, str | None]) -> None:
    assert parse_message_id(value) == parts


@pytest.mark.parametrize(
    "value", ["", "3EB0A", "maybe_1@c.us_3EB0A", "true_1@c.us", "true_1@c.us_", "true_x@c.us_A", "true_1@c.us_A B"]
)
def test_what_is_no_message_id_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(ValueError, match="false_12025550123@c"):
        parse_message_id(value)


_numbers = st.integers(1, 10**18).map(str)
_chats = st.one_of(
    st.builds("{}@{}".format, _numbers, st.sampled_from(["c.us", "lid", "g.us", "newsletter", "bot", "broadcast"])),
    st.builds("{}-{}@g.us".format, _numbers, _numbers),
    st.just("status@broadcast"),
)
_people = st.builds("{}@{}".format, _numbers, st.sampled_from(["c.us", "lid"]))


@given(_chats)
def test_a_normal_chat_id_stays_as_it_is(chat: str) -> None:
    assert normalize_chat_id(chat) == chat
    assert parse_chat(chat) == chat


@given(st.booleans(), _chats, st.from_regex(r"[0-9A-F]{1,32}", fullmatch=True), st.none() | _people)
def test_a_message_id_has_the_parts_it_was_made_of(
    from_me: bool, chat: str, message: str, participant: str | None
) -> None:
    made = "_".join([str(from_me).lower(), chat, message, *([participant] if participant else [])])
    assert parse_message_id(made) == (from_me, chat, message, participant)


@given(st.text())
def test_any_text_is_a_chat_or_a_bounded_refusal(text: str) -> None:
    try:
        chat = parse_chat(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert normalize_chat_id(chat) == chat
    assert len(said) < 600


def test_a_number_with_a_leading_zero_is_no_chat_id() -> None:
    assert normalize_chat_id("012025550123@c.us") is None
    assert normalize_chat_id("0@c.us") == "0@c.us"
    assert normalize_chat_id("012025550123@lid") == "012025550123@lid"
