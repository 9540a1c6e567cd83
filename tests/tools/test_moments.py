"""Times in arguments: days, clocks and ages, in the App's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from waha_mcp.history import times
from waha_mcp.history.times import moment
from waha_mcp.tools.catalog import CATALOG, ArgumentError

BERLIN = ZoneInfo("Europe/Berlin")
#: A Saturday afternoon in winter; daylight saving time ended on 25 October.
NOW = datetime(2026, 11, 28, 15, 30, 20, tzinfo=BERLIN)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return NOW.astimezone(tz) if tz else NOW.astimezone().replace(tzinfo=None)

    monkeypatch.setattr("waha_mcp.history.times.datetime", Fixed)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", "2026-11-28T15:30:20+01:00"),
        ("today", "2026-11-28T00:00:00+01:00"),
        (" Yesterday ", "2026-11-27T00:00:00+01:00"),
        ("yesterday 14:30", "2026-11-27T14:30:00+01:00"),
        ("yesterday at 9:05", "2026-11-27T09:05:00+01:00"),
        ("14:30", "2026-11-28T14:30:00+01:00"),
        ("friday", "2026-11-27T00:00:00+01:00"),
        ("saturday", "2026-11-21T00:00:00+01:00"),
        ("last sunday", "2026-11-22T00:00:00+01:00"),
        ("Monday 08:00", "2026-11-23T08:00:00+01:00"),
        ("2026-10-01", "2026-10-01T00:00:00+02:00"),
        ("2026-10-01 19:00", "2026-10-01T19:00:00+02:00"),
        ("2026-10-01T19:00", "2026-10-01T19:00:00+02:00"),
        ("2026-10-01t19:00:30", "2026-10-01T19:00:30+02:00"),
        ("2026-10-01T19:00:30Z", "2026-10-01T19:00:30+00:00"),
        ("2026-10-01T19:00:30.250-05:00", "2026-10-01T19:00:30.250000-05:00"),
        ("20261001", "2026-10-01T00:00:00+02:00"),
        ("30m", "2026-11-28T15:00:20+01:00"),
        ("12h", "2026-11-28T03:30:20+01:00"),
        ("2 days ago", "2026-11-26T15:30:20+01:00"),
        ("7d", "2026-11-21T15:30:20+01:00"),
        ("a week ago", "2026-11-21T15:30:20+01:00"),
        ("an hour ago", "2026-11-28T14:30:20+01:00"),
        ("10 min ago", "2026-11-28T15:20:20+01:00"),
        ("9 months ago", "2026-02-28T15:30:20+01:00"),
        ("1 year ago", "2025-11-28T15:30:20+01:00"),
        ("900h", "2026-10-22T04:30:20+02:00"),
    ],
)
def test_a_time_is_read_in_the_zone(text: str, wanted: str) -> None:
    assert moment(text, BERLIN) == datetime.fromisoformat(wanted)


@pytest.mark.parametrize("text", ["today", "yesterday", "2026-10-01", "monday", "20261001"])
def test_until_a_day_is_until_its_end(text: str) -> None:
    assert moment(text, BERLIN, "until") - moment(text, BERLIN) == timedelta(hours=23, minutes=59, seconds=59)


@pytest.mark.parametrize("text", ["yesterday 14:30", "2026-10-01 14:30", "7d", "now"])
def test_until_a_time_is_until_that_time(text: str) -> None:
    assert moment(text, BERLIN, "until") == moment(text, BERLIN)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "next year", "last week", "2026-13-01", "25:00", "yesterday 9", "99999 years ago", "1.5d", "-2d", "d"],
)
def test_what_is_no_time_is_told_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date, a time, today, yesterday"):
        moment(text, BERLIN)


@pytest.mark.parametrize(
    "given",
    [{"since": "2026-11-27 14:30"}, {"since": "2026-11-27T13:30:00Z"}, {"since": 1795786200}, {"since": "1795786200"}],
)
def test_a_tool_takes_each_form_in_the_zone_of_the_app(given: dict[str, Any]) -> None:
    parsed = CATALOG["get_messages"].parse({"chat": "Maya"} | given, BERLIN)
    assert parsed["since"] == datetime(2026, 11, 27, 13, 30, tzinfo=UTC)


def test_without_a_zone_of_the_app_it_is_the_machines() -> None:
    parsed = CATALOG["search_messages"].parse({"query": "wine", "since": "2026-11-27", "until": "2026-11-27"})
    assert parsed["since"] == datetime(2026, 11, 27).astimezone()
    assert parsed["until"] == datetime(2026, 11, 27, 23, 59, 59).astimezone()


EVENT = {"chat": "Maya", "name": "Supper"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-30 19:00", "2026-11-30T19:00:00+01:00"),
        ("tomorrow 19:00", "2026-11-29T19:00:00+01:00"),
        ("today at 19:00", "2026-11-28T19:00:00+01:00"),
        ("2026-11-30T19:00:00Z", "2026-11-30T19:00:00+00:00"),
    ],
)
def test_an_appointment_is_a_day_with_a_time(text: str, wanted: str) -> None:
    assert CATALOG["send_event"].parse(EVENT | {"start": text}, BERLIN)["start"] == datetime.fromisoformat(wanted)


@pytest.mark.parametrize("text", ["30m", "2 days ago", "now", "tomorrow", "2026-11-30", "monday 19:00", "friday"])
def test_an_appointment_is_nothing_that_means_another_time_at_each_call_and_no_day_alone(text: str) -> None:
    with pytest.raises(ArgumentError, match="start: must be date and time, such as"):
        CATALOG["send_event"].parse(EVENT | {"start": text}, BERLIN)


def test_a_day_before_a_system_knows_its_zone_is_in_utc() -> None:
    class OnWindows(datetime):
        def astimezone(self, tz: tzinfo | None = None) -> Any:
            raise OSError(22, "Invalid argument")

    assert times._in(None, OnWindows(1960, 1, 1)) == datetime(1960, 1, 1, tzinfo=UTC)
