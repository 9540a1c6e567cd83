"""Lenient parsing of WAHA's answers, whose fields may be missing or null and whose ids and times differ by engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from waha_mcp.waha.errors import BadAnswer
from waha_mcp.whatsapp.ids import normalize_chat_id

T = TypeVar("T")

ChatKind = Literal["person", "group", "channel", "status", "broadcast"]


def epoch(value: Any) -> float | None:
    """Unix seconds from seconds or milliseconds as number, text or Long (`{low, high, unsigned}`), or from ISO 8601.

    None if invalid, and for the values that engines write for no time: 0, and Go's zero time (year 1).
    """
    value = _long(value)
    if isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except (TypeError, OverflowError):
        return None
    except ValueError:
        return _moment(value)
    if seconds > 1e11:
        seconds /= 1000
    return seconds if 0 < seconds < 1e11 else None


def _long(value: Any) -> Any:
    """The number of a Long (`{low, high, unsigned}`), None if it is damaged; anything else unchanged."""
    if not isinstance(value, dict):
        return value
    low, high = value.get("low"), value.get("high", 0)
    return (high << 32) | (low & 0xFFFFFFFF) if isinstance(low, int) and isinstance(high, int) else None


def _moment(value: Any) -> float | None:
    try:
        seconds = datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def iso_time(value: Any) -> str | None:
    """A WAHA timestamp (see `epoch`) as ISO 8601 in this machine's time zone, to the second; None if invalid."""
    seconds = epoch(value)
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).astimezone().isoformat()


def listing(answer: Any, what: str) -> list[Mapping[str, Any]]:
    """The objects of a list answer, or the values of an object keyed by chat id (some engines).

    Raises:
        BadAnswer: anything else. None (an empty body) is refused too: it does not say that the list is empty.
    """
    rows = list_of(answer, what)
    if not all(isinstance(item, dict) for item in rows):
        raise _not_as_expected(f"a list of {what}")
    return rows


def list_of(answer: Any, what: str) -> list[Any]:
    """Like `listing`, for items of any type."""
    # Only groups are keyed by id, so only for groups an empty object means an empty list.
    if isinstance(answer, dict) and all(map(normalize_chat_id, answer)) and (answer or what == "groups"):
        return list(answer.values())
    if not isinstance(answer, list):
        raise _not_as_expected(f"a list of {what}")
    return answer


def object_of(answer: Any, what: str, *fields: str) -> Mapping[str, Any]:
    """An object answer. An empty body is WAHA's `null` for "none": the result is then empty.

    Raises:
        BadAnswer: anything else, or a non-empty object with none of `fields`.
    """
    if answer is not None and not isinstance(answer, dict):
        raise _not_as_expected(what)
    if answer and fields and not any(field in answer for field in fields):
        raise _not_as_expected(what)
    return answer or {}


def one_of(answer: Any, what: str, read: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    """Parse an object answer with `read`; None if WAHA reports none (null, or WPP's `false`).

    `what` names it in errors.

    Raises:
        BadAnswer: not an object, or `read` returned None for a non-empty one.
    """
    raw = object_of(None if answer is False else answer, what)
    found = read(raw)
    if found is None and raw:
        raise _not_as_expected(what)
    return found


def all_of(answer: Any, what: str, read: Callable[[Mapping[str, Any]], T | None]) -> list[T]:
    """Parse each object of a list answer with `read`, skipping those for which it returns None.

    Raises:
        BadAnswer: not a list, or `read` returned None for all of its objects.
    """
    rows = listing(answer, what)
    found = [each for row in rows if (each := read(row)) is not None]
    if rows and not found:
        raise _not_as_expected(f"a list of {what}")
    return found


def _not_as_expected(what: str) -> BadAnswer:
    return BadAnswer(f"WAHA's answer is not {what}: its version may be too new or too old for this tool.")


def listing_or_empty(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list; empty if the value is not a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def chat_id_of(value: Any) -> str | None:
    """Normalize a chat id given as text or as an object with `_serialized`, or `user` and `server`; None if invalid."""
    if isinstance(value, dict):
        value = value.get("_serialized") or f"{value.get('user')}@{value.get('server')}"
    return normalize_chat_id(value) if isinstance(value, str) else None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def first_of(raw: Mapping[str, Any], *names: str) -> Any:
    """The value of the first named field that is neither missing, null nor ""; None if there is none."""
    for name in names:
        if (value := raw.get(name)) is not None and value != "":
            return value
    return None


def text_of(value: Any) -> str | None:
    """The value if it is a non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def texts_of(value: Any) -> list[str]:
    """The texts in a list; empty if the value is not a list."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def count_of(value: Any) -> int | None:
    """The value if it is an integer of at least 0, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


#: The largest integer that every JSON parser keeps exact.
_MOST_COUNT = 2**53


def number_of(value: Any) -> int | None:
    """A count given as a number, digits or a Long (`{low, high, unsigned}`); None for anything else."""
    value = _long(value)
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:15])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    count = count_of(value)
    return count if count is not None and count <= _MOST_COUNT else None


def kind_of_chat(chat_id: str) -> ChatKind:
    server = chat_id.rpartition("@")[2]
    if chat_id == "status@broadcast":
        return "status"
    kinds: dict[str, ChatKind] = {"g.us": "group", "newsletter": "channel", "broadcast": "broadcast"}
    return kinds.get(server, "person")
