"""Logs go to stderr and hold no secrets."""

from __future__ import annotations

import base64
import html
import json
import logging
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
from pydantic import SecretStr

from tests.harness import own_logging
from waha_mcp import log
from waha_mcp.log import configure_logging, hidden, hide, redact, redact_answer, redact_json, unmistakable

KEY = "k-4f9a1c77d2e84b0f"


@pytest.fixture(autouse=True)
def nothing_hidden_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_for_good", "_in_use", "_used"):
        monkeypatch.setattr(log, name, type(getattr(log, name))())
    for made in (log._plain, log._escaped, log._encoded):
        made.cache_clear()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    with own_logging():
        yield


def test_the_key_is_taken_out_of_lines_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    hide(SecretStr(KEY))
    configure_logging("info")
    log = logging.getLogger("waha_mcp.test")
    log.info("with %s inside", KEY)
    try:
        raise ValueError(f"about {KEY}")
    except ValueError:
        log.exception("failed")
    out, err = capsys.readouterr()
    assert out == ""
    assert KEY not in err
    assert err.count("[key]") >= 2
    assert "ValueError" in err


def logged(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    configure_logging("info")
    logging.getLogger("waha_mcp.test").info("%s", text)
    return capsys.readouterr().err


def test_a_key_is_hidden_while_somebody_uses_it_and_in_lines_that_are_on_their_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = SecretStr("key_of_somebody_0")
    with hidden(mine):
        with hidden(mine):
            assert "[key]" in logged(mine.get_secret_value(), capsys)
        assert "[key]" in logged(mine.get_secret_value(), capsys)
    assert "[key]" in logged(mine.get_secret_value(), capsys)


def test_strangers_who_send_many_keys_leave_no_more_than_the_last_ones_to_look_for() -> None:
    hide(SecretStr("key_for_good_0"))
    for number in range(3 * log._LATE):
        with hidden(SecretStr(f"key_of_stranger_{number}")):
            pass
    assert len(log._hidden()) == 1 + log._LATE
    assert SecretStr("key_for_good_0") in log._hidden()
    assert SecretStr(f"key_of_stranger_{3 * log._LATE - 1}") in log._hidden()


def test_ours_show_from_the_chosen_level_and_others_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    logging.getLogger("waha_mcp.test").debug("our detail")
    logging.getLogger("httpx").info("their detail")
    logging.getLogger("httpx").warning("their warning")
    err = capsys.readouterr().err
    assert "our detail" in err
    assert "their detail" not in err
    assert "their warning" in err


def test_what_is_below_the_level_does_not_show(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")
    logging.getLogger("waha_mcp.test").warning("not this")
    assert capsys.readouterr().err == ""


def test_an_empty_secret_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    hide(SecretStr(""))
    configure_logging("info")
    logging.getLogger("waha_mcp.test").info("as it is")
    assert "as it is" in capsys.readouterr().err


def test_of_a_key_that_begins_as_another_does_nothing_is_left() -> None:
    short, long = SecretStr("key_0123"), SecretStr("key_0123_4567")
    for keys in ((short, long), (long, short)):
        assert redact("with key_0123_4567 and key_0123", *keys) == "with [key] and [key]"


# The forms of a secret

#: With letters of both cases, digits, and characters that URLs, JSON, HTML and base64 each encode.
LONG = 'Key_"5f/9a+1c&77<d2>e84b\\0f'


def base64_of(text: str, *, urlsafe: bool = False) -> str:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return encode(text.encode()).decode()


FORMS = {
    "plain": LONG,
    "lower": LONG.lower(),
    "upper": LONG.upper(),
    "swapped": LONG.swapcase(),
    "json": json.dumps(LONG)[1:-1],
    "json twice": json.dumps(json.dumps(LONG))[3:-3],
    "json in ascii": "".join(f"\\u{ord(char):04x}" for char in LONG),
    "json in ascii, upper": "".join(f"\\u{ord(char):04X}" for char in LONG),
    "of javascript": LONG.replace("/", "\\/").replace('"', "\\x22"),
    "python": repr(LONG)[1:-1],
    "url": quote(LONG),
    "url, all": quote(LONG, safe=""),
    "url, lower hex": quote(LONG, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3C", "%3c"),
    "url twice": quote(quote(LONG, safe=""), safe=""),
    "url three times": quote(quote(quote(LONG, safe=""), safe=""), safe=""),
    "url, every character": "".join(f"%{ord(char):02x}" for char in LONG),
    "url in capitals": quote(LONG, safe="").upper(),
    "form": quote_plus(LONG),
    "html": html.escape(LONG),
    "html twice": html.escape(html.escape(LONG)),
    "html by numbers": "".join(f"&#{ord(char)};" for char in LONG),
    "html by hex numbers": "".join(f"&#x{ord(char):X};" for char in LONG),
    "html of json": html.escape(json.dumps(LONG)[1:-1]),
    "url of json": quote(json.dumps(LONG)[1:-1], safe=""),
    "hex": LONG.encode().hex(),
    "hex in capitals": LONG.encode().hex().upper(),
    "hex with colons": LONG.encode().hex(":"),
    "base64": base64_of(LONG),
}
#: In base64 the form is complete, except for what is shared with a neighbour.
INSIDE = {
    f"base64 {'for urls ' if urlsafe else ''}behind {before!r}": base64_of(before + LONG + after, urlsafe=urlsafe)
    for before in ("", "a", "ab", "user:", "X-Api-Key: ", "sessions\r\nx-api-key: ")
    for after in ("", "\n", "\r\nAccept: */*")
    for urlsafe in (False, True)
}


@pytest.mark.parametrize("way", [redact, redact_answer])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(("before", "after"), [("", ""), ("key=", "&session=default"), ("a", "b"), ("(", ").")])
def test_a_key_is_found_in_every_form(form: str, before: str, after: str, way: Callable[..., str]) -> None:
    found = way(f"{before}{form}{after}", SecretStr(LONG))
    assert found.rstrip("=") in (f"{before}[key]{after}", f"{before}[key]{form[-2]}{after}", f"{before}[key]Z{after}")


@pytest.mark.parametrize("encoded", INSIDE.values(), ids=INSIDE.keys())
def test_a_key_is_found_inside_base64(encoded: str) -> None:
    found = redact(f"authorization: Basic {encoded}", SecretStr(LONG))
    assert "[key]" in found
    left = found.partition("Basic ")[2].replace("[key]", "")
    assert len(left) <= len(encoded) - len(LONG) * 4 // 3 + 2


@pytest.mark.parametrize("urlsafe", [False, True])
def test_base64_that_was_escaped_is_found(urlsafe: bool) -> None:
    encoded = base64_of("user:" + LONG, urlsafe=urlsafe)
    for written in (quote(encoded, safe=""), quote(encoded, safe="").lower(), encoded.replace("/", "\\/")):
        if written != written.lower():  # base64 with its case changed means something else
            assert "[key]" in redact(written, SecretStr(LONG)), written


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\n ", "\n\t", "\\n", "\\\\r\\\\n"], ids=repr)
@pytest.mark.parametrize("width", [1, 7, 76])
def test_a_key_is_found_where_lines_end_in_it(width: int, end: str) -> None:
    def folded(text: str) -> str:
        return end.join(text[at : at + width] for at in range(0, len(text), width))

    dump = base64_of("X-Api-Key: " * 6 + LONG + "\r\nAccept: */*")
    for written in (folded(LONG), folded(LONG.encode().hex()), folded(base64_of(LONG)), folded(dump)):
        assert "[key]" in redact(written, SecretStr(LONG)), written
        _, [found] = redact_json([written], SecretStr(LONG))
        assert "[key]" in found


def test_another_key_is_none() -> None:
    for other in (LONG[:-1] + "g", "x" + LONG[1:], base64_of(LONG[:-4] + "beef"), quote(LONG[1:], safe="")):
        assert redact(other, SecretStr(LONG)) == other


# Secrets that might be words or numbers

WEAK = ["a", "1", "123", "admin", "true", "null", "text", "password", "whatsapp", "message_id", "12025550123", "{", '"']


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_key_damages_no_answer(key: str) -> None:
    data = {
        "message_id": "true_12025550123@c.us_3EB0123",
        "admin": True,
        "count": 123,
        "nothing": None,
        "text": f'My password is not {key}, said the admin of room 123 on WhatsApp: 1 {{a}} "true"',
        "roles": ["admin", "a", "null", key],
    }
    text, same = redact_json(data, SecretStr(key))
    assert same == data == json.loads(text)
    assert redact_answer(f"limit: must be {key}", SecretStr(key)) == f"limit: must be {key}"


@pytest.mark.parametrize("key", ["123", "admin", "password", "4815162342"])
@pytest.mark.parametrize(
    "written", ["{}", "key={}", "?x-api-key={}&session=default", '{{"key": "{}"}}', "Wrong key '{}'.", "with {}, again"]
)
def test_a_weak_key_is_taken_out_of_logs_where_it_stands_alone(key: str, written: str) -> None:
    for form in (key, key.upper(), base64_of(key)):
        assert redact(written.format(form), SecretStr(key)) == written.format("[key]")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("123", "chat 123456@c.us at 0.1234 s"),
        ("123", "from 123@c.us"),
        ("admin", "the administrator's admin_key"),
        ("admin", "GET /admin/keys"),
        ("a", "a1 ba /a/ a.b"),
    ],
)
def test_a_weak_key_inside_other_words_is_none(key: str, line: str) -> None:
    assert redact(line, SecretStr(key)) == line


# JSON


def test_only_strings_change_in_json() -> None:
    secret = SecretStr("4815162342481516")
    data = {"number": 4815162342481516, "text": f"is {secret.get_secret_value()}", "list": [{"at": 1.5, "on": False}]}
    text, found = redact_json(data, secret)
    assert found == data | {"text": "is [key]"} == json.loads(text)


def test_json_stays_valid_whatever_the_key() -> None:
    for key in ('","text":"aaaa111', '{"id":"x","text1":', LONG, "\\\\\\\\1111aaaa\\", '"' * 20):
        data = {"id": "x", "text": f"a {key} b", key: [key, {"text1": 1}]}
        text, found = redact_json(data, SecretStr(key))
        assert json.loads(text) == found
        assert found == {"id": "x", "text": "a [key] b", "[key]": ["[key]", {"text1": 1}]}


def test_data_without_a_key_is_left_as_it_is() -> None:
    data = {"text": "100 % \\ &amp; é"}
    text, found = redact_json(data, SecretStr(LONG), SecretStr(""))
    assert found is data
    assert text == '{"text":"100 % \\\\ &amp; é"}'


@pytest.mark.parametrize(
    ("key", "is_so"),
    [("a" * 16, True), ("a" * 15, False), ("1" * 16, True), ("1" * 15, False), ("abcdef-1", True), ("abcde-1", False)],
)
def test_a_key_that_could_be_a_word_or_a_number_is_told_from_others(key: str, is_so: bool) -> None:
    assert unmistakable(key) is is_so


def test_one_of_several_keys_is_found_in_json() -> None:
    text, found = redact_json({"text": f"with {LONG}"}, SecretStr("b" * 20), SecretStr(LONG), SecretStr("admin"))
    assert found == {"text": "with [key]"} == json.loads(text)


def test_escapes_of_several_kinds_may_stand_beside_each_other() -> None:
    for form in (quote(LONG, safe=""), html.escape(LONG), json.dumps(LONG)[1:-1]):
        assert redact(f"% & \\ {form} % & \\", SecretStr(LONG)) == "% & \\ [key] % & \\"
