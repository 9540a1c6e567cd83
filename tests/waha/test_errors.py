"""Every row of the reference's error table, as WAHA sends it: the right class, and a text with a next step."""

from __future__ import annotations

from typing import Any

import pytest

from waha_mcp.waha.errors import (
    Failed,
    Forbidden,
    NotFound,
    OnlyInPlus,
    Refused,
    SessionNotReady,
    TooBusy,
    Unauthorized,
    UnknownOperation,
    Unsupported,
    WahaError,
    clean,
    error_for,
    session_step,
)

ECHO = {
    "statusCode": 500,
    "timestamp": "2026-05-01T09:00:00Z",
    "exception": {"message": "boom MARK", "name": "TypeError", "stack": "TypeError: boom MARK\n    at x (/app/a.js:1)"},
    "request": {"path": "/api/sendText", "method": "POST", "body": {"text": "MARK"}, "query": {}},
    "version": {"version": "2026.9.2"},
}
NOT_AS_EXPECTED = {"error": "Session status is not as expected...", "session": "work", "expected": ["WORKING"]}

ROWS: list[tuple[int, Any, type[WahaError], list[str]]] = [
    (401, {"message": "Unauthorized", "statusCode": 401}, Unauthorized, ["key", "Ask the user"]),
    (403, {"message": "Forbidden", "statusCode": 403}, Forbidden, ["not granted", "ask the user"]),
    (
        400,
        {"message": "Session name is required", "error": "Bad Request", "statusCode": 400},
        Refused,
        ["Session name is required"],
    ),
    (
        400,
        {"statusCode": 400, "message": ["limit must be a number", "offset must be a number"], "error": "Bad Request"},
        Refused,
        ["limit must be a number", "offset must be a number"],
    ),
    (404, {"message": "Session not found", "statusCode": 404}, SessionNotReady, ["'work'", "ask the user"]),
    (
        422,
        {"error": 'Session "work" does not exist', "session": "work"},
        SessionNotReady,
        ["no session 'work'", "ask the user"],
    ),
    (422, {**NOT_AS_EXPECTED, "status": "SCAN_QR_CODE"}, SessionNotReady, ["'work'", "QR code", "scan"]),
    (422, {**NOT_AS_EXPECTED, "status": "STARTING"}, SessionNotReady, ["'work'", "try again"]),
    (422, {**NOT_AS_EXPECTED, "status": "STOPPED"}, SessionNotReady, ["'work'", "start it"]),
    (422, {**NOT_AS_EXPECTED, "status": "FAILED"}, SessionNotReady, ["'work'", "restart it"]),
    (422, {**NOT_AS_EXPECTED, "status": "WORKING", "expected": ["SCAN_QR_CODE"]}, SessionNotReady, ["not"]),
    (422, {**NOT_AS_EXPECTED, "status": "SOMETHING_NEW"}, SessionNotReady, ["SOMETHING_NEW"]),
    (422, {"message": "no such thing here", "statusCode": 422}, Refused, ["no such thing here"]),
    (
        404,
        {"message": "We didn't find a session with name 'work'. Please start it first", "statusCode": 404},
        SessionNotReady,
        ["stopped", "start it"],
    ),
    (
        501,
        {
            "message": "The method is not implemented by 'NOWEB' engine...",
            "error": "Not Implemented",
            "statusCode": 501,
        },
        Unsupported,
        ["NOWEB", "another way"],
    ),
    (501, None, Unsupported, ["the engine"]),
    (
        400,
        {"statusCode": 400, "message": 'Enable NOWEB store "config.noweb.store.enabled=True" when starting'},
        Refused,
        ["store", "Ask the user to enable"],
    ),
    (500, ECHO, Failed, ["500", "log"]),
    (
        404,
        {"error": {"code": 404, "key": "FILE_NOT_FOUND", "message": "MARK"}},
        NotFound,
        ["Check the id"],
    ),
    (404, {"statusCode": 404, "message": "Cannot GET /x", "error": "Not Found"}, UnknownOperation, ["404", "url"]),
    (
        422,
        {"statusCode": 422, "message": "The method is not implemented by the engine. MARK"},
        Unsupported,
        ["'work'", "422", "engine"],
    ),
    (
        422,
        {"statusCode": 422, "message": "The feature is available only in Plus version. Check this out: https://MARK/"},
        OnlyInPlus,
        ["Plus", "2026.6.1", "update WAHA"],
    ),
    (500, {**ECHO, "exception": {"name": "PayloadTooLargeError"}}, Failed, ["500"]),
    (413, None, Refused, ["413", "smaller"]),
    (429, None, TooBusy, ["later"]),
    (418, "I am a teapot", Refused, ["418"]),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), ROWS)
def test_each_row_of_the_table_has_its_class_and_its_words(
    status: int, body: Any, kind: type[WahaError], words: list[str]
) -> None:
    error = error_for(status, body, session="work")
    assert type(error) is kind
    for word in words:
        assert word in str(error)
    assert "MARK" not in str(error)
    assert len(str(error)) < 500
    assert str(error).endswith(".")


def test_the_store_is_only_meant_where_the_word_stands() -> None:
    assert "NOWEB" not in str(error_for(400, {"message": "restored values are not allowed"}, session="work"))


def test_too_busy_says_how_long() -> None:
    assert "7 s" in str(error_for(429, None, session="work", retry_after=6.8))
    assert "1 s" in str(error_for(429, None, session="work", retry_after=0))


@pytest.mark.parametrize("body", [None, [], {}, 5, "text", {"message": None}, {"message": [1, {}]}, {"status": 5}])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422, 429, 500, 501, 503, 599])
def test_no_shape_of_a_body_is_too_odd(status: int, body: Any) -> None:
    assert str(error_for(status, body, session=None))


def test_foreign_text_is_cleaned() -> None:
    said = clean("Error at https://waha/api?x-api-key=1\n\u202eSECRET secret\x00.\n    at f (/app/x.js:1:2)", "secret")
    assert said == "Error at <url> [key] [key]"
    assert len(clean("a" * 5000)) == 300


def test_a_key_that_is_cut_in_half_by_the_limit_does_not_show() -> None:
    key = "k-4f9a1c77d2e84b0f"
    assert key[:10] not in clean("x" * 285 + " " + key, key)


def test_a_status_of_the_session_says_what_to_do() -> None:
    assert "QR code" in session_step("work", "SCAN_QR_CODE")
    assert "'work'" in session_step("work", "UNHEARD_OF")
    assert "UNHEARD_OF" in session_step("work", "UNHEARD_OF")
