"""Task grants: a person opens a window for one App in which messages to named chats are sent without a question.

A grant skips the question and nothing else. The store has one row per App, key and chat, which records whom the person
was shown. A newer grant replaces an older one and does not add to it. Each effect takes one message from the grant of
every chat it reaches, by compare-and-swap, so that processes together cannot exceed it. An invalid row counts as no
grant. The functions block and may raise StoreAway.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from waha_mcp.app.actions import Action
from waha_mcp.policy.approval import Approvals
from waha_mcp.policy.audit import Trail, trail_path
from waha_mcp.policy.question import clock
from waha_mcp.policy.recipients import kind
from waha_mcp.store import ASTRAY, Store, put, remove
from waha_mcp.tools.catalog import Tool

#: The longest and the shortest time in seconds, and the most messages per chat. The longest and the most are the
#: defaults.
MOST_SECONDS, LEAST_SECONDS, MOST_MESSAGES = 1_800.0, 60.0, 5
#: The kinds of chats that can have grants.
KINDS = ("people", "groups")
#: The toolsets whose tools send, change or mark messages of a chat, and do nothing else to it.
_TOOLSETS = ("core", "messages")
#: Keys are `<App.identity>/<chat id>`.
_TABLE = "task_grant"


@dataclass(frozen=True)
class TaskGrant:
    """The grant of one App for one chat."""

    #: `App.identity` of its App.
    identity: str
    chat: str
    #: The chat as shown to the person who gave it: name, number, count of members.
    shown: str
    #: When it was given and when a message was last taken, in Unix seconds of the store's clock.
    created: float
    used: float
    #: Its duration in seconds.
    seconds: float
    #: Messages left.
    left: int
    #: Digest of a group's members (`Person.who`); empty: no group, or not known.
    who: str = ""

    @property
    def app_id(self) -> str:
        """The id of its App."""
        return self.identity.partition("/")[0]

    @property
    def expires(self) -> float:
        """Its end, in Unix seconds."""
        return self.created + self.seconds

    @property
    def text(self) -> str:
        """To whom, how many and until when, in a few words."""
        return f"{self.shown}: {_messages(self.left)} left until {clock(self.expires)}"

    @property
    def key(self) -> str:
        """Its key in the store."""
        return f"{self.identity}/{self.chat}"


def amount(messages: int = MOST_MESSAGES, seconds: float = MOST_SECONDS) -> str:
    """The size of a grant in words; by default the largest."""
    return f"{_messages(messages)} in {seconds / 60:.0f} min"


def _messages(number: int) -> str:
    return f"{number} message{'s' * (number != 1)}"


def covers(tool: Tool) -> bool:
    """Whether grants cover a tool: it sends a message, or something as small, to the chats that it names."""
    return (
        tool.toolset in _TOOLSETS
        and tool.action is Action.SEND
        and tool.reaches_chats
        and tool.reaches is None
        and not tool.hints.destructive
        and not tool.saved_names
    )


def may_be_given(chats: Iterable[str]) -> bool:
    """Whether all these chats, at least one, can have grants."""
    kinds = set(map(kind, chats))
    return bool(kinds) and kinds.issubset(KINDS)


def give(
    store: Store,
    identity: str,
    chats: Mapping[str, str],
    seconds: float = MOST_SECONDS,
    messages: int = MOST_MESSAGES,
    who: Mapping[str, str] | None = None,
) -> list[TaskGrant]:
    """Open a window for these chats: `messages` to each, for `seconds`. Only an action of a person may lead here.

    `identity`: `App.identity`. `chats`: id of a person (the number, if known) or group to the text shown to the person
    who gives the grant. `who`: digests of the members of the groups among them (`Person.who`).

    Raises:
        ValueError: a limit is exceeded, or a chat is neither a person nor a group.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS or not 1 <= messages <= MOST_MESSAGES or not may_be_given(chats):
        raise ValueError(f"a task grant is for people and groups, {amount()} at most")
    now, who = store.now(), who or {}
    given = [
        TaskGrant(identity, chat, shown, now, now, seconds, messages, who.get(chat, ""))
        for chat, shown in chats.items()
    ]
    for grant in given:
        put(store, _TABLE, grant.key, _written(grant), expires=grant.expires)
    store.flush()
    return given


def in_force(store: Store, of: str | None = None) -> list[TaskGrant]:
    """The grants with messages left, in order of creation. `of`: an App's id or identity; None: all Apps."""
    found = [_read(row.key, row.value, store.now()) for row in store.rows(_TABLE, _prefix(of))]
    return [grant for grant in found if grant is not None and grant.left]


def open_for(store: Store, identity: str, chats: Collection[str], *, left: int = 1) -> bool:
    """Whether each of these chats has a grant in force with at least `left` messages."""
    found = [_found(store, identity, chat)[1] for chat in chats]
    return bool(found) and all(grant is not None and grant.left >= left for grant in found)


def take(
    store: Store, identity: str, chats: Mapping[str, str], who: Mapping[str, str] | None = None
) -> tuple[TaskGrant, ...]:
    """Take one message from the grant of each chat; the grants, or none at all if any chat is not covered.

    `chats` and `who` as in `give`, with their current values: a grant covers only what was shown.
    """
    taken: list[TaskGrant] = []
    for chat, shown in chats.items():
        grant = _take(store, identity, chat, shown, (who or {}).get(chat, ""))
        if grant is None:
            give_back(store, taken)
            return ()
        taken.append(grant)
    return tuple(taken)


def _take(store: Store, identity: str, chat: str, shown: str, who: str) -> TaskGrant | None:
    while True:
        row, grant = _found(store, identity, chat)
        if grant is None or grant.left < 1 or grant.shown != shown or grant.who not in ("", who):
            return None
        after = replace(grant, left=grant.left - 1, used=store.now())
        if store.swap(_TABLE, grant.key, row, _written(after), expires=grant.expires):
            return after


def give_back(store: Store, taken: Iterable[TaskGrant]) -> None:
    """Return one message to each of these grants, as none was sent. Grants given or ended since are left alone."""
    for each in taken:
        while True:
            row, grant = _found(store, each.identity, each.chat)
            if grant is None or grant.created != each.created or grant.left >= MOST_MESSAGES:
                break
            if store.swap(_TABLE, grant.key, row, _written(replace(grant, left=grant.left + 1)), expires=grant.expires):
                break


def end(store: Store, app_id: str | None = None, about: Callable[[TaskGrant], bool] | None = None) -> list[TaskGrant]:
    """End the grants of an App, or of all Apps; return those with messages left. `about`: only those it accepts.

    Without `about`, invalid rows are deleted, too.
    """
    ended = []
    for row in store.rows(_TABLE, _prefix(app_id)):
        grant = _read(row.key, row.value, store.now())
        wanted = about is None or (grant is not None and about(grant))
        if wanted and remove(store, _TABLE, row.key) and grant is not None and grant.left:
            ended.append(grant)
    store.flush()
    return ended


def allow_for_a_while(approvals: Approvals, store: Store, entry_id: str) -> bool:
    """Approve a waiting question and open a window for the chats it reaches; False if that is not possible.

    `approvals`: those of the question's App.
    """
    waiting = (each for each in approvals.entries() if each.id == entry_id and each.state == "waiting")
    question = next((each.question for each in waiting), None)
    if question is None or not (question.open_to and question.identity) or not approvals.decide(entry_id, approve=True):
        return False
    given = give(store, question.identity, question.open_to, who=question.who)
    if trail_path(question.app).exists():
        note("given", given, "the console")
    return True


def note(what: Literal["given", "ended"], grants: Sequence[TaskGrant], client: str) -> None:
    """Write a line to the trail of these grants' App. Blocks. `client`: where the person did it."""
    if not grants:
        return
    line: dict[str, Any] = {"client": client, "chats": [each.chat for each in grants]}
    line["decision"] = f"task grant {what} by the user"
    line["of"] = amount(grants[0].left, grants[0].seconds)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    Trail(grants[0].app_id).write_now({"time": now, **line, "outcome": "done"})


def forget(store: Store, prefix: str, about: Callable[[str], bool]) -> int:
    """Delete the grants whose chat and text `about` accepts; return how many. `prefix`: of the keys in the store."""
    found = (row for row in store.rows(_TABLE, prefix) if about(f"{row.key.rpartition('/')[2]} {row.value}"))
    return sum(remove(store, _TABLE, row.key) for row in found)


def _prefix(of: str | None) -> str:
    return "" if of is None else f"{of}/"


def _found(store: Store, identity: str, chat: str) -> tuple[str | None, TaskGrant | None]:
    """The row of a chat, and its grant if that is in force."""
    key = f"{identity}/{chat}"
    row = store.get(_TABLE, key)
    return row, None if row is None else _read(key, row, store.now())


def _written(grant: TaskGrant) -> str:
    return json.dumps(
        {name: getattr(grant, name) for name in ("shown", "created", "used", "seconds", "left", "who")},
        ensure_ascii=False,
    )


def _read(key: str, text: str, now: float) -> TaskGrant | None:
    """The grant in a row, if it is in force: not expired, not from the future, and within the limits."""
    identity, _, chat = key.rpartition("/")
    try:
        grant = TaskGrant(identity, chat, **json.loads(text))
        good = (
            isinstance(grant.shown, str)
            and isinstance(grant.who, str)
            and type(grant.left) is int
            and 0 <= grant.left <= MOST_MESSAGES
            and 0 < grant.seconds <= MOST_SECONDS
            # A clock that was set back would extend it.
            and max(grant.created, grant.used) - ASTRAY <= now < grant.expires
        )
    except (ValueError, TypeError):
        return None
    return grant if good else None
