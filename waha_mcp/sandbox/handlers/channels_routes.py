"""Channels: one's own and followed ones, the public directory, previews."""

from __future__ import annotations

import base64
from typing import Any

from waha_mcp.sandbox.account import Channel
from waha_mcp.sandbox.answers import Crash
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.seed import invite_code

VIEWS = {"RECOMMENDED": "Explore", "NEW": "New", "POPULAR": "Most active", "TRENDING": "Trending"}
COUNTRIES = {"US": "United States", "GB": "United Kingdom", "DE": "Germany", "FR": "France", "AU": "Australia"}
CATEGORIES = {
    "BUSINESS": "Business",
    "ENTERTAINMENT": "Entertainment",
    "LIFESTYLE": "Lifestyle",
    "NEWS_INFO": "News & Information",
    "ORGANIZATIONS": "Organizations",
    "SPORTS": "Sports",
}


def existing(call: Call) -> Channel:
    """The channel by id, or by the code of its invite link."""
    wanted = call.path["id"]
    if not call.engine.finds_channels_by_code and not wanted.endswith("@newsletter"):
        raise call.engine.refuse("")
    channels = call.account.channels
    if wanted in channels:
        return channels[wanted]
    for channel in channels.values():
        if channel.invite == wanted:
            return channel
    raise call.engine.unknown_channel(wanted)


@handles("ChannelsController_list")
def every(call: Call) -> Any:
    role = call.query.get("role")
    mine = [channel for channel in call.account.channels.values() if channel.role != "GUEST"]
    return [call.engine.own_channel(channel) for channel in mine if role is None or channel.role == role]


@handles("ChannelsController_get")
def one(call: Call) -> Any:
    return call.engine.found_channel(existing(call))


@handles("ChannelsController_create")
def create(call: Call) -> Any:
    rng = call.account.rng
    channel = Channel(
        id=f"1203635{rng.randrange(10**10, 10**11)}@newsletter",
        name=call.body["name"],
        description=call.body.get("description") or "",
        invite=f"0029Va{invite_code(rng)[:16]}",
        role="OWNER",
        subscribers=1,
    )
    call.account.channels[channel.id] = channel
    return call.engine.channel(channel)


@handles("ChannelsController_delete")
def delete(call: Call) -> Any:
    channel = existing(call)
    if channel.role != "OWNER":
        raise Crash("Not Authorized", "GraphQLError")
    del call.account.channels[channel.id]


@handles("ChannelsController_follow", "ChannelsController_unfollow")
def follow(call: Call) -> Any:
    channel = existing(call)
    if channel.role in ("GUEST", "SUBSCRIBER"):
        wanted = "SUBSCRIBER" if call.operation.id == "ChannelsController_follow" else "GUEST"
        channel.subscribers += (wanted == "SUBSCRIBER") - (channel.role == "SUBSCRIBER")
        channel.role = wanted


@handles("ChannelsController_mute", "ChannelsController_unmute")
def mute(call: Call) -> Any:
    existing(call).muted = call.operation.id == "ChannelsController_mute"


@handles("ChannelsController_previewChannelMessages")
def preview(call: Call) -> Any:
    account, channel = call.account, existing(call)
    messages = account.page(account.joined(channel.id), limit=int(call.query["limit"]))
    return [
        {
            "message": call.engine.message(account, message, session=call.session.name),
            **call.engine.channel_numbers(channel, message),
        }
        for message in messages
    ]


@handles("ChannelsController_searchByText")
def by_text(call: Call) -> Any:
    words = call.body["text"].casefold().split()
    return _search(call, lambda channel: all(word in _text(channel) for word in words))


@handles("ChannelsController_searchByView")
def by_view(call: Call) -> Any:
    countries = call.body.get("countries")
    return _search(call, lambda channel: not countries or channel.country in countries)


def _text(channel: Channel) -> str:
    return f"{channel.name} {channel.description}".casefold()


def _search(call: Call, matches: Any) -> Any:
    """Public channels, a page at a time; the cursor is the next position, in base64."""
    body = call.body
    categories = body.get("categories")
    found = [
        channel
        for channel in call.account.channels.values()
        if channel.role in ("GUEST", "SUBSCRIBER")
        and (not categories or channel.category in categories)
        and matches(channel)
    ]
    start = int(base64.b64decode(body["startCursor"])) if body.get("startCursor") else 0
    end = start + int(body.get("limit") or 50)
    listed = [call.engine.channel(channel) for channel in found[start:end]]
    for each in listed:
        del each["role"]
    more = end < len(found)
    return {
        "page": {
            "startCursor": body.get("startCursor") or None,
            "endCursor": base64.b64encode(str(end).encode()).decode() if more else None,
            "hasNextPage": more,
            "hasPreviousPage": start > 0,
        },
        "channels": listed,
    }


@handles("ChannelsController_getSearchViews")
def views(call: Call) -> Any:
    return [{"value": value, "name": name} for value, name in VIEWS.items()]


@handles("ChannelsController_getSearchCountries")
def countries(call: Call) -> Any:
    return [{"code": code, "name": name} for code, name in COUNTRIES.items()]


@handles("ChannelsController_getSearchCategories")
def categories(call: Call) -> Any:
    return [{"value": value, "name": name} for value, name in CATEGORIES.items()]
