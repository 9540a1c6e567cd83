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
    groups = list(call.account.groups.values())
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
    return {"count": len(call.account.groups)}


@handles("GroupsController_getGroup")
def one(call: Call) -> Any:
    """One group; an unknown one is null, so an empty body."""
    group = find(call)
    return None if group is None else call.engine.group(call.account, group)


@handles("GroupsController_getParticipants")
def participants(call: Call) -> Any:
    return call.engine.participants(call.account, existing(call))


@handles("GroupsController_getGroupParticipants")
def participants_v2(call: Call) -> Any:
    group = existing(call)
    return [
        {
            "id": call.engine.member_id(call.account, group, person_id),
            "pn": person_id if person_id.endswith("@c.us") else None,
            "role": role,
        }
        for person_id, role in group.members.items()
    ]


@handles("GroupsController_refreshGroups")
def refresh(call: Call) -> Any:
    return {"success": True}
