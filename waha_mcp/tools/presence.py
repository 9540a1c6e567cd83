"""The toolset `presence`: who is online."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import READS, SETS, Context, tool
from waha_mcp.tools.params import OwnChat
from waha_mcp.tools.results import Done, done
from waha_mcp.waha.marks import ChatId, RowId, Time
from waha_mcp.waha.messages import Names
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import all_of, chat_id_of, iso_time, listing, object_of
from waha_mcp.whatsapp.untrusted import Name

_PRESENCE = "/api/{session}/presence"

State = Literal["online", "offline", "typing", "recording", "paused"]
_STATES: tuple[State, ...] = ("online", "offline", "typing", "recording", "paused")


class Seen(Result):
    person: RowId
    name: Name | None = None
    state: State | None = Field(None, description="Left out where they do not share it")
    last_seen: Time | None = Field(None, description="Left out where they do not share it")


class ChatPresence(Result):
    chat: ChatId
    chat_name: Name | None = None
    people: list[Seen]


class Presences(Result):
    chats: list[ChatPresence]


def _presence_from(raw: Mapping[str, Any], names: Names, chat: str | None = None) -> ChatPresence | None:
    chat = chat_id_of(raw.get("id")) or chat
    if chat is None:
        return None
    people = []
    # Presence exists only for people who are subscribed to.
    for row in listing(raw.get("presences"), "presences"):
        if written := chat_id_of(row.get("participant")):
            person = names.canonical(written)
            state = next((each for each in _STATES if each == row.get("lastKnownPresence")), None)
            people.append(
                Seen(person=person, name=names.name(person), state=state, last_seen=iso_time(row.get("lastSeen")))
            )
    chat = names.canonical(chat)
    return ChatPresence(chat=chat, chat_name=names.name(chat), people=people)


@tool(
    title="Get presence",
    action=Action.READ,
    calls=[f"GET {_PRESENCE}", f"GET {_PRESENCE}/{{chatId}}"],
    hints=READS,
    toolset="presence",
)
async def get_presence(chat: OwnChat | None = None, *, ctx: Context) -> Presences:
    """Show who is online or typing, and when they were last seen: in one chat, or in all that are followed."""
    await ctx.directory.load()
    if chat is not None:
        answer = await ctx.waha.call(f"GET {_PRESENCE}/{{chatId}}", path={"chatId": chat})
        found = _presence_from(object_of(answer, "a presence"), ctx.directory, chat)
        return Presences(chats=[found] if found else [])
    answer = await ctx.waha.call(f"GET {_PRESENCE}")
    found_in = all_of(answer, "presences", lambda row: _presence_from(row, ctx.directory))
    return Presences(chats=[found for found in found_in if ctx.readable(found.chat)])


@tool(
    title="Follow presence",
    action=Action.SEND,
    calls=[f"POST {_PRESENCE}/{{chatId}}/subscribe"],
    hints=SETS,
    toolset="presence",
    reaches="nobody",
)
async def follow_presence(chat: OwnChat, *, ctx: Context) -> Done:
    """Have WhatsApp tell who is online in a chat from now on; get_presence then shows it."""
    answer = await ctx.waha.call(f"POST {_PRESENCE}/{{chatId}}/subscribe", path={"chatId": chat})
    return done(answer, f"Following who is online in {chat}")


@tool(
    title="Set own presence",
    action=Action.SEND,
    calls=[f"POST {_PRESENCE}"],
    hints=SETS,
    toolset="presence",
    reaches="everyone",
)
async def set_presence(
    online: Annotated[bool, Field(description="False: offline, so that the phone notifies its owner again")],
    *,
    ctx: Context,
) -> Done:
    """Show this account as online or offline to everybody."""
    answer = await ctx.waha.call(f"POST {_PRESENCE}", body={"presence": "online" if online else "offline"})
    return done(answer, f"Shown as {'online' if online else 'offline'}")
