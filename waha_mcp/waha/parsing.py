"""Lenient parsing of WAHA's answers, in which fields may be missing or null and ids and times differ by engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

from waha_mcp.waha.errors import BadAnswer
from waha_mcp.whatsapp.ids import normalize_chat_id

T = TypeVar("T")

ChatKind = Literal["person", "group", "channel", "status", "broadcast"]


def epoch(value: Any) -> float | None:
    """Unix seconds from seconds or milliseconds, as number, text or Long (`{low, high, unsigned}`); None if invalid."""
    if isinstance(value, Mapping):
        low, high = value.get("low"), value.get("high", 0)
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        value = (high << 32) | (low & 0xFFFFFFFF)
    if isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if seconds > 1e11:
        seconds /= 1000
    return seconds if 0 < seconds < 1e11 else None


def iso_time(value: Any) -> str | None:
    """A time (as for `epoch`) in ISO 8601 with this machine's zone, truncated to the second; None if invalid."""
    seconds = epoch(value)
    return None if seconds is None else datetime.fromtimestamp(int(seconds)).astimezone().isoformat()


def iso_text(value: Any) -> str | None:
    """ISO 8601 text converted to this machine's zone, truncated to the second; None if invalid."""
    try:
        return datetime.fromisoformat(value).astimezone().isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError):
        return None


def listing(answer: Any, what: str) -> list[Mapping[str, Any]]:
    """The objects of an answer that is a list, or (some engines) an object keyed by chat id.

    Raises:
        BadAnswer: anything else, also an empty body, which does not mean an empty list.
    """
    rows = list_of(answer, what)
    if not all(isinstance(item, Mapping) for item in rows):
        raise _not_as_expected(f"a list of {what}")
    return rows


def list_of(answer: Any, what: str) -> list[Any]:
    """The items of a list answer, of any type; otherwise as `listing`."""
    # Only groups are keyed by id, so only for groups an empty object means an empty list.
    if isinstance(answer, Mapping) and all(map(normalize_chat_id, answer)) and (answer or what == "groups"):
        return list(answer.values())
    if not isinstance(answer, list):
        raise _not_as_expected(f"a list of {what}")
    return answer


def object_of(answer: Any, what: str, *fields: str) -> Mapping[str, Any]:
    """The object in an answer; empty for None, which is how WAHA says that there is none.

    Raises:
        BadAnswer: another type, or a non-empty object with none of `fields`.
    """
    if answer is not None and not isinstance(answer, Mapping):
        raise _not_as_expected(what)
    if answer and fields and not any(field in answer for field in fields):
        raise _not_as_expected(what)
    return answer or {}


def one_of(answer: Any, what: str, read: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    """Parse an answer that is one object with `read`; None if WAHA says that there is none. `what`: for errors.

    Raises:
        BadAnswer: not an object, or `read` returns None for it.
    """
    raw = object_of(answer, what)
    found = read(raw)
    if found is None and raw:
        raise _not_as_expected(what)
    return found


def all_of(answer: Any, what: str, read: Callable[[Mapping[str, Any]], T | None]) -> list[T]:
    """Parse each object of a list answer with `read`; those for which it returns None are left out.

    Raises:
        BadAnswer: not a list, or `read` returns None for all of its objects.
    """
    rows = listing(answer, what)
    found = [each for row in rows if (each := read(row)) is not None]
    if rows and not found:
        raise _not_as_expected(f"a list of {what}")
    return found


def _not_as_expected(what: str) -> BadAnswer:
    return BadAnswer(f"WAHA's answer is not {what}: its version may be too new or too old for this tool.")


def chat_id_of(value: Any) -> str | None:
    """Normalize a chat id from text or an object with `_serialized` or `user` and `server`; None if invalid."""
    if isinstance(value, Mapping):
        value = value.get("_serialized") or f"{value.get('user')}@{value.get('server')}"
    return normalize_chat_id(value) if isinstance(value, str) else None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def first_of(raw: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these fields that is neither missing, null nor ""."""
    return next((raw[name] for name in names if raw.get(name) not in (None, "")), None)


def text_of(value: Any) -> str | None:
    """The value if it is non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def texts_of(value: Any) -> list[str]:
    """The texts in a list; empty for another type."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def count_of(value: Any) -> int | None:
    """The value if it is an integer of 0 or more, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def kind_of_chat(chat_id: str) -> ChatKind:
    server = chat_id.rpartition("@")[2]
    if chat_id == "status@broadcast":
        return "status"
    kinds: dict[str, ChatKind] = {"g.us": "group", "newsletter": "channel", "broadcast": "broadcast"}
    return kinds.get(server, "person")
