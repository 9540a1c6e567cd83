"""Incoming activity on demand: messages, calls, groups, others' actions on messages, and scripts of all these.

Every function takes the JSON of a request to one of the sandbox's own routes. Invalid ones raise ValueError, KeyError
or TypeError.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from waha_mcp.sandbox import doings
from waha_mcp.sandbox.account import ACKS, Account, Group, Media, Message, Person
from waha_mcp.sandbox.handlers.lookups import find_message
from waha_mcp.sandbox.happenings import CallEnded, CallStarted, GroupChanged, GroupEntered
from waha_mcp.sandbox.sample_files import sample
from waha_mcp.sandbox.seed import invite_code
from waha_mcp.sandbox.state import Sandbox, Session

Wish = dict[str, Any]
#: The chat that a flood of messages comes from, unless another one is given.
FLOODED_CHAT = "447700900142@c.us"


def _place(sandbox: Sandbox, wish: Wish) -> tuple[Session, Account]:
    session = sandbox.sessions[wish.get("session", "default")]
    if session.account is None:
        raise ValueError("the session is not paired")
    return session, session.account


def _author(account: Account, chat_id: str, author: str | None) -> str:
    """The person acting in a chat, in the id form that the chat uses; an unknown person is added."""
    author = author or chat_id
    person = account.person(author)
    if person is None and author.endswith(("@c.us", "@lid")):
        person = account.add_person(Person(author))
    group = account.groups.get(chat_id)
    return person.lid if group is not None and group.lids and person is not None and person.lid else author


def _message(account: Account, wish: Wish) -> Message:
    found = find_message(account, wish["messageId"])
    if found is None:
        raise ValueError(f"no message {wish['messageId']!r}")
    return found


def receive_message(sandbox: Sandbox, wish: Wish) -> Any:
    """A message from somebody else arrives, or one's own from the phone; with a file if it has a `mimetype`."""
    session, account = _place(sandbox, wish)
    chat_id, mine = wish["chatId"], bool(wish.get("fromMe"))
    if mine and chat_id.endswith("@lid"):
        author = account.me.lid or account.me.id
    else:
        author = _author(account, chat_id, account.me.id if mine else wish.get("from"))
    person = account.person(author)
    if person is not None and "pushName" in wish:
        person.push_name = wish["pushName"]
    content = dict(wish.get("content", {}))
    file = _file(wish)
    message = Message(
        id=wish.get("id") or account.new_id(from_me=mine),
        chat=chat_id,
        from_me=mine,
        author=author,
        time=int(wish.get("timestamp") or time.time()),
        text=wish["text"],
        kind=content.pop("kind", "text" if file is None else _kind_of(file)),
        media=file,
        ack=1 if mine else 2,
        quoted=wish.get("replyTo"),
        mentions=tuple(wish.get("mentions", ())),
        extra=content or None,
        forwarded=bool(wish.get("forwarded")),
        timer=int(wish.get("timer", 0)),
        raw=wish.get("raw"),
    )
    doings.arrive(sandbox, session, account, message, wish.get("told", [0]))
    return {"id": sandbox.engine.message_id(account, message)}


def _file(wish: Wish) -> Media | None:
    mimetype, data = wish.get("mimetype"), wish.get("data")
    if mimetype is None:
        return None
    return Media(mimetype, sample(mimetype) if data is None else base64.b64decode(data), wish.get("filename"))


def _kind_of(file: Media) -> str:
    kind = file.mimetype.partition("/")[0].replace("audio", "voice")
    return kind if kind in ("image", "video", "voice") else "document"


def flood(sandbox: Sandbox, count: int, chat_id: str) -> None:
    """Many messages at once, numbered from 1."""
    for number in range(1, count + 1):
        receive_message(sandbox, {"chatId": chat_id, "text": f"Flood {number}"})


def receive_group(sandbox: Sandbox, wish: Wish) -> Any:
    """Somebody else creates a group and adds the account, or has an invite link for it if it is only `invited`."""
    session, account = _place(sandbox, wish)
    owner, now = wish["from"], int(time.time())
    if account.person(owner) is None:
        account.add_person(Person(owner))
    group_id = f"1203635{account.rng.randrange(10**10, 10**11)}@g.us"
    group = Group(group_id, wish["subject"], owner, now, {owner: "superadmin"}, invite=invite_code(account.rng))
    account.invites[group.invite] = group
    if not wish.get("invited"):
        group.members[account.me.id] = "participant"
        account.groups[group_id] = group
        account.chat(group_id, started=now)
        sandbox.emit(session, GroupEntered(group, owner))
    return {"id": group_id, "invite": group.invite}


def receive_call(sandbox: Sandbox, wish: Wish) -> Any:
    """Somebody calls; the call rings until it is rejected or ended."""
    session, account = _place(sandbox, wish)
    call_id = account.new_id(from_me=False)
    account.calls[call_id] = wish["from"]
    sandbox.emit(session, CallStarted(call_id, wish["from"]))
    return {"id": call_id}


# Others' actions on existing messages and chats


def _edited(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    doings.edit(sandbox, session, _message(account, wish), wish["text"])


def _revoked(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    message = _message(account, wish)
    by = wish.get("from")
    doings.revoke(sandbox, session, message, _author(account, message.chat, by) if by else message.author)


def _reaction(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    message = _message(account, wish)
    by = _author(account, message.chat, wish.get("from"))
    doings.react(sandbox, session, account, message, by, wish["reaction"])


def _ack(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    message, ack = _message(account, wish), wish["ack"]
    if not message.from_me or ack not in ACKS:
        raise ValueError(f"only own messages are acknowledged, with one of {', '.join(map(str, ACKS))}")
    doings.acknowledge(sandbox, session, message, ack, _author(account, message.chat, wish.get("from")))


def _read(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    doings.read(sandbox, session, account.joined(wish["chatId"], merged=sandbox.engine.merges))


def _presence(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    if wish["presence"] not in doings.PRESENCES:
        raise ValueError(f"presence must be one of {', '.join(doings.PRESENCES)}")
    person = _author(account, wish["chatId"], wish.get("from"))
    doings.show_presence(sandbox, session, account, wish["chatId"], person, wish["presence"])


def _vote(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    poll = _message(account, wish)
    if poll.kind != "poll" or poll.extra is None or not set(wish["votes"]) <= set(poll.extra["options"]):
        raise ValueError("votes must be options of a poll")
    doings.vote(sandbox, session, account, poll, _author(account, poll.chat, wish.get("from")), wish["votes"])


def _group(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    group = account.groups.get(wish["chatId"])
    if group is None:
        raise ValueError(f"no group {wish['chatId']!r}")
    by = wish.get("from") or group.owner
    if "change" in wish:
        if wish["change"] not in doings.CHANGES:
            raise ValueError(f"change must be one of {', '.join(doings.CHANGES)}")
        for each in wish["people"]:
            _author(account, each, None)
        doings.change_members(sandbox, session, account, group, by, wish["people"], wish["change"])
    fields = tuple(each for each in ("subject", "description") if each in wish)
    for each in fields:
        setattr(group, each, wish[each])
    if fields:
        sandbox.emit(session, GroupChanged(group, by, fields))


def _call_ended(sandbox: Sandbox, session: Session, account: Account, wish: Wish) -> None:
    caller = account.calls.pop(wish["callId"], None)
    if caller is None:
        raise ValueError(f"no call {wish['callId']!r}")
    sandbox.emit(session, CallEnded(wish["callId"], caller, by_me=False))


#: The kinds of events, and their required fields.
KINDS: dict[str, tuple[Callable[[Sandbox, Session, Account, Wish], None], tuple[str, ...]]] = {
    "edited": (_edited, ("messageId", "text")),
    "revoked": (_revoked, ("messageId",)),
    "reaction": (_reaction, ("messageId", "reaction")),
    "ack": (_ack, ("messageId", "ack")),
    "read": (_read, ("chatId",)),
    "presence": (_presence, ("chatId", "presence")),
    "vote": (_vote, ("messageId", "votes")),
    "group": (_group, ("chatId",)),
    "call_ended": (_call_ended, ("callId",)),
}


def happen(sandbox: Sandbox, wish: Wish) -> Any:
    """Something other than a message happens."""
    _check(wish)
    act, _ = KINDS[wish["kind"]]
    act(sandbox, *_place(sandbox, wish), wish)
    return {"kind": wish["kind"]}


def _check(wish: Wish) -> None:
    kind = wish.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    _need(wish, *KINDS[kind][1])


def _need(wish: Wish, *fields: str) -> None:
    missing = [each for each in fields if each not in wish]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be given")


def play(sandbox: Sandbox, wish: Wish) -> Any:
    """Play lines in sequence, each `after` seconds after the one before, with the last `typing` seconds spent typing.

    A line with a `kind` is an event for `happen`, any other a message.
    """
    told = {"session": wish.get("session", "default")}
    lines = [told | line for line in wish["lines"]]
    at = 0.0
    for line in lines:
        if "kind" in line:
            _check(line)
        else:
            _need(line, "chatId", "text")
    at = 0.0
    for line in lines:
        at += float(line.get("after", 0))
        if line.get("typing"):
            typing = line | {"kind": "presence", "presence": "typing"}
            sandbox.later(max(at - float(line["typing"]), 0.0), partial(happen, sandbox, typing))
        sandbox.later(at, partial(happen if "kind" in line else receive_message, sandbox, line))
    return {"lines": len(lines), "seconds": at}
