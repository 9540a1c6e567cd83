"""Reading groups; `group_changes_routes` changes them."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.account import Group
from waha_mcp.sandbox.answers import Crash
from waha_mcp.sandbox.registry import Call, handles, paged


def find(call: Call) -> Group | None:
    group_id = call.path["id"]
    return call.account.groups.get(group_id if "@" in group_id else f"{group_id}@g.us")


def existing(call: Call) -> Group:
    group = find(call)
    if group is None:
        raise Crash("item-not-found")
    return group


@handles("GroupsController_getGroups")
def every(call: Call) -> Any:
    query = call.query
    groups = call.engine.listed_groups(call.account)
    if query.get("sortBy"):
        by_id = query["sortBy"] == "id"
        groups.sort(key=lambda group: group.id if by_id else group.subject.casefold())
        if query.get("sortOrder") == "desc":
            groups.reverse()
    participants = "participants" not in query.get("exclude", [])
    listed = [call.engine.group(call.account, group, participants=participants) for group in paged(groups, query)]
    return call.engine.groups(listed)


@handles("GroupsController_getGroupsCount")
def count(call: Call) -> Any:
    return {"count": len(call.engine.listed_groups(call.account))}


@handles("GroupsController_getGroup")
def one(call: Call) -> Any:
    """One group; an unknown one is null on most engines, so an empty body."""
    return call.engine.one_group(call.account, find(call))


@handles("GroupsController_getParticipants")
def participants(call: Call) -> Any:
    return call.engine.participants(call.account, existing(call))


@handles("GroupsController_getGroupParticipants")
def participants_v2(call: Call) -> Any:
    return call.engine.members(call.account, existing(call))


@handles("GroupsController_refreshGroups")
def refresh(call: Call) -> Any:
    return {"success": True}
