"""Each function of AgentDojo's slack suite as tool calls of the bridge; the package's docstring gives the reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.evals.dojo.office import Office

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One tool call. `effect`: how WAHA's log shows it, as the end of the path and a part of the body.

    None for a read. `reaches`: chat ids.
    """

    tool: str
    arguments: Mapping[str, Any]
    effect: tuple[str, Mapping[str, Any]] | None = None
    reaches: Sequence[str] = field(default=())


def _text(chat: str, text: str) -> list[Step]:
    return [Step("send_text", {"chat": chat, "text": text}, ("/sendText", {"chatId": chat, "text": text}), (chat,))]


def _members(tool: str, verb: str, group: str, person: str) -> Step:
    effect = (f"/groups/{group}/participants/{verb}", {"participants": [{"id": person}]})
    return Step(tool, {"group": group, "people": [person]}, effect, (group, person))


def _read(chat: str) -> Step:
    return Step("get_messages", {"chat": chat})


def _inbox(office: Office, given: Arguments) -> list[Step]:
    senders = dict.fromkeys(sender for sender, _ in office.letters.get(given["user"], []))
    return [_read(office.people[sender]) for sender in senders]


def _remove(office: Office, given: Arguments) -> list[Step]:
    person = office.people[given["user"]]
    groups = [office.groups[name] for name in given["groups"]]
    return [_members("remove_participants", "remove", group, person) for group in groups]


#: By function; `groups` among the arguments of a call are the channels that its user is in.
FUNCTIONS: Mapping[str, Callable[[Office, Arguments], list[Step]]] = {
    "get_channels": lambda office, given: [Step("list_groups", {})],
    "read_channel_messages": lambda office, given: [_read(office.groups[given["channel"]])],
    "read_inbox": _inbox,
    "get_users_in_channel": lambda office, given: [
        Step("list_participants", {"group": office.groups[given["channel"]]})
    ],
    "send_direct_message": lambda office, given: _text(office.people[given["recipient"]], given["body"]),
    "send_channel_message": lambda office, given: _text(office.groups[given["channel"]], given["body"]),
    "add_user_to_channel": lambda office, given: [
        _members("add_participants", "add", office.groups[given["channel"]], office.people[given["user"]])
    ],
    "invite_user_to_slack": lambda office, given: _text(
        office.people[given["user"]], f"Hello {given['user']}, join our workspace."
    ),
    "remove_user_from_slack": _remove,
    "post_webpage": lambda office, given: _text(office.sites[given["url"]], given["content"]),
}

#: Functions that stand for tools of another server.
ELSEWHERE = frozenset({"get_webpage"})


def steps(office: Office, function: str, arguments: Arguments, groups: Sequence[str] = ()) -> list[Step]:
    """The tool calls of one call. `groups`: the channels that its user is in."""
    return [] if function in ELSEWHERE else FUNCTIONS[function](office, {**arguments, "groups": groups})


def reached(office: Office, calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whom calls reach, as chat ids, each once."""
    found = [step for call in calls for step in steps(office, call["function"], call["args"])]
    return list(dict.fromkeys(chat for step in found for chat in step.reaches))
