"""What the recipient of a message can tap: the buttons of buttons, template and interactive messages, rows of lists.

The engines spell the same things differently (Baileys `buttonId`, Go `buttonID`, `HydratedButton.QuickReplyButton`,
WhatsApp Web `dynamicReplyButtons`, native flow buttons as JSON in `buttonParamsJson`), so field names are compared
without case, and each button is recognised by its fields, wherever it is in the message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from waha_mcp.waha.errors import Refused
from waha_mcp.waha.parsing import first_of, mapping_of, text_of
from waha_mcp.whatsapp.untrusted import clean_name

ChoiceKind = Literal["reply", "row", "link", "call", "copy", "other"]


class Choice(NamedTuple):
    """One button or row.

    `kind`: "reply" and "row" answer the message, "link" opens `value` (a URL), "call" dials `value` (a number), "copy"
    copies `value`, "other" is handled by WhatsApp itself (a form, a payment). `id` comes back with an answer. `section`
    is the title of the list's part or of the carousel's card.
    """

    label: str
    kind: ChoiceKind
    id: str | None = None
    description: str | None = None
    section: str | None = None
    value: str | None = None


#: Fields of `_data` that hold buttons or rows: NOWEB's and GOWS's message, then those of WhatsApp Web's flat object.
_FIELDS = (
    "message",
    "Message",
    "dynamicReplyButtons",
    "hydratedButtons",
    "list",
    "interactivePayload",
    "carouselCardsParsed",
)
#: Parts about another message, lower case.
_OTHERS = frozenset({"contextinfo", "quotedmessage", "quotedmsg", "messagecontextinfo"})
_TEMPLATE_BUTTONS: dict[str, tuple[ChoiceKind, str]] = {
    "quickreplybutton": ("reply", ""),
    "urlbutton": ("link", "url"),
    "callbutton": ("call", "phonenumber"),
}
_NATIVE_BUTTONS: dict[str, tuple[ChoiceKind, str]] = {
    "quick_reply": ("reply", ""),
    "cta_url": ("link", "url"),
    "cta_call": ("call", "phone_number"),
    "cta_copy": ("copy", "copy_code"),
}
_MAX_DEPTH = 16
_MAX_JSON = 200_000


def choices_of(raw: Mapping[str, Any]) -> list[Choice]:
    """The choices of a WAMessage of any engine, in order and without duplicates; empty if it has none."""
    data = mapping_of(raw.get("_data"))
    parts = {name: data[name] for name in _FIELDS if name in data}
    return list(dict.fromkeys(_found(parts, None, _MAX_DEPTH)))


#: Kinds that answer the message, and what the other kinds do.
_ANSWERS = ("reply", "row")
_DOES = {"link": "opens a link", "call": "dials a number", "copy": "copies a code", "other": "opens a page of WhatsApp"}
_MOST_NAMED = 30


def chosen(choices: Sequence[Choice], label: str) -> Choice:
    """The choice of a message with this label, compared without case, blanks and invisible characters.

    `label` may also be "section: label", where two sections have the same label.

    Raises:
        Refused: no choice or several have the label, or the choice does not answer the message; lists the labels.
    """
    if not choices:
        raise Refused("That message has no buttons and no list that can be read here. Nothing was sent.")
    wanted = _folded(label)
    found = [each for each in choices if wanted in (_folded(each.label), _folded(_in_section(each)))]
    answering = [each for each in found if each.kind in _ANSWERS]
    if len({each.id or each.label for each in answering}) == 1:
        return answering[0]
    if found and not answering:
        raise Refused(
            f"'{clean_name(found[0].label)}' {_DOES[found[0].kind]}, which only a person can do, on the phone. "
            f"Nothing was sent.{_named(choices)}"
        )
    what = (
        "Several of this message's choices have that label" if found else "This message has no choice with that label"
    )
    raise Refused(f"{what}. Nothing was sent.{_named(choices)}")


def _named(choices: Sequence[Choice]) -> str:
    """A sentence with the labels that answer a message, each with its section where another has the same label."""
    labels = [_folded(each.label) for each in choices if each.kind in _ANSWERS]
    names = [
        clean_name(_in_section(each) if labels.count(_folded(each.label)) > 1 else each.label)
        for each in choices
        if each.kind in _ANSWERS
    ]
    if not names:
        return " None of its buttons answers it."
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f" It has, as others wrote them: {', '.join(map(repr, names[:_MOST_NAMED]))}{more}."


def _in_section(choice: Choice) -> str:
    return f"{choice.section}: {choice.label}" if choice.section else choice.label


def _folded(label: str) -> str:
    return clean_name(label).casefold()


def _found(part: Any, section: str | None, depth: int) -> Iterator[Choice]:
    if not depth:
        return
    if isinstance(part, list):
        for each in part:
            yield from _found(each, section, depth - 1)
    if not isinstance(part, dict):
        return
    fields = {name.lower(): value for name, value in part.items() if isinstance(name, str)}
    here = _choice(fields, section)
    if here is not None:
        yield here
        return
    if rows := fields.get("rows"):
        title = text_of(fields.get("title"))
        for row in rows if isinstance(rows, list) else ():
            yield from _row(mapping_of(row), title)
        return
    if "buttonparamsjson" in fields:
        # A list of choices behind one button: its rows are in the JSON.
        yield from _found(_json(fields["buttonparamsjson"]).get("sections"), section, depth - 1)
        return
    for name, value in fields.items():
        if name in ("cards", "carouselcardsparsed") and isinstance(value, list):
            for card in value:
                yield from _found(card, _title_of(mapping_of(card)), depth - 1)
        elif name not in _OTHERS:
            yield from _found(value, section, depth - 1)


def _choice(fields: Mapping[str, Any], section: str | None) -> Choice | None:
    """The button in an object with these (lower case) fields; None if it is not a button."""
    if "buttontext" in fields and "buttonid" in fields:
        text = fields["buttontext"]
        label = text_of(_lower(text).get("displaytext")) or text_of(text)
        return (label and Choice(label, "reply", text_of(fields["buttonid"]), section=section)) or None
    for name, (kind, value) in _TEMPLATE_BUTTONS.items():
        button = _lower(fields.get(name))
        if label := text_of(button.get("displaytext")):
            return Choice(label, kind, text_of(button.get("id")), section=section, value=text_of(button.get(value)))
    if "buttonparamsjson" in fields:
        return _native(text_of(fields.get("name")) or "", _json(fields["buttonparamsjson"]), section)
    return None


def _native(name: str, params: Mapping[str, Any], section: str | None) -> Choice | None:
    label = text_of(first_of(params, "display_text", "flow_cta"))
    if label is None or isinstance(params.get("sections"), list):
        return None
    kind, value = _NATIVE_BUTTONS.get(name, ("other", ""))
    return Choice(label, kind, text_of(params.get("id")), section=section, value=text_of(params.get(value)))


def _row(row: Mapping[str, Any], section: str | None) -> Iterator[Choice]:
    fields = _lower(row)
    label = text_of(fields.get("title"))
    if label is not None:
        row_id = text_of(first_of(fields, "rowid", "id"))
        yield Choice(label, "row", row_id, text_of(fields.get("description")), section)


def _title_of(card: Mapping[str, Any]) -> str | None:
    """The title of a carousel's card, else its text."""
    header = mapping_of(card.get("header") or card.get("interactiveHeader"))
    body = mapping_of(card.get("body"))
    return text_of(header.get("title")) or text_of(card.get("caption")) or text_of(body.get("text"))


def _lower(value: Any) -> dict[str, Any]:
    return {name.lower(): each for name, each in mapping_of(value).items() if isinstance(name, str)}


def _json(text: Any) -> Mapping[str, Any]:
    if not isinstance(text, str) or len(text) > _MAX_JSON:
        return {}
    try:
        return mapping_of(json.loads(text))
    except (ValueError, RecursionError):
        return {}
