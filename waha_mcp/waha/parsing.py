"""Reading WAHA's answers leniently: fields are missing or null, ids and times come in several forms, by engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

from waha_mcp.waha.errors import BadAnswer
from waha_mcp.whatsapp.ids import normalize_chat_id

T = TypeVar("T")

ChatKind = Literal["person", "group", "channel", "status", "broadcast"]


def epoch(value: Any) -> float | None:
    """Seconds since 1970 from a number, text, a Long (`{low, high, unsigned}`) or milliseconds."""
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
    """A WAHA time in ISO 8601 with this machine's zone, to the second."""
    seconds = epoch(value)
    return None if seconds is None else datetime.fromtimestamp(int(seconds)).astimezone().isoformat()


def iso_text(value: Any) -> str | None:
    """A time that is text already, in ISO 8601 with this machine's zone."""
    try:
        return datetime.fromisoformat(value).astimezone().isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError):
        return None


def listing(answer: Any, what: str) -> list[Mapping[str, Any]]:
    """The objects of a list answer, which some engines key by chat id.

    Raises:
        BadAnswer: anything else. An answer without a body is none either: it does not say that there are none.
    """
    rows = list_of(answer, what)
    if not all(isinstance(item, Mapping) for item in rows):
        raise _not_as_expected(f"a list of {what}")
    return rows


def list_of(answer: Any, what: str) -> list[Any]:
    """The items of a list answer, as `listing`, whatever they are."""
    # Only groups are keyed by id, so only of groups an empty object says that there are none.
    if isinstance(answer, Mapping) and all(map(normalize_chat_id, answer)) and (answer or what == "groups"):
        return list(answer.values())
    if not isinstance(answer, list):
        raise _not_as_expected(f"a list of {what}")
    return answer


def object_of(answer: Any, what: str, *fields: str) -> Mapping[str, Any]:
    """The object that an answer is. WAHA says that there is none by `null`, which has no body: then it is empty.

    Raises:
        BadAnswer: anything else, or an object with none of `fields`, which does not say that there is none.
    """
    if answer is not None and not isinstance(answer, Mapping):
        raise _not_as_expected(what)
    if answer and fields and not any(field in answer for field in fields):
        raise _not_as_expected(what)
    return answer or {}


def one_of(answer: Any, what: str, read: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    """What `read` makes of an object that is `what`; None where WAHA says that there is none.

    Raises:
        BadAnswer: `read` makes nothing of it, which does not say that there is none.
    """
    raw = object_of(answer, what)
    found = read(raw)
    if found is None and raw:
        raise _not_as_expected(what)
    return found


def all_of(answer: Any, what: str, read: Callable[[Mapping[str, Any]], T | None]) -> list[T]:
    """What `read` makes of each object of a list answer.

    Raises:
        BadAnswer: no list, or `read` makes nothing of any of its objects.
    """
    rows = listing(answer, what)
    found = [each for row in rows if (each := read(row)) is not None]
    if rows and not found:
        raise _not_as_expected(f"a list of {what}")
    return found


def _not_as_expected(what: str) -> BadAnswer:
    return BadAnswer(f"WAHA's answer is not {what}: its version may be too new or too old for this tool.")


def chat_id_of(value: Any) -> str | None:
    """A chat id out of raw data, where it may be text or an object with `_serialized` or `user` and `server`."""
    if isinstance(value, Mapping):
        value = value.get("_serialized") or f"{value.get('user')}@{value.get('server')}"
    return normalize_chat_id(value) if isinstance(value, str) else None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """The object, or an empty one where something else stands."""
    return value if isinstance(value, Mapping) else {}


def first_of(raw: Mapping[str, Any], *names: str) -> Any:
    """The first field that holds something."""
    return next((raw[name] for name in names if raw.get(name) not in (None, "")), None)


def text_of(value: Any) -> str | None:
    """The text, or None where there is none or something else stands."""
    return value if isinstance(value, str) and value else None


def texts_of(value: Any) -> list[str]:
    """The texts of a list; none where something else stands."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def count_of(value: Any) -> int | None:
    """A number of things, or None where something else stands."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def kind_of_chat(chat_id: str) -> ChatKind:
    server = chat_id.rpartition("@")[2]
    if chat_id == "status@broadcast":
        return "status"
    kinds: dict[str, ChatKind] = {"g.us": "group", "newsletter": "channel", "broadcast": "broadcast"}
    return kinds.get(server, "person")
