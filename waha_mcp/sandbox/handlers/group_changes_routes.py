"""Changing groups: creating, joining, leaving, members, admins, settings, invite links, join requests."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.account import Group
from waha_mcp.sandbox.answers import Crash, bad_parameters, http_error
from waha_mcp.sandbox.doings import change_members
from waha_mcp.sandbox.handlers.groups_routes import existing
from waha_mcp.sandbox.handlers.lookups import as_chat_id
from waha_mcp.sandbox.handlers.sending_routes import media_from
from waha_mcp.sandbox.happenings import Change, GroupChanged, GroupEntered, GroupLeft
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.seed import invite_code

ADMINS = ("admin", "superadmin")


def administered(call: Call) -> Group:
    """The group, if the account may change it."""
    group = existing(call)
    if group.members.get(call.account.me.id) not in ADMINS:
        raise Crash("not-authorized")
    return group


def described(call: Call) -> Group:
    """The group, if the account may change its information."""
    group = existing(call)
    if call.account.me.id not in group.members:
        raise Crash("not-authorized")
    return administered(call) if group.info_admin_only else group


def members_of(call: Call) -> list[str]:
    """The people in the body, by their ids in a group."""
    people = [as_chat_id(each["id"]) for each in call.body["participants"]]
    return [found.id if (found := call.account.person(each)) else each for each in people]


def not_blank(text: str, what: str) -> None:
    """Refuse a blank text, as WAHA 2026.9 does.

    Raises:
        Refusal: 400.
    """
    if not text.strip():
        raise http_error(400, f"GOWS does not support empty group {what}.")


@handles("GroupsController_createGroup")
def create(call: Call) -> Any:
    not_blank(call.body["name"], "subject")
    account, now = call.account, int(call.sandbox.now())
    group_id = f"1203634{account.rng.randrange(10**10, 10**11)}@g.us"
    members = dict.fromkeys(members_of(call), "participant") | {account.me.id: "superadmin"}
    group = Group(group_id, call.body["name"], account.me.id, now, members, lids=True, invite=invite_code(account.rng))
    account.groups[group_id] = group
    account.invites[group.invite] = group
    account.chat(group_id, started=now)
    call.emit(GroupEntered(group, account.me.id))
    return call.engine.new_group(account, group)


def invited(call: Call, code: str) -> Group:
    group = call.account.invites.get(code.rstrip("/").rpartition("/")[2])
    if group is None:
        raise Crash("not-acceptable")
    return group


@handles("GroupsController_joinInfoGroup")
def join_info(call: Call) -> Any:
    return call.engine.invited_group(call.account, invited(call, call.query["code"]))


@handles("GroupsController_joinGroup")
def join(call: Call) -> Any:
    group, account = invited(call, call.body["code"]), call.account
    change_members(call.sandbox, call.session, account, group, account.me.id, [account.me.id], "join")
    return {"id": group.id}


@handles("GroupsController_leaveGroup")
def leave(call: Call) -> Any:
    """Remove the group from the lists; its chat stays, and its invite link still works."""
    _change(call, existing(call), [call.account.me.id], "leave")


@handles("GroupsController_deleteGroup")
def delete(call: Call) -> Any:
    """Remove the group, its chat and its invite link."""
    group = administered(call)
    del call.account.groups[group.id]
    call.account.invites.pop(group.invite, None)
    call.account.drop_chat(group.id)
    call.emit(GroupLeft(group, call.account.me.id))


def _change(call: Call, group: Group, people: list[str], change: Change) -> None:
    change_members(call.sandbox, call.session, call.account, group, call.account.me.id, people, change)


def _changed(call: Call, group: Group, *fields: str) -> None:
    """Report that a group's information has changed; `fields` are those of WAHA's `GroupInfo`."""
    call.emit(GroupChanged(group, call.account.me.id, fields))


@handles("GroupsController_setSubject")
def subject(call: Call) -> Any:
    not_blank(call.body["subject"], "subject")
    group = described(call)
    group.subject = call.body["subject"]
    _changed(call, group, "subject")
    return True


@handles("GroupsController_setDescription")
def description(call: Call) -> Any:
    if call.engine.name == "GOWS":
        not_blank(call.body["description"], "description")
    group = described(call)
    group.description = call.body["description"]
    _changed(call, group, "description")
    return True


@handles("GroupsController_setPicture", "GroupsController_deletePicture")
def picture(call: Call) -> Any:
    group = described(call)
    group.picture = call.operation.id == "GroupsController_setPicture"
    if group.picture:
        media_from(call.body["file"], "image/jpeg")
    _changed(call, group)
    return {"success": True}


#: operation suffix -> the group's field and the name of the value in bodies and answers
SETTINGS = {
    "InfoAdminOnly": ("info_admin_only", "adminsOnly"),
    "MessagesAdminOnly": ("messages_admin_only", "adminsOnly"),
    "MemberAddMode": ("members_can_add", "membersCanAddNewMember"),
    "MemberShareHistoryMode": ("share_history", "membersCanShareHistory"),
    "MembershipApprovalMode": ("approval", "newMembersApprovalRequired"),
}
#: the group's field -> that of `GroupInfo`, where it has one
TOLD = {
    "messages_admin_only": "membersCanSendMessages",
    "members_can_add": "membersCanAddNewMember",
    "approval": "newMembersApprovalRequired",
}


@handles(*(f"GroupsController_get{name}" for name in SETTINGS))
def setting(call: Call) -> Any:
    field, name = SETTINGS[call.operation.id.removeprefix("GroupsController_get")]
    return {name: getattr(existing(call), field)}


@handles(*(f"GroupsController_set{name}" for name in SETTINGS))
def set_setting(call: Call) -> Any:
    field, name = SETTINGS[call.operation.id.removeprefix("GroupsController_set")]
    if call.body.get(name) is None:
        raise bad_parameters([f"{name} must be a boolean value"])
    group = administered(call)
    setattr(group, field, call.body[name])
    _changed(call, group, *([TOLD[field]] if field in TOLD else []))
    return True


@handles("GroupsController_getInviteCode")
def invite(call: Call) -> Any:
    """The code as bare text."""
    return administered(call).invite


@handles("GroupsController_revokeInviteCode")
def revoke_invite(call: Call) -> Any:
    group, account = administered(call), call.account
    account.invites.pop(group.invite, None)
    group.invite = invite_code(account.rng)
    account.invites[group.invite] = group
    _changed(call, group, "invite")
    return group.invite


@handles("GroupsController_addParticipants")
def add(call: Call) -> Any:
    group = described(call) if existing(call).members_can_add else administered(call)
    people = members_of(call)
    _change(call, group, people, "join")
    return call.engine.participant_results(people, "add")


@handles("GroupsController_removeParticipants")
def remove(call: Call) -> Any:
    group, people = administered(call), members_of(call)
    _change(call, group, people, "leave")
    return call.engine.participant_results(people, "remove")


@handles("GroupsController_promoteToAdmin", "GroupsController_demoteToAdmin")
def change_role(call: Call) -> Any:
    group, people = administered(call), members_of(call)
    change: Change = "promote" if call.operation.id == "GroupsController_promoteToAdmin" else "demote"
    for each in people:
        if each not in group.members:
            raise http_error(404, f"{each} is not a participant")
    _change(call, group, people, change)
    return call.engine.participant_results(people, change)


@handles("GroupsController_getGroupJoinRequests")
def requests(call: Call) -> Any:
    group, account = administered(call), call.account
    return [call.engine.join_request(account, group, *request) for request in group.requests.items()]


@handles("GroupsController_approveGroupJoinRequests", "GroupsController_rejectGroupJoinRequests")
def decide(call: Call) -> Any:
    group, results = administered(call), []
    approve = call.operation.id == "GroupsController_approveGroupJoinRequests"
    for each in members_of(call):
        asked = group.requests.pop(each, None) is not None
        if asked and approve:
            _change(call, group, [each], "join")
        shown = call.engine.member_id(call.account, group, each)
        results.append({"requesterId": shown, "success": asked} | ({} if asked else {"error": 404}))
    return results
