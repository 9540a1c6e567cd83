"""Status messages (stories): messages to `status@broadcast`."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox import doings
from waha_mcp.sandbox.account import STATUS_CHAT
from waha_mcp.sandbox.answers import Crash, http_error
from waha_mcp.sandbox.handlers.lookups import field, find_message
from waha_mcp.sandbox.handlers.sending_routes import media_from, send
from waha_mcp.sandbox.registry import Call, handles


def _check_audience(call: Call) -> None:
    name = call.engine.name
    if call.body.get("contacts") and not call.engine.shows_status_to_some:
        text = f"{name} doesn't accept 'contacts'. Remove the field to send status to all contacts."
        raise http_error(422, text)


@handles("StatusController_sendTextStatus")
def text(call: Call) -> Any:
    _check_audience(call)
    message = send(call, chat=STATUS_CHAT, text=field(call, "text"))
    return call.engine.sent(call.account, message)


@handles("StatusController_sendImageStatus")
def image(call: Call) -> Any:
    return _file(call, "image", "image/jpeg")


@handles("StatusController_sendVoiceStatus")
def voice(call: Call) -> Any:
    return _file(call, "voice", "audio/ogg; codecs=opus")


@handles("StatusController_sendVideoStatus")
def video(call: Call) -> Any:
    return _file(call, "video", "video/mp4")


def _file(call: Call, kind: str, usual: str) -> Any:
    _check_audience(call)
    media = media_from(field(call, "file"), usual)
    message = send(call, chat=STATUS_CHAT, kind=kind, text=call.body.get("caption"), media=media)
    return call.engine.sent(call.account, message)


@handles("StatusController_deleteStatus")
def delete(call: Call) -> Any:
    message = find_message(call.account, field(call, "id", "split"), STATUS_CHAT)
    if message is None or not message.from_me:
        raise Crash("status not found")
    doings.revoke(call.sandbox, call.session, message, call.account.me.id)
    return call.engine.deleted(call.account, message)
