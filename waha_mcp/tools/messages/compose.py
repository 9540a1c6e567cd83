"""Tools that send polls, locations and other rich messages."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from waha_mcp.app.actions import Action
from waha_mcp.app.urls import parse
from waha_mcp.tools.catalog import SENDS, SETS, ArgumentError, Context, tool
from waha_mcp.tools.local_files import SOURCES, FileData, OutboxPath, outgoing_file
from waha_mcp.tools.moments import Appointment
from waha_mcp.tools.params import (
    Argument,
    Chat,
    MediaUrl,
    MessageId,
    NotBlank,
    ReplyTo,
    SourceMessageId,
    Unseen,
    different,
)
from waha_mcp.tools.results import Done, done
from waha_mcp.waha.choices import choices_of, chosen
from waha_mcp.waha.messages import refuse_view_once
from waha_mcp.waha.models import Sent, sent_from
from waha_mcp.whatsapp.ids import parse_message_id, parse_phone

Line = Annotated[str, NotBlank, Field(min_length=1, max_length=100)]


#: Control characters, and what else ends a line.
_LINE_ENDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
#: Punctuation around a link in a text.
_AROUND = ".,;:!?*_~()[]{}<>\"'«»“”‘’"


@tool(
    title="Send a sticker",
    action=Action.SEND,
    calls=["POST /api/sendSticker"],
    hints=SENDS,
    toolset="messages",
    one_of=SOURCES,
)
async def send_sticker(
    chat: Chat,
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send an image as a sticker, WebP at best. Give exactly one of url, data and path."""
    file = await outgoing_file(ctx, url=url, data=data, path=path, kind="image", default_type="image/webp")
    answer = await ctx.waha.call("POST /api/sendSticker", body={"chatId": chat, "file": file, "reply_to": reply_to})
    return sent_from(answer, chat)


@tool(
    title="Send a link preview",
    action=Action.SEND,
    calls=["POST /api/send/link-custom-preview"],
    hints=SENDS,
    toolset="messages",
    looks_like="send_text",
)
async def send_link_preview(
    chat: Chat,
    text: Annotated[str, Field(min_length=1, max_length=65_536, description="The text; it must hold the link")],
    link: Annotated[str, Unseen(), Field(max_length=2_048, description="The link in the text that the preview is for")],
    title: Annotated[str, Unseen(), Field(min_length=1, max_length=300, description="Headline of the preview")],
    description: Annotated[str, Unseen(), Field(max_length=1_000, description="Text of the preview")] = "",
    image_url: Annotated[MediaUrl, Unseen()] | None = None,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send a text with a link whose preview (title, text, image) you choose yourself."""
    try:
        plain = parse(link).plain
    except ValueError as error:
        raise ArgumentError(f"link: {error}") from None
    # People tap the link in the text, so it is sent unchanged, and every program must read the same host in it.
    if not plain or link not in (each for word in text.split() for each in (word, word.strip(_AROUND))):
        raise ArgumentError("link: must be in the text with spaces around it, written as it is here, with a plain host")
    preview: dict[str, Any] = {"url": link, "title": title, "description": description}
    if image_url is not None:
        file = await outgoing_file(ctx, url=image_url, data=None, path=None, kind="image", default_type="image/jpeg")
        preview["image"] = {k: file[k] for k in ("url", "data") if k in file}
    answer = await ctx.waha.call(
        "POST /api/send/link-custom-preview",
        body={"chatId": chat, "text": text, "preview": preview, "reply_to": reply_to},
    )
    return sent_from(answer, chat)


class ListRow(Argument):
    title: Line = Field(description="What can be chosen")
    description: Annotated[str, Field(max_length=300)] | None = None
    id: Annotated[str, Unseen(), Field(min_length=1, max_length=200)] | None = Field(
        None, description="Comes back with the choice"
    )


class ListSection(Argument):
    title: Annotated[str, Field(max_length=100)] = ""
    rows: Annotated[list[ListRow], Field(min_length=1, max_length=10)]


@tool(title="Send a list", action=Action.SEND, calls=["POST /api/sendList"], hints=SENDS, toolset="messages")
async def send_list(
    chat: Chat,
    title: Annotated[Line, Field(description="Headline")],
    button: Annotated[str, Field(min_length=1, max_length=40, description="What opens the list, such as Choose")],
    sections: Annotated[list[ListSection], Field(min_length=1, max_length=10, description="What can be chosen")],
    description: Annotated[str, Field(max_length=1_024, description="Text above the button")] | None = None,
    footer: Annotated[str, Field(max_length=100, description="Small text below")] | None = None,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send a list to choose one entry from. WhatsApp shows it to people only, not in groups."""
    rows = [
        {
            "title": section.title,
            "rows": [
                {"title": row.title, "rowId": row.id or f"{at}.{number}"}
                | ({"description": row.description} if row.description else {})
                for number, row in enumerate(section.rows, 1)
            ],
        }
        for at, section in enumerate(sections, 1)
    ]
    message = {"title": title, "button": button, "sections": rows, "description": description, "footer": footer}
    answer = await ctx.waha.call(
        "POST /api/sendList",
        body={
            "chatId": chat,
            "message": {name: value for name, value in message.items() if value is not None},
            "reply_to": reply_to,
        },
    )
    return sent_from(answer, chat)


@tool(
    title="Press a button",
    action=Action.SEND,
    calls=["POST /api/send/buttons/reply"],
    hints=SENDS,
    toolset="messages",
)
async def reply_to_buttons(
    message_id: MessageId,
    label: Annotated[
        str, Field(min_length=1, max_length=256, description="Text on the button, or of the list's row, as shown")
    ],
    *,
    ctx: Context,
) -> Sent:
    """Answer a message that has buttons or a list by choosing one of them, by its label."""
    chat = parse_message_id(message_id).chat
    readable = ctx.readable(ctx.directory.canonical(chat))
    choice = chosen(choices_of(ctx.messages.get(message_id, {})) if readable else [], label)
    answer = await ctx.waha.call(
        "POST /api/send/buttons/reply",
        body={
            "chatId": chat,
            "replyTo": message_id,
            "selectedButtonID": choice.id or choice.label,
            "selectedDisplayText": choice.label,
        },
    )
    return sent_from(answer, chat)


@tool(title="Send a poll", action=Action.SEND, calls=["POST /api/sendPoll"], hints=SENDS, toolset="messages")
async def send_poll(
    chat: Chat,
    question: Annotated[str, NotBlank, Field(min_length=1, max_length=255, description="What is asked")],
    options: Annotated[
        list[Line],
        AfterValidator(different),
        Field(min_length=2, max_length=12, description="The answers, each different"),
    ],
    multiple_answers: Annotated[bool, Field(description="Whether more than one may be chosen")] = False,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send a poll to a person, group or channel."""
    poll = {"name": question, "options": options, "multipleAnswers": multiple_answers}
    answer = await ctx.waha.call("POST /api/sendPoll", body={"chatId": chat, "poll": poll, "reply_to": reply_to})
    return sent_from(answer, chat)


@tool(title="Vote in a poll", action=Action.SEND, calls=["POST /api/sendPollVote"], hints=SETS, toolset="messages")
async def vote_in_poll(
    message_id: MessageId,
    options: Annotated[list[Line], Field(max_length=12, description="The chosen answers as written; none: no vote")],
    *,
    ctx: Context,
) -> Done:
    """Vote in a poll, in place of any earlier vote of ours."""
    chat = parse_message_id(message_id).chat
    answer = await ctx.waha.call(
        "POST /api/sendPollVote", body={"chatId": chat, "pollMessageId": message_id, "votes": options}
    )
    return done(answer, f"Voted for {', '.join(options)}" if options else "Took the vote back")


@tool(title="Send a location", action=Action.SEND, calls=["POST /api/sendLocation"], hints=SENDS, toolset="messages")
async def send_location(
    chat: Chat,
    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, description="Degrees, north is positive")],
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, description="Degrees, east is positive")],
    title: Annotated[str, Field(max_length=300, description="Name of the place")] = "",
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send a place on the map."""
    answer = await ctx.waha.call(
        "POST /api/sendLocation",
        body={"chatId": chat, "latitude": latitude, "longitude": longitude, "title": title, "reply_to": reply_to},
    )
    return sent_from(answer, chat)


def _number(value: str) -> str:
    return f"+{parse_phone(value)}"


def _one_line(value: Any) -> Any:
    return _LINE_ENDS.sub(" ", value).strip() if isinstance(value, str) else value


class Card(Argument):
    # WAHA writes each field into a line of the vCard as it is, so none may begin another line.
    _one_line = field_validator("*", mode="before")(_one_line)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    phone: Annotated[str, AfterValidator(_number), Field(max_length=40, description="Phone number with country code")]
    organization: Annotated[str, Field(max_length=200)] | None = None


@tool(
    title="Send contact cards",
    action=Action.SEND,
    calls=["POST /api/sendContactVcard"],
    hints=SENDS,
    toolset="messages",
)
async def send_contact_cards(
    chat: Chat,
    contacts: Annotated[list[Card], Field(min_length=1, max_length=20, description="The people on the cards")],
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send one or more contact cards (vCards)."""
    cards = []
    for contact in contacts:
        number = contact.phone.removeprefix("+")
        card = {"fullName": contact.name, "phoneNumber": contact.phone, "whatsappId": number, "vcard": None}
        cards.append(card | ({"organization": contact.organization} if contact.organization else {}))
    answer = await ctx.waha.call(
        "POST /api/sendContactVcard", body={"chatId": chat, "contacts": cards, "reply_to": reply_to}
    )
    return sent_from(answer, chat)


@tool(title="Send an event", action=Action.SEND, calls=["POST /api/{session}/events"], hints=SENDS, toolset="messages")
async def send_event(
    chat: Chat,
    name: Annotated[Line, Field(description="What takes place")],
    start: Appointment,
    end: Appointment | None = None,
    description: Annotated[str, Field(max_length=2_048, description="More about it")] | None = None,
    location: Annotated[str, Field(max_length=300, description="Where it is")] | None = None,
    guests_allowed: Annotated[bool, Field(description="Whether those invited may bring somebody")] = False,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send a calendar event that people can accept or decline."""
    if end is not None and end <= start:
        raise ArgumentError("end: must be after start")
    event = {
        "name": name,
        "description": description,
        "startTime": int(start.timestamp()),
        "endTime": None if end is None else int(end.timestamp()),
        "location": None if location is None else {"name": location},
        "extraGuestsAllowed": guests_allowed,
    }
    answer = await ctx.waha.call(
        "POST /api/{session}/events",
        body={
            "chatId": chat,
            "event": {name: value for name, value in event.items() if value is not None},
            "reply_to": reply_to,
        },
    )
    return sent_from(answer, chat)


@tool(
    title="Forward a message", action=Action.SEND, calls=["POST /api/forwardMessage"], hints=SENDS, toolset="messages"
)
async def forward_message(message_id: SourceMessageId, chat: Chat, *, ctx: Context) -> Sent:
    """Forward a message to another chat."""
    refuse_view_once(ctx.messages.get(message_id))
    answer = await ctx.waha.call("POST /api/forwardMessage", body={"chatId": chat, "messageId": message_id})
    return sent_from(answer, chat)
