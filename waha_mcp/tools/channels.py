"""The toolset `channels`: own and followed channels, and the public directory."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, READS, SENDS, SETS, ArgumentError, Context, tool
from waha_mcp.tools.local_files import SOURCES, FileData, OutboxPath, outgoing_file
from waha_mcp.tools.paging import Page, decode_cursor, encode_cursor, left
from waha_mcp.tools.params import ChannelId, Cursor, Limit, MediaUrl, NotBlank, OwnChannel
from waha_mcp.tools.results import Done, done
from waha_mcp.tools.several import NotTold, gather
from waha_mcp.waha.errors import BadAnswer, Failed, NotFound, Refused
from waha_mcp.waha.marks import RowId
from waha_mcp.waha.messages import Message, message_from
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import all_of, chat_id_of, count_of, listing, mapping_of, object_of, one_of, text_of
from waha_mcp.whatsapp.ids import normalize_chat_id
from waha_mcp.whatsapp.untrusted import Name, Words

_CHANNELS = "/api/{session}/channels"
_CHANNEL = f"{_CHANNELS}/{{id}}"


class Channel(Result):
    id: RowId
    name: Name | None = None
    description: Words | None = None
    invite: str | None = Field(None, description="Link to it")
    role: Literal["owner", "admin", "subscriber", "guest"] | None = Field(None, description="What we are there")
    subscribers: int | None = Field(None, description="Left out where there is none or the engine does not say")
    verified: bool | None = Field(None, description="Left out where it is not, or the engine does not say")


_ROLES: dict[object, Literal["owner", "admin", "subscriber", "guest"]] = {
    "OWNER": "owner",
    "ADMIN": "admin",
    "SUBSCRIBER": "subscriber",
    "GUEST": "guest",
}


def _channel_from(raw: Mapping[str, Any]) -> Channel | None:
    channel_id = chat_id_of(raw.get("id"))
    if channel_id is None:
        return None
    return Channel(
        id=channel_id,
        name=text_of(raw.get("name")),
        description=text_of(raw.get("description")),
        invite=text_of(raw.get("invite")),
        role=_ROLES.get(raw.get("role")),
        # WPP answers 0 and false for what it does not know.
        subscribers=count_of(raw.get("subscribersCount")) or None,
        verified=True if raw.get("verified") is True else None,
    )


class Channels(Result):
    channels: list[Channel]


@tool(title="List channels", action=Action.READ, calls=[f"GET {_CHANNELS}"], hints=READS, toolset="channels")
async def list_channels(
    role: Annotated[Literal["owner", "admin", "subscriber"], Field(description="Only those where we are that")]
    | None = None,
    *,
    ctx: Context,
) -> Channels:
    """List the channels that the account owns or follows."""
    answer = await ctx.waha.call(f"GET {_CHANNELS}", query={"role": role and role.upper()})
    return Channels(channels=all_of(answer, "channels", _channel_from))


def _channel_or_code(value: str) -> str:
    if "@" in value:
        channel = normalize_chat_id(value)
        if channel is not None and channel.endswith("@newsletter"):
            return channel
    elif match := re.fullmatch(r"(?:https?://(?:www\.)?whatsapp\.com/channel/)?([A-Za-z0-9_-]{8,60})/?", value.strip()):
        return match[1]
    raise ValueError("must be a channel's id (...@newsletter) or link (https://whatsapp.com/channel/...)")


#: A channel that is only read; the account need not follow it.
AnyChannel = Annotated[
    str,
    AfterValidator(_channel_or_code),
    Field(description="Id (...@newsletter) or link (https://whatsapp.com/channel/...) of a channel"),
]


@tool(title="Channel details", action=Action.READ, calls=[f"GET {_CHANNEL}"], hints=READS, toolset="channels")
async def get_channel(channel: AnyChannel, *, ctx: Context) -> Channel:
    """Show one channel, followed or not, by id or link."""
    return await _channel(ctx, channel)


async def _channel(ctx: Context, channel: str) -> Channel:
    """One channel by id or link. Raises NotFound alike if there is none, and if it may not be read."""
    found: Channel | None = None
    with suppress(NotFound, Refused, Failed):
        found = one_of(await ctx.waha.call(f"GET {_CHANNEL}", path={"id": channel}), "a channel", _channel_from)
    if found is None or not ctx.readable(found.id):
        raise NotFound("WAHA shows no such channel to this App: check its id or link.")
    return found


class Post(Result):
    message: Message
    views: int | None = None
    reactions: dict[Name, int] | None = Field(None, description="How many reacted with each emoji")


class Posts(Result):
    posts: list[Post] = Field(description="Newest first")


@tool(
    title="Preview a channel",
    action=Action.READ,
    calls=[f"GET {_CHANNEL}/messages/preview", f"GET {_CHANNEL}"],
    hints=READS,
    toolset="channels",
)
async def preview_channel(channel: AnyChannel, limit: Limit = 10, *, ctx: Context) -> Posts:
    """Read the latest posts of a public channel without following it, with views and reactions."""
    await _channel(ctx, channel)
    answer = await ctx.waha.call(
        f"GET {_CHANNEL}/messages/preview", path={"id": channel}, query={"limit": limit, "downloadMedia": False}
    )

    def post(row: Mapping[str, Any]) -> Post | None:
        message = message_from(mapping_of(row.get("message")), ctx.directory)
        if message is None:
            return None
        counted = ((str(emoji), count_of(n)) for emoji, n in mapping_of(row.get("reactions")).items())
        reactions = {emoji: n for emoji, n in counted if n is not None}
        # WPP answers 0 for what it does not know.
        return Post(message=message, views=count_of(row.get("viewCount")) or None, reactions=reactions or None)

    return Posts(posts=all_of(answer, "posts", post))


class FoundChannels(Page):
    channels: list[Channel]


Names = Annotated[list[str], Field(max_length=20, description="Values that list_channel_filters gives")]


@tool(
    title="Search channels",
    action=Action.READ,
    calls=[f"POST {_CHANNELS}/search/by-text", f"POST {_CHANNELS}/search/by-view"],
    hints=READS,
    toolset="channels",
)
async def search_channels(
    text: Annotated[str, Field(min_length=1, max_length=200, description="Words to look for")] | None = None,
    view: Annotated[str, Field(max_length=60, description="A list such as RECOMMENDED, where no text is given")]
    | None = None,
    countries: Names | None = None,
    categories: Names | None = None,
    limit: Limit = 20,
    cursor: Cursor | None = None,
    *,
    ctx: Context,
) -> FoundChannels:
    """Search the public directory of channels by text, or look through one of its lists (views)."""
    if text is not None and (view is not None or countries):
        raise ArgumentError("text: WhatsApp searches by text, or lists by view and countries; give one of the two")
    place = decode_cursor("channels", cursor) if cursor is not None else ""
    if not isinstance(place, str):
        raise ArgumentError("cursor: damaged; pass the one that the last page gave, unchanged")
    body: dict[str, Any] = {"categories": categories or [], "limit": limit, "startCursor": place}
    if text is not None:
        answer = await ctx.waha.call(f"POST {_CHANNELS}/search/by-text", body=body | {"text": text})
    else:
        body |= {"view": view or "RECOMMENDED", "countries": countries or []}
        answer = await ctx.waha.call(f"POST {_CHANNELS}/search/by-view", body=body)
    found = object_of(answer, "a page of channels")
    page = mapping_of(found.get("page"))
    more: dict[str, Any] = {}
    if page.get("hasNextPage") is True and (end := text_of(page.get("endCursor"))):
        more = left(1, encode_cursor("channels", end), exact=False)
    return FoundChannels(channels=all_of(found.get("channels"), "channels", _channel_from), **more)


class FilterValue(Result):
    value: str = Field(description="What search_channels takes")
    name: str | None = None


class ChannelFilters(Result):
    views: list[FilterValue] | None = None
    countries: list[FilterValue] | None = Field(None, description="Not all; other two-letter codes may work")
    categories: list[FilterValue] | None = None
    not_told: NotTold = None


_FILTERS = ("views", "countries", "categories")


@tool(
    title="List channel filters",
    action=Action.READ,
    calls=[f"GET {_CHANNELS}/search/{what}" for what in _FILTERS],
    hints=READS,
    toolset="channels",
)
async def list_channel_filters(*, ctx: Context) -> ChannelFilters:
    """List the views, countries and categories that search_channels takes."""

    async def values(what: str) -> list[FilterValue]:
        rows = listing(await ctx.waha.call(f"GET {_CHANNELS}/search/{what}"), what)
        return [
            FilterValue(value=value, name=text_of(row.get("name")))
            for row in rows
            if (value := text_of(row.get("value")) or text_of(row.get("code")))
        ]

    told, not_told = await gather({what: partial(values, what) for what in _FILTERS})
    return ChannelFilters(not_told=not_told, **told)


def _at_most_one_picture(values: dict[str, Any]) -> dict[str, Any]:
    given = [name for name in SOURCES if values[name] is not None]
    if len(given) > 1:
        raise ArgumentError(f"Give at most one of url, data and path: {' and '.join(given)} are given")
    return values


@tool(
    title="Create a channel",
    action=Action.SEND,
    calls=[f"POST {_CHANNELS}"],
    hints=SENDS,
    toolset="channels",
    reaches="everyone",
    complete=_at_most_one_picture,
)
async def create_channel(
    name: Annotated[str, NotBlank, Field(min_length=1, max_length=100, description="Name of the channel")],
    description: Annotated[str, Field(max_length=2_048, description="What it is about")] | None = None,
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    *,
    ctx: Context,
) -> Channel:
    """Create a public channel, with a picture from at most one of url, data and path."""
    body: dict[str, Any] = {"name": name, "description": description}
    if (url, data, path) != (None, None, None):
        body["picture"] = await outgoing_file(
            ctx, url=url, data=data, path=path, kind="image", default_type="image/jpeg"
        )
    channel = _channel_from(mapping_of(await ctx.waha.call(f"POST {_CHANNELS}", body=body)))
    if channel is None:
        raise BadAnswer("WAHA created the channel but did not give its id: find it with list_channels.")
    return channel


@tool(
    title="Follow a channel",
    action=Action.SEND,
    calls=[f"POST {_CHANNEL}/follow", f"POST {_CHANNEL}/unfollow"],
    hints=SETS,
    toolset="channels",
)
async def follow_channel(
    channel: ChannelId,
    followed: Annotated[bool, Field(description="False unfollows")] = True,
    *,
    ctx: Context,
) -> Done:
    """Follow a channel, so that its posts arrive, or unfollow it."""
    operation = f"POST {_CHANNEL}/follow" if followed else f"POST {_CHANNEL}/unfollow"
    answer = await ctx.waha.call(operation, path={"id": channel})
    return done(answer, f"{'Followed' if followed else 'Unfollowed'} {channel}")


@tool(
    title="Mute a channel",
    action=Action.SEND,
    calls=[f"POST {_CHANNEL}/mute", f"POST {_CHANNEL}/unmute"],
    hints=SETS,
    toolset="channels",
    reaches="nobody",
)
async def mute_channel(
    channel: OwnChannel,
    muted: Annotated[bool, Field(description="False unmutes")] = True,
    *,
    ctx: Context,
) -> Done:
    """Mute the notifications of a channel, or unmute them."""
    operation = f"POST {_CHANNEL}/mute" if muted else f"POST {_CHANNEL}/unmute"
    answer = await ctx.waha.call(operation, path={"id": channel})
    return done(answer, f"{'Muted' if muted else 'Unmuted'} {channel}")


@tool(title="Delete a channel", action=Action.SEND, calls=[f"DELETE {_CHANNEL}"], hints=DESTROYS, toolset="channels")
async def delete_channel(channel: ChannelId, *, ctx: Context) -> Done:
    """Delete a channel that the account owns, for all who follow it."""
    return done(await ctx.waha.call(f"DELETE {_CHANNEL}", path={"id": channel}), f"Deleted {channel}")
