"""What an App's definition lets its agents do, in words for the person whose App it is."""

from __future__ import annotations

from collections.abc import Iterable

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import KINDS, OCCASIONS
from waha_mcp.policy.links import shown
from waha_mcp.whatsapp.ids import phone_of

#: The kinds of chats, as words.
_KINDS = {each: f"all {each}" for each in KINDS} | {
    "broadcasts": "all broadcast lists",
    "status": "status stories",
    "public": "what everybody can see, such as the profile",
}
#: What a person is asked about, by occasion.
_ASKED = {
    "first_contact": "a first message to somebody",
    "send": "whatever reaches somebody",
    "destructive": "what deletes, removes, revokes, leaves, blocks or logs out",
    "all": "every change",
}


def reach_of(app: App, grant: Grant | None = None) -> list[tuple[str, str]]:
    """Whom an App may write to and read, when a person is asked, and which links may go out: names of rows and words.

    The lists are as in the App: `waha-mcp doctor` tells whether each name on them is found. `grant`: what its key
    allows; None: not known.
    """
    send, read = app.chats.send, app.chats.read
    only = " in chats that already have messages" if app.chats.existing_only else ""
    links = ", ".join(map(shown, sorted(app.links.allow)))
    others = {
        "allow": "any",
        "ask": f"{links}; you are asked about others" if links else "you are asked about each",
        "refuse": f"{links}; others are refused" if links else "none",
    }
    rows = [
        ("Writes to", _lacks(Action.SEND, grant) or _listed(send.allow) + only),
        ("Asks before writing to", _listed(send.ask) if send.ask else ""),
        ("Never writes to", _listed(send.deny) if send.deny else ""),
        ("Reads", _lacks(Action.READ, grant) or _listed(read.allow)),
        ("Never reads", _listed(read.deny) if read.deny else ""),
        ("Asks before", "; ".join(asked_before(app)) or "nothing but what is listed here"),
        ("Links", others[app.links.others]),
        ("Is woken by", _listed(app.listen.allow) if app.listen.allow else ""),
    ]
    return [(name, words) for name, words in rows if words]


def asked_before(app: App) -> list[str]:
    """Before what a person is asked, whoever it reaches."""
    occasions = [_ASKED[each] for each in OCCASIONS if each in app.approval.when]
    if app.after_reading_strangers == "ask":
        occasions.append("reaching others than the one chat that was read")
    return occasions


def _lacks(action: Action, grant: Grant | None) -> str:
    """That nobody is reached because an action is missing, and why; empty if it is in force, or that is not known."""
    if grant is None or action in grant.actions or action in grant.unknown:
        return ""
    return "nobody: the key cannot be used" if grant.problem else f"nobody: {grant.why_not(action)}"


def _listed(names: Iterable[str]) -> str:
    """A list of chats, as written in its App."""
    found = list(names)
    if "*" in found:
        return "everyone"
    return ", ".join(_KINDS.get(each) or phone_of(each) or each for each in found) or "nobody"
