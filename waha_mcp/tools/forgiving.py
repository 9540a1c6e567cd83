"""Normalizes arguments to what they mean, since hosts and models send them in forms that schemas do not allow.

It runs before everything else: its result is what is checked, shown to a person, written to the trail and compared
by the repeat guard. It never makes an effect reach more than its arguments say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from waha_mcp.steps import nearest
from waha_mcp.tools.params import Clears, Narrows, mark_in

#: Properties that hosts add to every tool and pass on. Each by name, as observed:
#: Gemini CLI 0.61 sends wait_for_previous.
HOST_MADE = frozenset({"wait_for_previous"})

_EMPTY: tuple[Any, ...] = (None, "", [], {})


def normalized(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a tool as its model takes them.

    Dropped are properties of `HOST_MADE` that the model does not have, and optional ones that are null or blank. One
    value where a list is wanted becomes a list, and JSON text becomes the list or object that it stands for.
    """
    known = model.model_fields
    return _object(model, {name: value for name, value in given.items() if name in known or name not in HOST_MADE})


def _object(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    cleared: list[str] = []
    said = False
    for name, value in given.items():
        field = model.model_fields.get(name)
        blank = value is None or (isinstance(value, str) and not value.strip())
        if field is None or (blank and field.is_required()):
            kept[name] = value
        elif not blank:
            kept[name] = _value(field.annotation, value)
            said = said or not (field.is_required() or value == field.default or value in _EMPTY)
        elif value is not None and _marked(field, Narrows):
            kept[name] = value
        elif value is not None and _marked(field, Clears):
            cleared.append(name)
    # A host that must send every property sends "" for those that are left out.
    return kept if said else kept | dict.fromkeys(cleared, "")


def _value(annotation: Any, value: Any) -> Any:
    wanted = plain(annotation)
    if get_origin(wanted) is list:
        (of,) = get_args(wanted)
        return [_value(of, each) for each in _listed(of, value)]
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        found = _json(value, dict)
        return _object(wanted, found) if isinstance(found, dict) else value
    if get_origin(wanted) is dict:
        return _json(value, dict)
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _listed(of: Any, value: Any) -> list[Any]:
    """The items of a list that may be given as JSON text, or as its only item."""
    found = _json(value, list)
    texts = isinstance(found, list) and all(isinstance(each, str) for each in found)
    # A text may look like JSON and be meant as it stands; a list of nothing but texts is no text that anybody writes.
    if isinstance(value, list) or (isinstance(found, list) and (texts or plain(of) is not str)):
        return list(found)
    return [value]


def _json(value: Any, kind: type) -> Any:
    """The list or object that a text stands for; any other value unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in "[{":
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return found if isinstance(found, kind) else value
    return value


def plain(annotation: Any) -> Any:
    """A type without its annotations, and an optional type as the one that it may hold."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    return annotation


def description_of(field: FieldInfo) -> str | None:
    """A field's description, which an optional field has within its type."""
    inner = mark_in(field.annotation, FieldInfo)
    return field.description or (inner.description if inner else None)


def _marked(field: FieldInfo, kind: type) -> bool:
    return any(isinstance(mark, kind) for mark in field.metadata) or mark_in(field.annotation, kind) is not None


#: Names that mean one argument, for the error on an unknown one. No argument is taken under another's name.
_SYNONYMS = (
    "chat to recipient contact person phone number phone_number jid chat_id group group_id channel caller conversation",
    "people participants members contacts users recipients",
    "text caption message body content msg question about",
    "message_id id msg_id message key",
    "subject name title group_name first_name",
    "reply_to quoted quoted_message_id in_reply_to message_id",
    "emoji reaction",
    "query q search keyword keywords term text",
    "limit count max max_results n size page_size lines",
    "cursor page offset page_token next",
    "since from after start from_date start_date start_time",
    "until before end end_date end_time",
    "sender from author by",
    "kind type media_type",
    "data base64 bytes content",
    "path file file_path filename",
    "url link uri media_url",
    "options choices answers",
    "mentions mention",
    "invite code link url invite_link",
    "allow_repeat force",
    "detail verbose full",
)
_GROUPS = tuple(tuple(line.split()) for line in _SYNONYMS)


def meant(name: str, known: Iterable[str]) -> str | None:
    """The argument that an unknown property most likely means; None: no guess."""
    known = list(known)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:80]).lower().replace("-", "_")
    groups = [group for group in _GROUPS if snake in group]
    synonyms = (each for group in groups for each in group if each in known)
    return next(synonyms, None) or nearest(snake, known, 0.7)
