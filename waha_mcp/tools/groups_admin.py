"""The toolset for a group's admins: members, admins, description and settings."""

from typing import Annotated, Literal

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, SENDS, SETS, Context, tool
from waha_mcp.tools.groups import SETTINGS, invite_link
from waha_mcp.tools.local_files import SOURCES, FileData, OutboxPath, outgoing_file
from waha_mcp.tools.params import Clears, GroupId, MediaUrl, Members, NotBlank
from waha_mcp.tools.results import Done, Outcomes, done, outcomes
from waha_mcp.waha.marks import BareChatId
from waha_mcp.waha.models import Result

_GROUP = "/api/{session}/groups/{id}"


def _body(people: list[str]) -> dict[str, list[dict[str, str]]]:
    return {"participants": [{"id": person} for person in people]}


@tool(
    title="Add participants",
    action=Action.SEND,
    calls=[f"POST {_GROUP}/participants/add"],
    hints=SENDS,
    toolset="groups_admin",
)
async def add_participants(group: GroupId, people: Members, *, ctx: Context) -> Outcomes:
    """Add people to a group. They are told at once; some can only be invited by link."""
    answer = await ctx.waha.call(f"POST {_GROUP}/participants/add", path={"id": group}, body=_body(people))
    return outcomes(answer, f"Asked WhatsApp to add {len(people)} to {group}", readable=ctx.readable(group))


@tool(
    title="Remove participants",
    action=Action.SEND,
    calls=[f"POST {_GROUP}/participants/remove"],
    hints=DESTROYS,
    toolset="groups_admin",
)
async def remove_participants(group: GroupId, people: Members, *, ctx: Context) -> Outcomes:
    """Remove people from a group. Everybody there sees it."""
    answer = await ctx.waha.call(f"POST {_GROUP}/participants/remove", path={"id": group}, body=_body(people))
    return outcomes(answer, f"Asked WhatsApp to remove {len(people)} from {group}", readable=ctx.readable(group))


@tool(
    title="Set group admins",
    action=Action.SEND,
    calls=[f"POST {_GROUP}/admin/promote", f"POST {_GROUP}/admin/demote"],
    hints=SETS,
    toolset="groups_admin",
    # An admin adds people, and gives the link to others.
    reaches="everyone",
    opens=[{"admin": True}],
)
async def set_group_admins(
    group: GroupId,
    people: Members,
    admin: Annotated[bool, Field(description="False makes them ordinary members again")] = True,
    *,
    ctx: Context,
) -> Outcomes:
    """Make members of a group its admins, or ordinary members again."""
    operation = f"POST {_GROUP}/admin/promote" if admin else f"POST {_GROUP}/admin/demote"
    answer = await ctx.waha.call(operation, path={"id": group}, body=_body(people))
    return outcomes(
        answer,
        f"Asked WhatsApp to {'promote' if admin else 'demote'} {len(people)} in {group}",
        readable=ctx.readable(group),
    )


@tool(
    title="Decide on join requests",
    action=Action.SEND,
    calls=[f"POST {_GROUP}/participants/join-requests/{verb}" for verb in ("approve", "reject")],
    hints=SETS,
    toolset="groups_admin",
)
async def decide_join_requests(
    group: GroupId,
    people: Members,
    approved: Annotated[bool, Field(description="False turns them away")],
    *,
    ctx: Context,
) -> Outcomes:
    """Let in people who ask to join a group, or turn them away."""
    operation = f"POST {_GROUP}/participants/join-requests/{'approve' if approved else 'reject'}"
    answer = await ctx.waha.call(operation, path={"id": group}, body=_body(people))
    return outcomes(
        answer,
        f"{'Approved' if approved else 'Rejected'} {len(people)} requests to join {group}",
        readable=ctx.readable(group),
    )


@tool(
    title="Update a group",
    action=Action.SEND,
    calls=[f"PUT {_GROUP}/subject", f"PUT {_GROUP}/description"],
    hints=SETS,
    toolset="groups_admin",
    one_of=("subject", "description"),
)
async def update_group(
    group: GroupId,
    subject: Annotated[str, NotBlank, Field(min_length=1, max_length=100, description="New name")] | None = None,
    description: Annotated[str, Clears(), Field(max_length=2_048, description="New one; empty takes it away")]
    | None = None,
    *,
    ctx: Context,
) -> Done:
    """Change the name or the description of a group, one per call. Everybody there sees it."""
    what, text = ("subject", subject) if subject is not None else ("description", description)
    operation = f"PUT {_GROUP}/subject" if subject is not None else f"PUT {_GROUP}/description"
    answer = await ctx.waha.call(operation, path={"id": group}, body={what: text})
    return done(answer, f"Set the {what} of {group}")


@tool(
    title="Set group picture",
    action=Action.SEND,
    calls=[f"PUT {_GROUP}/picture"],
    hints=SETS,
    toolset="groups_admin",
    one_of=SOURCES,
)
async def set_group_picture(
    group: GroupId,
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    *,
    ctx: Context,
) -> Done:
    """Set the picture of a group, a JPEG at best. Give exactly one of url, data and path."""
    file = await outgoing_file(ctx, url=url, data=data, path=path, kind="image", default_type="image/jpeg")
    answer = await ctx.waha.call(f"PUT {_GROUP}/picture", path={"id": group}, body={"file": file})
    return done(answer, f"Set the picture of {group}")


@tool(
    title="Delete group picture",
    action=Action.SEND,
    calls=[f"DELETE {_GROUP}/picture"],
    hints=DESTROYS,
    toolset="groups_admin",
)
async def delete_group_picture(group: GroupId, *, ctx: Context) -> Done:
    """Take away the picture of a group."""
    answer = await ctx.waha.call(f"DELETE {_GROUP}/picture", path={"id": group})
    return done(answer, f"Took away the picture of {group}")


#: The settings that can be changed; which action `members_can_share_history` needs is not known.
_SETTABLE = {name: found for name, found in SETTINGS.items() if name != "members_can_share_history"}


@tool(
    title="Change a group setting",
    action=Action.SEND,
    calls=[f"PUT {_GROUP}/settings/security/{path}" for path, _ in _SETTABLE.values()],
    hints=SETS,
    toolset="groups_admin",
    reaches="everyone",
    opens=[{"setting": "members_can_add", "on": True}, {"setting": "approval_required", "on": False}],
)
async def set_group_setting(
    group: GroupId,
    setting: Annotated[
        Literal["only_admins_edit_info", "only_admins_send", "members_can_add", "approval_required"],
        Field(description="As get_group_settings names it"),
    ],
    on: Annotated[bool, Field(description="Whether it holds")],
    *,
    ctx: Context,
) -> Done:
    """Change what a group lets its members do. The account must be an admin there."""
    path, field = _SETTABLE[setting]
    answer = await ctx.waha.call(f"PUT {_GROUP}/settings/security/{path}", path={"id": group}, body={field: on})
    return done(answer, f"Set {setting} of {group} to {str(on).lower()}")


class NewLink(Result):
    group: BareChatId
    link: str | None = Field(None, description="Whoever has it can join; left out where the App may not read the group")


@tool(
    title="Revoke invite link",
    action=Action.SEND,
    calls=[f"POST {_GROUP}/invite-code/revoke"],
    hints=DESTROYS,
    toolset="groups_admin",
    # It gives a new link.
    reaches="everyone",
)
async def revoke_invite_link(group: GroupId, *, ctx: Context) -> NewLink:
    """Make the invite link of a group worthless and get a new one."""
    new = invite_link(await ctx.waha.call(f"POST {_GROUP}/invite-code/revoke", path={"id": group}), group)
    return NewLink(group=group, link=new.link if ctx.readable(group) else None)


@tool(title="Delete a group", action=Action.SEND, calls=[f"DELETE {_GROUP}"], hints=DESTROYS, toolset="groups_admin")
async def delete_group(group: GroupId, *, ctx: Context) -> Done:
    """Delete a group that the account owns."""
    return done(await ctx.waha.call(f"DELETE {_GROUP}", path={"id": group}), f"Deleted {group}")


@tool(
    title="Refresh groups",
    action=Action.SEND,
    calls=["POST /api/{session}/groups/refresh"],
    hints=SETS,
    toolset="groups_admin",
    reaches="nobody",
)
async def refresh_groups(*, ctx: Context) -> Done:
    """Have WAHA read all groups from WhatsApp anew, where its lists look wrong. Not often: WhatsApp limits it."""
    return done(await ctx.waha.call("POST /api/{session}/groups/refresh"), "Read the groups anew")
