"""What the recipient of a call would see: two calls that look alike to them count as the same.

The repeat guard uses this, and so do refusals by a person.

Not compared: invisible characters, blanks at the ends of lines, values that are empty or the default, options that
change nothing, the preview of a link. A local file, or bytes in base64, are compared by content; a file by URL, by its
URL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from waha_mcp.policy.call import Call, as_list
from waha_mcp.policy.question import digest_of
from waha_mcp.tools.params import Unseen
from waha_mcp.whatsapp.ids import bare_id
from waha_mcp.whatsapp.untrusted import clean_text

#: Decimal places of a coordinate that are compared: about a metre.
_PLACES = 5
_EMPTY: tuple[Any, ...] = ("", [], {}, None)
_STYLES = re.compile("[\ufe0e\ufe0f]")


def seen_digest(call: Call) -> str:
    """SHA-256 in hex of what the recipients of a call would see, its tool and its WAHA session.

    `call.files` and `call.named_messages` must be set.
    """
    waha = call.context.waha
    return digest_of(waha.url, waha.session, call.tool.looks_like or call.tool.name, _seen(call))


def _seen(call: Call) -> dict[str, Any]:
    tool, fields = call.tool, call.tool.arguments.model_fields
    files = {file.argument for file in call.files}
    seen: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if name in tool.unseen or name in files or value == fields[name].default:
            continue
        if name in tool.references:
            # The order of a list means nothing; the account itself is in its groups and sees its stories anyway.
            named = set(as_list(value))
            seen[name] = sorted(named - call.context.directory.me or named)
        elif name in tool.messages:
            seen[name] = sorted({bare_id(each) for each in as_list(value)})
        elif name in tool.fetched:
            seen[name] = value.partition("#")[0]
        else:
            seen[name] = _visible(value)
    seen["content"] = [file.sha256 for file in call.files]
    seen |= _visible(call.quoted_texts())
    return {name: value for name, value in seen.items() if value not in _EMPTY}


def _visible(value: Any) -> Any:
    """A value as a recipient sees it, JSON-ready; without empty parts."""
    match value:
        case Enum():
            return _visible(value.value)
        case str():
            return _text(value)
        case float():
            # Floats are coordinates: 0 has two spellings, and so has the 180th meridian.
            return abs(rounded) if (rounded := round(value, _PLACES)) in (0, -180) else rounded
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="minutes")
        case BaseModel():
            fields = type(value).model_fields.items()
            return _visible({name: getattr(value, name) for name, field in fields if not _unseen(field)})
        case Mapping():
            parts = {str(key): _visible(each) for key, each in value.items()}
            return {key: each for key, each in parts.items() if each not in _EMPTY}
        case Sequence():
            return [each for each in map(_visible, value) if each not in _EMPTY]
    return value


def _unseen(field: FieldInfo) -> bool:
    """Whether a field of a nested model is marked as `Unseen`, also within an optional type."""
    marks = [*field.metadata, *(mark for each in get_args(field.annotation) for mark in get_args(each))]
    return any(isinstance(mark, Unseen) for mark in marks)


def _text(text: str) -> str:
    shown = _STYLES.sub("", unicodedata.normalize("NFC", clean_text(text, len(text) + 1)))
    return "\n".join(" ".join(line.split()) for line in shown.split("\n")).strip()
