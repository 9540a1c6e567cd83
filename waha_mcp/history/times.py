"""Times as people and models write them: days, clocks and ages."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal

_UNITS = {"m": "minute", "min": "minute", "h": "hour", "d": "day", "w": "week", "minute": "minute", "hour": "hour"}
_UNITS |= {"day": "day", "week": "week", "month": "month", "year": "year"}
_AGE = re.compile(rf"(\d{{1,5}}|an?) ?({'|'.join(sorted(_UNITS, key=len, reverse=True))})s?(?: ago)?")
_WEEKDAYS = tuple(name.lower() for name in calendar.day_name)
_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1}
_CLOCK = re.compile(r"(.*?)(?:^|[ ,t])(?: ?at )?(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?")
#: Unix seconds or milliseconds, as WAHA gives times.
_UNIX = re.compile(r"\d{9,13}(?:\.\d+)?")

Use = Literal["since", "until", "at"]
_FORMS = "a date, a time, today, yesterday, monday, or how long ago, such as 30m, 12h, 7d, 2 weeks ago"
FIXED = "date and time, such as 2026-11-30 19:00 or tomorrow 19:00"


def moment(value: Any, zone: tzinfo | None, use: Use = "since") -> Any:
    """The time that a text means; other values, and Unix times, unchanged. Without a zone in it, it is in `zone`.

    A day means its beginning as `since`, and its last second as `until`. `at`, of an appointment, takes no day without
    a time, and nothing that would mean another time at each call. `zone` None: the machine's.

    Raises:
        ValueError: the text is not understood; the error says which texts are.
    """
    if not isinstance(value, str) or _UNIX.fullmatch(value.strip()):
        return value
    text = " ".join(value.lower().split())
    now = datetime.now().astimezone(zone)
    try:
        if use != "at" and text == "now":
            return now
        if use != "at" and (age := _AGE.fullmatch(text)):
            return _before(now, 1 if age[1].startswith("a") else int(age[1]), _UNITS[age[2]], zone)
        clock = time(23, 59, 59) if use == "until" else None if use == "at" else time()
        if parts := _CLOCK.fullmatch(text):
            clock = time(int(parts[2]), int(parts[3]), int(parts[4] or 0))
            text = parts[1] or "today"
        if (day := _day(text, now.date(), weekdays=use != "at")) is not None and clock is not None:
            return _in(zone, datetime.combine(day, clock))
        if day is None and (found := datetime.fromisoformat(value.strip().upper())):
            return found if found.tzinfo else _in(zone, found)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"must be {FIXED if use == 'at' else _FORMS}")


def _day(text: str, today: date, *, weekdays: bool) -> date | None:
    """The day that a text names; None if it names none. A weekday is the last one before today."""
    if text in _DAYS:
        return today + timedelta(days=_DAYS[text])
    weekday = text.removeprefix("last ")
    if weekdays and weekday in _WEEKDAYS:
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(weekday) - 1) % 7 + 1)
    try:
        return date.fromisoformat(text.upper())
    except ValueError:
        return None


def _before(now: datetime, count: int, unit: str, zone: tzinfo | None) -> datetime:
    if unit in ("month", "year"):
        months = now.year * 12 + now.month - 1 - count * (12 if unit == "year" else 1)
        year, month = divmod(months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        return _in(zone, now.replace(year=year, month=month + 1, day=min(now.day, last), tzinfo=None))
    return (now.astimezone(UTC) - timedelta(**{f"{unit}s": count})).astimezone(zone)


def _in(zone: tzinfo | None, local: datetime) -> datetime:
    if zone is not None:
        return local.replace(tzinfo=zone)
    try:
        return local.astimezone()
    except OSError:  # Windows knows no zone of its own before 1970
        return local.replace(tzinfo=UTC)
