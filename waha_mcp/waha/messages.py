"""The result model of a message, and its parsing from a WAMessage of any engine, with names resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, FiniteFloat

from waha_mcp.waha.choices import choices_of
from waha_mcp.waha.content import (
    Content,
    Quote,
    content_of,
    counts_of,
    forwarded,
    group_mentions,
    invite_code_of,
    invited_channel,
    is_view_once,
    mentioned,
    options_of,
    origin_of,
    preview_of,
    push_name_of,
    quoted_of,
    reactions_of,
    sender_ids,
    votes_of,
)
from waha_mcp.waha.errors import Refused
from waha_mcp.waha.events import RECEIPTS
from waha_mcp.waha.marks import Author, LongId, Time, Usual
from waha_mcp.waha.message_kinds import MEDIA_KINDS, MessageKind
from waha_mcp.waha.message_notes import UNKNOWN
from waha_mcp.waha.message_text import is_picture, joined
from waha_mcp.waha.models import Nested, message_id_of
from waha_mcp.waha.parsing import first_of, iso_time, kind_of_chat, mapping_of, number_of, text_of, texts_of
from waha_mcp.waha.vcards import cards_in, is_card
from waha_mcp.whatsapp.ids import NOT_KNOWN, MessageKey, parse_message_id
from waha_mcp.whatsapp.untrusted import Name, Words


class Names(Protocol):
    """Lookup of persons and chats by chat id."""

    @property
    def me(self) -> frozenset[str]:
        """The account's own chat ids."""

    def canonical(self, chat_id: str) -> str:
        """The preferred chat id of the person: the phone number's instead of the hidden one, if known."""

    def name(self, chat_id: str) -> str | None:
        """The name shown for a chat id; None if unknown."""

    def shows(self, chat_id: str) -> bool:
        """Whether the content of a chat may be shown; for `NOT_KNOWN`: whether that of any chat may."""


class _Nobody:
    """A `Names` that knows nobody."""

    me: frozenset[str] = frozenset()

    def canonical(self, chat_id: str) -> str:
        return chat_id

    def name(self, chat_id: str) -> str | None:
        return None

    def shows(self, chat_id: str) -> bool:
        return True


NOBODY: Names = _Nobody()


class Media(Nested):
    mimetype: Name | None = None
    filename: Name | None = None
    size: int | None = Field(default=None, description="Bytes")
    seconds: int | None = None


class Quoted(Nested):
    id: LongId | None = None
    sender: str | None = None
    sender_name: Name | None = None
    text: Words | None = None
    of: Literal["status", "another chat"] | None = Field(None, description="Where it is, if not in this chat")


class Reaction(Nested):
    emoji: Name
    count: Annotated[int, Usual(1)]
    by: list[Name] | None = None


class Option(Nested):
    text: Name
    votes: int | None = Field(None, description="Left out where the engine does not say")
    voters: list[Name] | None = None


class Poll(Nested):
    options: list[Option]
    several: bool | None = Field(None, description="Whether one may choose several")


class Location(Nested):
    latitude: FiniteFloat
    longitude: FiniteFloat
    name: Name | None = None
    map: str
    live: bool | None = None


class Card(Nested):
    name: Name | None = None
    phone: Name | None = None
    others: list[Name] | None = Field(default=None, description="Further numbers")
    email: Name | None = None
    organization: Name | None = None


class Choice(Nested):
    """A tappable choice: a button, or a row of a list."""

    label: Name = Field(description="For reply_to_buttons, where it leads nowhere")
    about: Name | None = None
    leads_to: Name | None = Field(None, description="The link, number or code of a button that answers nothing")


class Event(Nested):
    starts: Time | None = None
    ends: Time | None = None
    place: Name | None = None
    about: Words | None = None
    link: Name | None = Field(None, description="To a call")
    cancelled: bool | None = None


class Message(Nested):
    """One message. Fields and flags that do not apply are None and omitted."""

    id: LongId = Field(description="For reply_to, react and get_media")
    time: Time | None = None
    sender: Annotated[str, Author()] = Field(description="Chat id of who wrote it; 'me' is the session's owner")
    sender_name: Name | None = None
    calls_themselves: Name | None = Field(
        default=None, description="In a chat with a person whose name is not known: the name that they chose"
    )
    kind: Annotated[MessageKind, Usual("text")] = "text"
    text: Words | None = None
    note: str | None = Field(None, description="What there is instead of a text, in our words")
    about: list[Name] | None = Field(default=None, description="The people of whom the note tells")
    media: Media | None = None
    reply_to: Quoted | None = None
    reactions: list[Reaction] | None = None
    poll: Poll | None = None
    event: Event | None = None
    location: Location | None = None
    contacts: list[Card] | None = None
    choices: list[Choice] | None = Field(None, description="What can be tapped under it")
    invite_code: Name | None = Field(None, description="For join_group")
    invite_channel: str | None = Field(None, description="For follow_channel")
    preview: Name | None = Field(None, description="Of its link or ad, as the sender's app made it")
    edited: bool | None = None
    deleted: bool | None = None
    forwarded: bool | None = None
    forwarded_from: Name | None = Field(None, description="The channel or bot, by its own name")
    view_once: bool | None = None
    status: str | None = Field(None, description="Of an own message: sent, delivered, read ...")


class Glimpse(Nested):
    """The part of a last message that a concise list of chats shows; fields as in `Message`."""

    time: Time | None = None
    sender: str
    sender_name: Name | None = None
    kind: MessageKind = "text"
    text: Words | None = None
    note: str | None = None
    deleted: bool | None = None


_STATUS = {0: "pending", **RECEIPTS}
_MIME_KINDS: dict[str, MessageKind] = {"image": "image", "video": "video", "audio": "audio"}


def sender_of(raw: Mapping[str, Any], names: Names) -> str:
    """The sender's chat id, preferably the phone number's; "me" for the owner, "unknown" if the message has none."""
    if raw.get("fromMe") is True:
        return "me"
    ids = sender_ids(raw)
    if number := next((each for each in ids if each.endswith("@c.us")), None):
        return number
    ids = [names.canonical(each) for each in ids]
    return next((each for each in ids if each.endswith("@c.us")), ids[0] if ids else "unknown")


def message_from(
    raw: Mapping[str, Any], names: Names = NOBODY, *, full: bool = True, chat: str | None = None
) -> Message | None:
    """Parse a WAMessage; None if it has no id.

    Without `full`: counts instead of the names of those who reacted or voted, no ids of quotes, and quoted texts of at
    most 100 characters. `chat` is the chat being shown: a sender with that id gets no `sender_name`,
    and where no name is known for it, `calls_themselves`.
    """
    message_id = message_id_of(raw.get("id"))
    if message_id is None:
        return None
    content = content_of(raw)
    sender = sender_of(raw, names)
    kind, text, note = _shown(raw, content, names)
    ack = raw.get("ack")
    return Message(
        id=message_id,
        time=iso_time(raw.get("timestamp")),
        sender=sender,
        sender_name=_sender_name(raw, sender, names, chat),
        calls_themselves=push_name_of(raw) if sender == chat and not names.name(sender) else None,
        kind=kind,
        text=text,
        note=note,
        about=_about(content, names),
        media=_media(raw, content),
        reply_to=_quoted(raw, content, message_id, names, full=full),
        reactions=_reactions(raw, names, full=full),
        poll=_poll(raw, content, names, full=full) if kind == "poll" else None,
        event=_event(content) if kind == "event" or _planned(content.body) else None,
        location=_location(raw, content),
        contacts=_cards(raw, content),
        choices=_choices(raw, content),
        invite_code=invite_code_of(content),
        invite_channel=channel if (channel := invited_channel(content)) and names.shows(channel) else None,
        preview=preview_of(content),
        edited=content.edited or None,
        deleted=content.deleted or None,
        forwarded=forwarded(content) or None,
        forwarded_from=_origin(content, names),
        view_once=content.view_once or None,
        status=_STATUS.get(ack) if sender == "me" and isinstance(ack, int) and not isinstance(ack, bool) else None,
    )


def glimpse_from(raw: Mapping[str, Any], names: Names, chat: str) -> Glimpse | None:
    """Like `message_from`, but only the part of the last message in `chat` that a list of chats shows."""
    if message_id_of(raw.get("id")) is None:
        return None
    content = content_of(raw)
    sender = sender_of(raw, names)
    kind, text, note = _shown(raw, content, names)
    return Glimpse(
        time=iso_time(raw.get("timestamp")),
        sender=sender,
        sender_name=_sender_name(raw, sender, names, chat),
        kind=kind,
        text=text,
        note=note,
        deleted=content.deleted or None,
    )


def _shown(raw: Mapping[str, Any], content: Content, names: Names) -> tuple[MessageKind, str | None, str | None]:
    """The kind of a message, its text with names in its mentions, and its note."""
    kind = content.kind
    if kind in (None, "other") and not content.deleted:
        kind = _kind_without_content(raw, content) or kind
    text = None if content.deleted else _full_text(raw, content, kind)
    return kind or "other", _with_names(text, content, names), _note(raw, content, kind, text)


def _sender_name(raw: Mapping[str, Any], sender: str, names: Names, chat: str | None) -> str | None:
    return None if sender in ("me", chat) else names.name(sender) or push_name_of(raw)


def refuse_view_once(raw: Any) -> None:
    """Check that a message's file may be copied. `raw`: a WAMessage, or whatever WAHA answered instead.

    Raises:
        Refused: it is a view-once message.
    """
    if is_view_once(mapping_of(raw)):
        raise Refused(
            "This is view-once media: whoever sent it meant it to be seen once, on the phone, so it is not fetched, "
            "saved, linked to, turned into text or passed on. Nothing was done. The user can open it in WhatsApp."
        )


def _kind_without_content(raw: Mapping[str, Any], content: Content) -> MessageKind | None:
    if _location(raw, content):
        return "location"
    if _cards(raw, content):
        return "contact"
    media = _media(raw, content)
    if media or raw.get("hasMedia"):
        return _MIME_KINDS.get(((media.mimetype if media else None) or "").partition("/")[0], "document")
    return "text" if _plain(raw.get("body")) else None


def _plain(body: Any) -> str | None:
    """The value if it is a text, and not a picture or contact card in its place."""
    text = text_of(body)
    return None if text is None or is_picture(text) or is_card(text) else text


def _full_text(raw: Mapping[str, Any], content: Content, kind: MessageKind | None) -> str | None:
    """The text of a message: WAHA's, if it is a text, and the words missing from it."""
    given = None if kind in ("contact", "system", "location") else _plain(raw.get("body"))
    return joined(given or content.text, list(content.words))


def _note(raw: Mapping[str, Any], content: Content, kind: MessageKind | None, text: str | None) -> str | None:
    """A remark on what a message is, or on media that cannot be fetched; None if neither applies."""
    if content.view_once:
        return "to be viewed once, which only works on the phone"
    if mapping_of(raw.get("media")).get("error"):
        return "WAHA could not get this file from WhatsApp"
    note = content.note
    if note is not None and not (note == UNKNOWN and (text or kind != "other")):
        return note.text
    if text is None and kind in ("text", None):
        return "empty: the engine gives no content for it"
    return None


def _origin(content: Content, names: Names) -> str | None:
    """The name of the channel or bot that a forwarded message comes from, unless the channel may not be shown."""
    name, channel = origin_of(content)
    return name if channel is None or names.shows(channel) else None


def _about(content: Content, names: Names) -> list[str] | None:
    people = content.note.people if content.note is not None else ()
    return list(dict.fromkeys(shown_name(each, names) for each in people)) or None


def _choices(raw: Mapping[str, Any], content: Content) -> list[Choice] | None:
    # WhatsApp Web has them on messages of any kind; its body has a type.
    if content.deleted or not (content.kind in ("buttons", "list") or isinstance(content.body.get("type"), str)):
        return None
    return [Choice(label=each.label, about=each.description, leads_to=each.value) for each in choices_of(raw)] or None


def shown_name(chat_id: str, names: Names) -> str:
    """A person's name for running text; without a name, the phone number or chat id."""
    if chat_id == "me" or chat_id in names.me:
        return "me"
    chat_id = names.canonical(chat_id)
    user, _, server = chat_id.partition("@")
    return names.name(chat_id) or (f"+{user}" if server == "c.us" else chat_id)


def _with_names(text: str | None, content: Content, names: Names) -> str | None:
    """Replace the numbers in the text's @mentions by names."""
    if text is None:
        return None
    shown = dict(group_mentions(content))
    shown |= {user: shown_name(chat_id, names) for user, chat_id in mentioned(content)}
    return _MENTION.sub(lambda at: f"@{shown.get(at[1], at[1])}", text) if shown else text


def with_known_names(text: str, names: Names) -> str:
    """A text that was made without names, with the names of the people it mentions filled in where they may be shown.

    Anybody can write text that looks like a mention, so it is replaced by a name and nothing else.
    """

    def shown(at: re.Match[str]) -> str:
        chat_id = names.canonical(at[1] if at[2] is None else f"{at[2]}@c.us")
        known = chat_id in names.me or (names.shows(chat_id) and names.name(chat_id))
        return f"@{shown_name(chat_id, names)}" if known else at[0]

    return _WITHOUT_NAME.sub(shown, text)


#: A mention in a text that was made without names (see `shown_name`).
_WITHOUT_NAME = re.compile(r"@(\+([0-9]{5,15})(?![0-9])|[0-9]+@lid\b)")
#: A mention in a text: a group by its chat id, a person by the digits of theirs.
_MENTION = re.compile(r"@([0-9]+(?:-[0-9]+)?@g\.us|[0-9]+)")


def _media(raw: Mapping[str, Any], content: Content) -> Media | None:
    given, body = mapping_of(raw.get("media")), content.body if content.kind in MEDIA_KINDS else {}
    if content.deleted or not (given or body):
        return None
    size = first_of(body, "fileLength", "FileLength", "size")
    seconds = number_of(first_of(body, "seconds", "duration"))
    return Media(
        mimetype=text_of(given.get("mimetype")) or text_of(body.get("mimetype")),
        filename=text_of(given.get("filename")) or text_of(first_of(body, "fileName", "filename")),
        size=number_of(size),
        seconds=seconds or None,
    )


def _quoted(raw: Mapping[str, Any], content: Content, message_id: str, names: Names, *, full: bool) -> Quoted | None:
    found = quoted_of(raw, content)
    if found is None or content.deleted:
        return None
    author, text = found.author, found.text
    here = _chat_of(message_id)
    mine = author is not None and (author in names.me or names.canonical(author) in names.me)
    chat = here if here is None else _chat_of_quote(found, here, names, mine=mine)
    of_status = chat is not None and kind_of_chat(chat) == "status"
    elsewhere = chat not in (here, NOT_KNOWN)
    sources = [] if chat in (None, here) else [chat]
    if of_status and not mine:
        sources.append(author or NOT_KNOWN)
    if not all(map(names.shows, sources)):
        return None
    sender = None if author is None else "me" if mine else names.canonical(author)
    return Quoted(
        id=_quoted_id(found, mine, chat if elsewhere else here) if full else None,
        sender=sender,
        sender_name=names.name(sender) if sender and sender != "me" else None,
        text=text if full or text is None or len(text) <= 100 else f"{text[:99]}…",
        of=None if not elsewhere else "status" if of_status else "another chat",
    )


def _chat_of_quote(quote: Quote, here: str, names: Names, *, mine: bool) -> str:
    """The chat of the message that one in the chat `here` replies to; `NOT_KNOWN` if it may be another chat."""
    there = names.canonical(here)
    if quote.chat is None:
        # In a chat with a person, nobody else writes.
        third = quote.author is not None and not mine and names.canonical(quote.author) != there
        return NOT_KNOWN if third and kind_of_chat(here) == "person" else here
    chat = names.canonical(quote.chat)
    if chat == there:
        return here
    persons = kind_of_chat(chat) == kind_of_chat(there) == "person"
    # A number and a hidden id may belong to the same person.
    return NOT_KNOWN if persons and _hidden(chat) != _hidden(there) else chat


def _hidden(chat: str) -> bool:
    return chat.endswith("@lid")


def _chat_of(message_id: str) -> str | None:
    try:
        return parse_message_id(message_id).chat
    except ValueError:
        return None


def _quoted_id(quote: Quote, mine: bool, chat: str | None) -> str | None:
    """Build the quoted message's full id from the bare id that engines give; the bare id if that is impossible."""
    if quote.id is None or quote.author is None or "_" in quote.id or not chat:
        return quote.id
    participant = quote.author if chat.endswith(("@g.us", "@broadcast")) else None
    return MessageKey(mine, chat, quote.id, participant).text


def _people(ids: list[str], names: Names) -> list[str]:
    return [shown_name(each, names) for each in ids]


def _reactions(raw: Mapping[str, Any], names: Names, *, full: bool) -> list[Reaction] | None:
    return [
        Reaction(emoji=emoji, count=len(who), by=_people(who, names) if full else None)
        for emoji, who in reactions_of(raw).items()
    ] or None


def _poll(raw: Mapping[str, Any], content: Content, names: Names, *, full: bool) -> Poll | None:
    options = options_of(content.body)
    votes, counts = votes_of(raw, options), counts_of(content.body)
    choices = first_of(content.body, "selectableOptionsCount", "pollSelectableOptionsCount")

    def option(text: str) -> Option:
        who = votes.get(text)
        count = counts.get(text, None if who is None else len(who))
        return Option(text=text, votes=count, voters=(_people(who or [], names) or None) if full else None)

    return Poll(
        options=[option(each) for each in options],
        several=None if counts else choices != 1 or None,
    )


def _planned(body: Mapping[str, Any]) -> Any:
    """When a call is planned for."""
    return first_of(body, "scheduledTimestampMs", "scheduledTimestampMS")


def _event(content: Content) -> Event | None:
    body = content.body
    place = mapping_of(first_of(body, "location", "eventLocation"))
    return Event(
        starts=iso_time(first_of(body, "startTime", "eventStartTime") or _planned(body)),
        ends=iso_time(first_of(body, "endTime", "eventEndTime")),
        about=text_of(first_of(body, "description", "eventDescription", "caption")),
        link=text_of(first_of(body, "joinLink", "eventJoinLink")),
        place=text_of(first_of(place, "name", "address", "degreesName")),
        cancelled=True if first_of(body, "isCanceled", "isEventCanceled") is True else None,
    )


def _location(raw: Mapping[str, Any], content: Content) -> Location | None:
    given = mapping_of(raw.get("location"))
    if content.deleted or not (given or content.kind == "location"):
        return None
    place = {**content.body, **{name: value for name, value in given.items() if value is not None}}
    # WhatsApp Web keeps the start of a live location beside its end.
    ended = place.get("finalLat") is not None and place.get("finalLng") is not None
    try:
        latitude = float(first_of(place, *["finalLat"] * ended, "latitude", "degreesLatitude", "lat"))
        longitude = float(first_of(place, *["finalLng"] * ended, "longitude", "degreesLongitude", "lng"))
    except (TypeError, ValueError, OverflowError):
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    # WEBJS repeats name and address, in two lines, as `description` and `loc`.
    words = (text_of(place.get(key)) or "" for key in ("name", "address", "description", "loc"))
    lines = (line.strip() for each in words if each != content.text for line in each.splitlines())
    name = ", ".join(dict.fromkeys(filter(None, lines)))
    return Location(
        latitude=latitude,
        longitude=longitude,
        name=name or None,
        map=f"https://maps.google.com/?q={latitude:.6f},{longitude:.6f}",
        live=True if not ended and True in (place.get("live"), place.get("isLive")) else None,
    )


def _cards(raw: Mapping[str, Any], content: Content) -> list[Card] | None:
    given = [each for each in texts_of(raw.get("vCards")) if is_card(each)]
    if content.deleted or not (content.kind == "contact" or (given and content.kind in (None, "other"))):
        return None
    inner = first_of(content.body, "contacts", "vcardList")
    rows = [mapping_of(row) for row in inner] if isinstance(inner, list) else [content.body]
    if given and not any(first_of(row, "vcard", "body") for row in rows):
        rows = [{"vcard": each} for each in given]
    found: list[Card] = []
    for row in rows:
        card, label = (text_of(first_of(row, *names)) for names in (("vcard", "body"), _CARD_LABELS))
        parsed = [Card(**each._asdict() | {"others": list(each.others) or None}) for each in cards_in(card or "")]
        # A card that cannot be parsed still has a label.
        found += parsed or ([Card(name=label)] if label else [])
    return found or None


_CARD_LABELS = ("displayName", "vcardFormattedName")
