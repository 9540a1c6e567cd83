"""Tools that read, create, join and leave groups."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, READS, SENDS, SETS, Context, tool
from waha_mcp.tools.paging import Page, offset_of, page_of
from waha_mcp.tools.params import Cursor, GroupId, Limit, Members, NotBlank
from waha_mcp.tools.results import Done, done
from waha_mcp.tools.several import NotTold, gather
from waha_mcp.waha.errors import BadAnswer, Failed, NotFound, Refused
from waha_mcp.waha.marks import BareChatId, RowId, Time, Usual
from waha_mcp.waha.models import Group, Result, group_from
from waha_mcp.waha.parsing import all_of, chat_id_of, first_of, iso_time, mapping_of, object_of, one_of, text_of
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import Name

_GROUP = "/api/{session}/groups/{id}"


@tool(title="Group details", action=Action.READ, calls=[f"GET {_GROUP}"], hints=READS, toolset="groups")
async def get_group(group: GroupId, *, ctx: Context) -> Group:
    """Show one group: subject, description, size, when it was created."""
    found = one_of(await ctx.waha.call(f"GET {_GROUP}", path={"id": group}), "a group", group_from)
    if found is None:
        raise NotFound(f"There is no group {group}, or the account is not in it. list_groups shows those it is in.")
    return found


class Participant(Result):
    id: RowId
    name: Name | None = None
    phone: str | None = Field(None, description="E.164, where it is known")
    role: Annotated[Literal["member", "admin", "owner", "left"], Usual("member")]
    me: bool | None = Field(None, description="It is this account")


class Participants(Page):
    group: BareChatId
    participants: list[Participant]


_ROLES: dict[object, Literal["member", "admin", "owner", "left"]] = {
    "admin": "admin",
    "superadmin": "owner",
    "left": "left",
}


@tool(
    title="List participants",
    action=Action.READ,
    calls=[f"GET {_GROUP}/participants/v2"],
    hints=READS,
    toolset="groups",
)
async def list_participants(
    group: GroupId, limit: Limit = 50, cursor: Cursor | None = None, *, ctx: Context
) -> Participants:
    """List who is in a group, with name, number and role; admins come first."""
    offset = offset_of("participants", cursor)
    await ctx.directory.load()
    answer = await ctx.waha.call(f"GET {_GROUP}/participants/v2", path={"id": group})

    def participant(row: Mapping[str, Any]) -> Participant | None:
        written = chat_id_of(row.get("id"))
        if written is None:
            return None
        person = ctx.directory.canonical(chat_id_of(row.get("pn")) or written)
        role = _ROLES.get(row.get("role"), "member")
        me = not ctx.directory.me.isdisjoint((written, person)) or None
        return Participant(id=person, name=ctx.directory.name(person), phone=phone_of(person), role=role, me=me)

    people = all_of(answer, "participants", participant)
    people.sort(key=lambda person: ("owner", "admin", "member", "left").index(person.role))
    shown, more = page_of("participants", people[offset : offset + limit + 1], limit, offset, total=len(people))
    not_told = ctx.directory.not_known("contacts", "hidden ids")
    return Participants(group=group, participants=list(shown), not_told=not_told, **more)


class GroupSettings(Result):
    group: BareChatId
    only_admins_edit_info: bool | None = Field(None, description="Subject, description and picture are the admins'")
    only_admins_send: bool | None = None
    members_can_add: bool | None = Field(None, description="Members may add people")
    members_can_share_history: bool | None = Field(None, description="Members may show newcomers older messages")
    approval_required: bool | None = Field(None, description="Admins decide on who joins by link")
    not_told: NotTold = None


#: Our name of a setting to its path under settings/security and WAHA's name of the value.
SETTINGS = {
    "only_admins_edit_info": ("info-admin-only", "adminsOnly"),
    "only_admins_send": ("messages-admin-only", "adminsOnly"),
    "members_can_add": ("member-add-mode", "membersCanAddNewMember"),
    "members_can_share_history": ("member-share-history-mode", "membersCanShareHistory"),
    "approval_required": ("membership-approval", "newMembersApprovalRequired"),
}


@tool(
    title="Group settings",
    action=Action.READ,
    calls=[f"GET {_GROUP}/settings/security/{path}" for path, _ in SETTINGS.values()],
    hints=READS,
    toolset="groups",
)
async def get_group_settings(group: GroupId, *, ctx: Context) -> GroupSettings:
    """Show what a group lets its members do: write, edit its info, add people, join without approval."""

    async def setting(path: str, field: str) -> bool | None:
        answer = await ctx.waha.call(f"GET {_GROUP}/settings/security/{path}", path={"id": group})
        value = object_of(answer, "a group's setting").get(field)
        return value if isinstance(value, bool) else None

    values, not_told = await gather({name: partial(setting, *found) for name, found in SETTINGS.items()})
    return GroupSettings(group=group, not_told=not_told, **values)


class InviteLink(Result):
    group: BareChatId
    link: str = Field(description="Whoever has it can join")


def invite_link(answer: object, group: str) -> InviteLink:
    """Parse an invite link from WAHA's answer: the code, or on some engines the link, as plain text."""
    code = text_of(answer) or text_of(mapping_of(answer).get("code"))
    if code is None:
        raise BadAnswer("WAHA gave no invite link for this group: most often the account is not an admin there.")
    return InviteLink(group=group, link=f"https://chat.whatsapp.com/{code.rstrip('/').rpartition('/')[2]}")


@tool(
    title="Get invite link",
    action=Action.READ,
    calls=[f"GET {_GROUP}/invite-code"],
    # Whoever gets hold of the link can join.
    hints=SETS,
    toolset="groups",
    reaches="everyone",
)
async def get_invite_link(group: GroupId, *, ctx: Context) -> InviteLink:
    """Get the link with which people join a group. The account must be an admin there."""
    return invite_link(await ctx.waha.call(f"GET {_GROUP}/invite-code", path={"id": group}), group)


def _invite_code(value: str) -> str:
    match = re.fullmatch(
        r"(?:https?://chat\.whatsapp\.com/(?:invite/)?)?([A-Za-z0-9_-]{10,40})/?(?:\?.*)?", value.strip()
    )
    if match is None:
        raise ValueError("must be an invite link such as https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv, or its code")
    return match[1]


InviteCode = Annotated[
    str, AfterValidator(_invite_code), Field(description="Invite link (https://chat.whatsapp.com/...) or its code")
]


@tool(
    title="Look at an invite",
    action=Action.READ,
    calls=["GET /api/{session}/groups/join-info"],
    hints=READS,
    toolset="groups",
)
async def get_invite_info(invite: InviteCode, *, ctx: Context) -> Group:
    """Show which group an invite link leads to, without joining it."""
    found: Group | None = None
    with suppress(NotFound, Refused, Failed):
        answer = await ctx.waha.call("GET /api/{session}/groups/join-info", query={"code": invite})
        found = one_of(answer, "a group", group_from)
    if found is None or not ctx.readable(found.id):
        raise NotFound(
            "WAHA shows no group to this App under this invite link: it was revoked, or was copied incompletely."
        )
    return found


@tool(
    title="Create a group",
    action=Action.SEND,
    calls=["POST /api/{session}/groups"],
    hints=SENDS,
    toolset="groups",
)
async def create_group(
    subject: Annotated[str, NotBlank, Field(min_length=1, max_length=100, description="Name of the group")],
    participants: Members,
    *,
    ctx: Context,
) -> Group:
    """Create a group with these people in it. They are told at once."""
    answer = mapping_of(
        await ctx.waha.call(
            "POST /api/{session}/groups",
            body={"name": subject, "participants": [{"id": person} for person in participants]},
        )
    )
    raw = mapping_of(answer.get("gid")) or answer  # the browser engines answer {"gid": {"_serialized": ...}}
    found = group_from({**answer, "id": chat_id_of(raw) or first_of(raw, "id", "JID")})
    if found is None:
        raise BadAnswer("WAHA created the group but did not give its id: find it with list_groups.")
    return found


class Joined(Result):
    group: BareChatId | None = Field(
        None, description="Its id; left out where admins must approve first, or the App may not read it"
    )


@tool(
    title="Join a group",
    action=Action.SEND,
    calls=["POST /api/{session}/groups/join"],
    hints=SETS,
    toolset="groups",
    reaches="everyone",
)
async def join_group(invite: InviteCode, *, ctx: Context) -> Joined:
    """Join a group by its invite link. Everybody there sees the account and its number."""
    answer = await ctx.waha.call("POST /api/{session}/groups/join", body={"code": invite})
    group = chat_id_of(mapping_of(answer).get("id"))
    return Joined(group=group if group and ctx.readable(group) else None)


@tool(title="Leave a group", action=Action.SEND, calls=[f"POST {_GROUP}/leave"], hints=DESTROYS, toolset="groups")
async def leave_group(group: GroupId, *, ctx: Context) -> Done:
    """Leave a group. Only somebody there can bring the account back."""
    return done(await ctx.waha.call(f"POST {_GROUP}/leave", path={"id": group}), f"Left {group}")


class JoinRequest(Result):
    person: RowId
    name: Name | None = None
    phone: str | None = Field(None, description="E.164, where it is known")
    time: Time | None = None


class JoinRequests(Result):
    group: BareChatId
    requests: list[JoinRequest]


@tool(
    title="List join requests",
    action=Action.READ,
    calls=[f"GET {_GROUP}/participants/join-requests"],
    hints=READS,
    toolset="groups_admin",
)
async def list_join_requests(group: GroupId, *, ctx: Context) -> JoinRequests:
    """List who asks to be let into a group that the account is an admin of."""
    await ctx.directory.load()
    answer = await ctx.waha.call(f"GET {_GROUP}/participants/join-requests", path={"id": group})

    def request(row: Mapping[str, Any]) -> JoinRequest | None:
        written = chat_id_of(row.get("requesterId"))
        if written is None:
            return None
        person = ctx.directory.canonical(chat_id_of(row.get("requesterPn")) or written)
        name, when = ctx.directory.name(person), iso_time(row.get("timestamp"))
        return JoinRequest(person=person, name=name, phone=phone_of(person), time=when)

    return JoinRequests(group=group, requests=all_of(answer, "join requests", request))
