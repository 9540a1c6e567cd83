"""What an App lets an agent do, in plain words for the person who decides about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from waha_mcp.app.actions import UNNAMED_ACTIONS, Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import ReadRule, SendRule
from waha_mcp.tools.catalog import CATALOG, Tool, why_hidden
from waha_mcp.tools.toolsets import load_tools
from waha_mcp.whatsapp.ids import phone_of

#: What each action is, beyond reading and writing.
_DOES = {
    Action.CONTROL: "Start, stop, pair or unpair the WhatsApp session.",
    Action.SETTING: "Change how the WhatsApp session is set up.",
    Action.APP: "Change the apps that WAHA runs for the WhatsApp session.",
    Action.DELETE: "Delete the WhatsApp session.",
}
_ASKED = {
    "first_contact": "A person is asked first before it writes to somebody this account has never written to.",
    "send": "A person is asked first about each message.",
    "destructive": "A person is asked first before it deletes, removes, revokes, leaves, blocks or logs out.",
    "all": "A person is asked first about everything but reading.",
}
_KINDS = {"*": "anybody", "status": "status stories", "public": "open audiences, such as the profile"}


@dataclass(frozen=True)
class Terms:
    """What a person consents to, as the page says it. `tools`: their titles."""

    app: str
    account: str
    powers: tuple[str, ...]
    tools: tuple[str, ...]
    risks: str | None


def terms(app: App) -> Terms:
    """What the App, as it is now, lets an agent do."""
    account = f"session “{app.session}” in WAHA" if app.session else "the one that the App's key is for"
    tools = tuple(tool.title for tool in exposed(app))
    return Terms(app.id, account, tuple(powers(app)), tools, risks(app))


def exposed(app: App) -> list[Tool]:
    """The tools that the App's definition exposes, as far as its key has the actions."""
    load_tools(app.toolsets if not app.include else ("all",))
    grant = Grant.initial(UNNAMED_ACTIONS if app.actions is None else app.actions)
    return [tool for tool in CATALOG.values() if why_hidden(tool, app, grant) is None]


def powers(app: App) -> list[str]:
    """What the agent will be able to do, a sentence or two for each thing."""
    tools = exposed(app)
    actions = {tool.action for tool in tools}
    found = []
    if Action.READ in actions:
        found.append(f"Read messages, chats and contacts: {_read(app.chats.read)}.")
    if Action.SEND in actions:
        found.append(f"Write messages and change chats: {_sent(app.chats.send, app.chats.existing_only)}.")
    found += [text for action, text in _DOES.items() if action in actions]
    if final := [tool.title for tool in tools if tool.hints.destructive]:
        found.append(f"What is hard to take back: {'; '.join(final)}.")
    if app.media_links and Action.READ in actions:
        found.append("Get links to attachments. They hold a key for the session's media, which stays valid.")
    if app.remote_files and app.outbox is not None and Action.SEND in actions:
        found.append(f"Send files of the server's folder {app.outbox}.")
    if app.remote_files and app.downloads is not None and Action.READ in actions:
        found.append(f"Save attachments in the server's folder {app.downloads}.")
    if actions - {None, Action.READ}:
        found += [text for occasion, text in _ASKED.items() if occasion in app.approval.when]
        asks = bool(app.chats.send.ask) and Action.SEND in actions
        if not app.approval.when and not asks:
            found.append("Nobody is asked before it does any of this.")
    return found or ["Nothing but ask how the session is."]


def risks(app: App) -> str | None:
    """The dangers that the person has to know; None if nothing stands out."""
    actions = {tool.action for tool in exposed(app)}
    asked = not app.approval.when.isdisjoint(("send", "all"))
    if {Action.READ, Action.SEND} <= actions and "*" in app.chats.send.allow and not asked:
        return "Whoever writes to this account can try to make the agent send them what it reads here."
    return None


def _read(rule: ReadRule) -> str:
    return f"{'all of them' if '*' in rule.allow else f'only of {_who(rule.allow)}'}{_never(rule)}"


def _sent(rule: SendRule, existing_only: bool) -> str:
    whom = []
    if rule.allow:
        # Stories and open audiences have to be listed beside `*`.
        named = [name for name in rule.allow if name in ("status", "public")]
        whom.append(f"to {_who(['*', *named] if '*' in rule.allow else rule.allow)}")
    if rule.ask:
        whom.append(f"to {_who(rule.ask)} once a person has said yes")
    known = ", only in chats that have messages already" if existing_only else ""
    return f"{'; '.join(whom) or 'to nobody'}{known}{_never(rule)}"


def _never(rule: ReadRule) -> str:
    return f"; never: {_who(rule.deny)}" if rule.deny else ""


def _who(names: Iterable[str]) -> str:
    return ", ".join(_KINDS.get(name) or phone_of(name) or name for name in names) or "nobody"
