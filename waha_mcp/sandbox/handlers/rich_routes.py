"""Sending polls, locations, contact cards, lists, buttons, events, link previews and forwards."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox import doings
from waha_mcp.sandbox.answers import Crash, bad_parameters, http_error, undefined
from waha_mcp.sandbox.handlers.lookups import field, find_message
from waha_mcp.sandbox.handlers.sending_routes import send
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.sample_files import vcard


@handles("ChattingController_sendPoll")
def poll(call: Call) -> Any:
    wish = field(call, "poll", "options")
    options = [option.strip() for option in wish["options"]]
    if not all(options):
        raise bad_parameters(["poll.options must not hold an empty option"])
    if len(set(options)) < len(options):
        raise bad_parameters(["poll.options must be unique"])
    extra = {"name": wish["name"], "options": list(wish["options"]), "multiple": bool(wish.get("multipleAnswers"))}
    message = send(call, kind="poll", text=wish["name"], extra=extra | {"votes": {}})
    return call.engine.sent_poll(call.account, message)


@handles("ChattingController_sendPollVote")
def vote(call: Call) -> Any:
    """Sets the account's votes, by the text of the options; none retracts them."""
    account = call.account
    message = find_message(account, call.body["pollMessageId"])
    if message is None or message.kind != "poll" or message.extra is None:
        raise http_error(422, f"Poll '{call.body['pollMessageId']}' not found")
    chosen = call.body["votes"]
    unknown = [option for option in chosen if option not in message.extra["options"]]
    if unknown:
        raise Crash(f"Unknown poll option: {unknown[0]}")
    me = account.me.lid if message.author.endswith("@lid") and account.me.lid else account.me.id
    doings.vote(call.sandbox, call.session, account, message, me, chosen)
    return call.engine.voted(account, message)


@handles("ChattingController_sendLocation")
def location(call: Call) -> Any:
    body = call.body
    place = {"latitude": body["latitude"], "longitude": body["longitude"], "name": body["title"], "address": None}
    return call.engine.sent(call.account, send(call, kind="location", extra=place))


@handles("ChattingController_sendContactVcard")
def cards(call: Call) -> Any:
    made = []
    for contact in field(call, "contacts", "map"):
        card = contact.get("vcard") or _card(contact)
        named = [line[3:] for line in card.splitlines() if line.startswith("FN:")]
        made.append((named[0] if named else "", card))
    return call.engine.sent(call.account, send(call, kind="contacts", extra={"cards": made}))


def _card(contact: dict[str, Any]) -> str:
    if "fullName" not in contact or "phoneNumber" not in contact:
        raise undefined("fullName", "trim")
    digits = contact.get("whatsappId") or "".join(filter(str.isdigit, contact["phoneNumber"]))
    return vcard(contact["fullName"], digits)


@handles("ChattingController_sendList")
def choices(call: Call) -> Any:
    wish = field(call, "message", "sections")
    text = "\n".join(part for part in (wish["title"], wish.get("description")) if part)
    return call.engine.sent(call.account, send(call, kind="list", text=text, extra=dict(wish)))


@handles("ChattingController_sendButtons")
def buttons(call: Call) -> Any:
    body = call.body
    extra = {name: body.get(name) for name in ("header", "footer", "buttons")}
    return call.engine.sent(call.account, send(call, kind="buttons", text=body["body"], extra=extra))


@handles("ChattingController_sendButtonsReply")
def button_reply(call: Call) -> Any:
    call.body["reply_to"] = call.body.get("replyTo")
    extra = {"selectedId": call.body["selectedButtonID"]}
    message = send(call, kind="button_reply", text=call.body["selectedDisplayText"], extra=extra)
    return call.engine.sent(call.account, message)


@handles("ChattingController_sendLinkCustomPreview")
def link(call: Call) -> Any:
    preview = field(call, "preview", "url")
    extra = {name: preview.get(name) for name in ("url", "title", "description")}
    return call.engine.sent(call.account, send(call, kind="link", text=call.body["text"], extra=extra))


@handles("ChattingController_sendLinkPreview_DEPRECATED")
def old_link(call: Call) -> Any:
    url, title = call.body["url"], call.body["title"]
    extra = {"url": url, "title": title, "description": ""}
    return call.engine.sent(call.account, send(call, kind="link", text=f"{title}\n{url}", extra=extra))


@handles("ChattingController_forwardMessage")
def forward(call: Call) -> Any:
    message_id = field(call, "messageId", "split")
    original = find_message(call.account, message_id)
    if original is None or original.deleted:
        raise http_error(422, f"Message with id '{message_id}' not found")
    copy = send(
        call, kind=original.kind, text=original.text, media=original.media, extra=original.extra, forwarded=True
    )
    return call.engine.forwarded(call.account, copy)


@handles("EventsController_sendEvent")
def event(call: Call) -> Any:
    wish = field(call, "event", "name")
    message = send(call, kind="event", text=wish["name"], extra=dict(wish))
    return call.engine.message(call.account, message, session=call.session.name)
