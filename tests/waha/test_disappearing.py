"""The expiry of disappearing messages, in the forms of the four engines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.corpus import cases
from waha_mcp.waha.content import content_of, expires_of

SENT, HOUR, DAY = 1_790_000_000, 3_600, 86_400
HELLO = {"conversation": "Hello"}


def timed(**context: Any) -> dict[str, Any]:
    return {"extendedTextMessage": {"text": "Hello", "contextInfo": context}}


def seconds_of(data: dict[str, Any], timestamp: Any = SENT) -> int | None:
    """The seconds for which a message stays; None: for good."""
    row = {"id": "false_12025550123@c.us_A", "timestamp": timestamp, "_data": data}
    ends = expires_of(row, content_of(row))
    return None if ends is None else ends - SENT


#: A message that disappears after a week.
WEEK: dict[str, dict[str, Any]] = {
    "NOWEB, in its wrapper": {"message": {"ephemeralMessage": {"message": timed(expiration=7 * DAY)}}},
    "NOWEB, without a wrapper": {"message": timed(expiration=7 * DAY)},
    "NOWEB, a Long": {"message": timed(expiration={"low": 7 * DAY, "high": 0, "unsigned": True})},
    "NOWEB, from the history": {"message": HELLO, "ephemeralDuration": 7 * DAY},
    "NOWEB, a start that is later": {
        "message": HELLO,
        "ephemeralDuration": 7 * DAY,
        "ephemeralStartTimestamp": {"low": SENT + 3 * DAY, "high": 0, "unsigned": True},
    },
    "GOWS": {"Message": timed(expiration=7 * DAY), "IsEphemeral": True},
    "GOWS, without a wrapper": {"Message": timed(expiration=7 * DAY), "IsEphemeral": False},
    "GOWS, from the history": {"Message": HELLO, "SourceWebMsg": {"ephemeralDuration": 7 * DAY}},
    "GOWS, a document": {
        "Message": {"documentMessage": {"fileName": "a.pdf", "contextInfo": {"expiration": 7 * DAY}}},
        "IsEphemeral": True,
    },
    "WEBJS": {"type": "chat", "body": "Hello", "ephemeralDuration": 7 * DAY, "isEphemeral": True},
    "WPP": {"type": "image", "caption": "Hello", "ephemeralDuration": 7 * DAY},
    "WPP, undone keeping": {"type": "chat", "ephemeralDuration": 7 * DAY, "kicState": "UNKEPT"},
}


@pytest.mark.parametrize("data", WEEK.values(), ids=WEEK.keys())
def test_a_timer_counts_from_when_the_message_was_sent(data: dict[str, Any]) -> None:
    assert seconds_of(data) == 7 * DAY


#: Messages that stay.
STAYS: dict[str, dict[str, Any]] = {
    "NOWEB": {"message": HELLO, "ephemeralDuration": 0, "ephemeralStartTimestamp": 0},
    "NOWEB, a timer of none": {"message": timed(expiration=0)},
    "NOWEB, kept": {
        "message": {"ephemeralMessage": {"message": timed(expiration=DAY)}},
        "keepInChat": {"keepType": 1, "key": {"id": "A"}},
    },
    "NOWEB, kept, by its name": {"message": timed(expiration=DAY), "keepInChat": {"keepType": "KEEP_FOR_ALL"}},
    "NOWEB, a reply to one that disappears": {
        "message": timed(stanzaId="B", quotedMessage={"ephemeralMessage": {"message": timed(expiration=DAY)}})
    },
    "NOWEB, the timer itself": {
        "message": {"protocolMessage": {"type": "EPHEMERAL_SETTING", "ephemeralExpiration": DAY}}
    },
    "GOWS": {"Message": HELLO, "IsEphemeral": False, "SourceWebMsg": None},
    "GOWS, kept": {
        "Message": timed(expiration=DAY),
        "IsEphemeral": True,
        "SourceWebMsg": {"keepInChat": {"keepType": 1}},
    },
    "WEBJS": {"type": "chat", "body": "Hello", "ephemeralDuration": None, "isEphemeral": False},
    "WEBJS, kept": {"type": "chat", "body": "Hello", "ephemeralDuration": DAY, "kicState": "KEPT"},
    "WEBJS, a notice of the timer": {"type": "gp2", "subtype": "ephemeral", "ephemeralDuration": DAY},
    "WPP, a reply to one that disappears": {
        "type": "chat",
        "quotedMsg": {"type": "chat", "body": "Hello", "ephemeralDuration": DAY},
    },
    "nothing of the engine": {},
}


@pytest.mark.parametrize("data", STAYS.values(), ids=STAYS.keys())
def test_what_has_no_timer_or_is_kept_stays(data: dict[str, Any]) -> None:
    assert seconds_of(data) is None


@pytest.mark.parametrize(
    "data",
    [
        {"message": {"ephemeralMessage": {"message": HELLO}}},
        {"message": {"deviceSentMessage": {"message": {"ephemeralMessage": {"message": HELLO}}}}},
        {"Message": HELLO, "IsEphemeral": True},
        {"type": "chat", "body": "Hello", "isEphemeral": True},
        {"message": {"ephemeralMessage": {"message": HELLO}}, "keepInChat": {"keepType": 2}},
    ],
)
def test_a_timer_that_is_not_told_is_the_shortest(data: dict[str, Any]) -> None:
    assert seconds_of(data) == DAY


@pytest.mark.parametrize(
    ("data", "stays"),
    [
        ({"message": timed(expiration=DAY, afterReadDuration=HOUR)}, HOUR),
        ({"Message": timed(expiration=DAY, afterReadDuration=HOUR), "IsEphemeral": True}, HOUR),
        ({"type": "chat", "ephemeralDuration": DAY, "afterReadDuration": HOUR}, HOUR),
        ({"type": "chat", "ephemeralDuration": DAY, "expiredTimestamp": SENT + 2 * HOUR}, 2 * HOUR),
        ({"type": "chat", "ephemeralDuration": DAY, "expiredTimestamp": 0}, DAY),
    ],
)
def test_of_several_ends_the_first_counts(data: dict[str, Any], stays: int) -> None:
    assert seconds_of(data) == stays


@pytest.mark.parametrize("timestamp", [None, 0, "soon"])
def test_of_a_message_without_a_time_it_is_not_known(timestamp: Any) -> None:
    assert seconds_of({"message": timed(expiration=DAY)}, timestamp) is None


def test_in_each_engines_payloads_exactly_the_disappearing_messages_do() -> None:
    sent_from_phone = "picture of mine from the phone, as sent to the device"
    for case in cases("messages"):
        said = "disappearing" in case.case or case.kind.startswith("ephemeral") or case.case == sent_from_phone
        assert (expires_of(case.row, content_of(case.row)) is not None) is said, str(case)
