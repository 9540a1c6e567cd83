"""`waha-mcp init`: sets up an App on a running WAHA and installs it in hosts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from waha_mcp.app.actions import Action, parse_action
from waha_mcp.app.definition import DEFAULT_URL, config_dir, load_app, split_names
from waha_mcp.cli.admin import AdminKeyFile, admin_key, interactive, run
from waha_mcp.cli.common import Failure
from waha_mcp.cli.install import add_entry, choose_offers, find_host, launch_for

if TYPE_CHECKING:
    from waha_mcp.cli.setup import Plan
    from waha_mcp.hosts.table import Host
    from waha_mcp.waha.admin_api import Admin, SessionInfo

#: Choices of what an agent may do: (name, actions, description).
_CHOICES = (
    ("read", (Action.READ,), "read chats, contacts and groups; write to nobody"),
    ("reply", (Action.READ, Action.SEND), "read, and write: messages, groups, contacts, the profile"),
    ("notify", (Action.SEND,), "write, and read nothing"),
)
#: Seconds to wait for a phone to scan the QR code, and between two polls.
_PAIRING_LIMIT, _PAIRING_PAUSE = 120.0, 2.0


def init(
    url: Annotated[str | None, typer.Option(help="WAHA's URL.", show_default="asks")] = None,
    admin_key_file: AdminKeyFile = None,
    session: Annotated[str | None, typer.Option(help="WhatsApp session.", show_default="asks, or the only one")] = None,
    actions: Annotated[
        str | None, typer.Option(help="What the agent may do: read, reply, notify, or actions such as read,send.")
    ] = None,
    app: Annotated[str | None, typer.Option("--id", help="Id of the App, here and on WAHA.")] = None,
    host: Annotated[
        list[str] | None, typer.Option("--install", help="Host to add the entry to, or none; may be repeated.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates (PEM) to check WAHA's https against.")] = None,
    allow_insecure_http: Annotated[
        bool, typer.Option("--allow-insecure-http", help="Plain http to a host outside private networks.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: defaults for what no flag says.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Look, and print what would be done.")] = False,
) -> None:
    """Make an MCP App with a key of its own for an agent, and install it. Run again, it updates the same App.

    Every question is also a flag. The admin key is used once and stored nowhere; the agent's key goes into the
    operating system's keyring, or a file that only you can read.

    Example: waha-mcp init --url http://localhost:3000 --actions read --id reader --install claude-desktop
    """
    ask = interactive() and not yes
    url = _url(url, ask)
    way: dict[str, object] = {"ca_file": str(ca_file.absolute())} if ca_file else {}
    way |= {"allow_insecure_http": True} if allow_insecure_http else {}
    # Validate the URL before a key is sent, so that none is sent unencrypted.
    url = load_app(overrides={"url": url, "key": "unknown-yet"} | way, environ={}).url
    key = admin_key(admin_key_file)
    hosts = [find_host(name) for name in host or [] if name != "none"]

    async def set_up() -> tuple[Plan, Path | None]:
        from waha_mcp.cli.setup import Plan, make
        from waha_mcp.waha.admin_api import Admin

        async with Admin(load_app(overrides={"url": url, "key": key} | way, environ={})) as admin:
            await admin.check()
            chosen = _session(await admin.sessions(), session, ask)
            if chosen.status == "SCAN_QR_CODE":
                await _pair(admin, chosen.name, ask and not dry_run)
            plan = Plan(_id(app, ask), url, chosen.name, _actions(actions, ask), way=way)
            _tell(plan)
            if dry_run:
                return plan, None
            if ask and not typer.confirm("Go ahead?", default=True):
                raise Failure("nothing was changed", code=1)
            path, minted = await make(admin, plan, config_dir())
            made = "MCP App" if minted.app else "scoped key (this WAHA has no apps switched on)"
            print(f"\nWAHA made the {made} '{minted.id}'. Asked with its key, WAHA allows just that.")
            print(f"The App is {path}; its key is kept apart from it.")
            return plan, path

    plan, path = run(set_up)
    if path is None:
        _show_dry(plan)
        return
    if ask and host is None:
        hosts = _hosts()
    for record in hosts:
        add_entry(record, launch_for(record, str(path)), None, offers=choose_offers(record, None, ask))
    print(f"\nSee what the agent sees: waha-mcp tools --app {plan.id}")
    if not hosts:
        print(f"Add it to a client:      waha-mcp install HOST --app {plan.id}")
    print("Something amiss:         waha-mcp doctor")


def _url(given: str | None, ask: bool) -> str:
    given = given or os.environ.get("WAHA_URL") or None
    if given is None:
        given = typer.prompt("WAHA's URL", default=DEFAULT_URL) if ask else DEFAULT_URL
    return given.strip()


def _session(sessions: list[SessionInfo], wanted: str | None, ask: bool) -> SessionInfo:
    if not sessions:
        raise Failure("WAHA has no session yet: create one in its dashboard (Sessions, Start New)", code=1)
    names = [each.name for each in sessions]
    if wanted is None:
        print("\nSessions:")
        for each in sessions:
            who = f"  {each.push_name or ''} +{each.phone.lstrip('+')}" if each.phone else ""
            print(f"  {each.name:<20} {each.status}{who}")
        working = [each.name for each in sessions if each.status == "WORKING"]
        default = names[0] if len(names) == 1 else working[0] if len(working) == 1 else None
        if ask and len(names) > 1:
            wanted = typer.prompt("Which session", default=default)
        elif default is None:
            raise Failure(f"several sessions ({', '.join(names)}): choose one with --session")
        else:
            wanted = default
    found = next((each for each in sessions if each.name == wanted), None)
    if found is None:
        raise Failure(f"no session '{wanted}': WAHA has {', '.join(names)}")
    return found


async def _pair(admin: Admin, session: str, wait: bool) -> None:
    """Show the QR code of a session until a phone has scanned it."""
    import segno

    shown = None
    with anyio.move_on_after(_PAIRING_LIMIT) as limit:
        while True:
            code = await admin.qr(session)
            if code and code != shown:
                print(f"\nSession '{session}' waits to be paired: scan this in WhatsApp under Linked devices.\n")
                segno.make(code, error="L").terminal(compact=True)
                shown = code
            if not wait:
                return
            await anyio.sleep(_PAIRING_PAUSE)
            status = next((each.status for each in await admin.sessions() if each.name == session), "")
            if status != "SCAN_QR_CODE":
                print(f"Session '{session}' is {status} now.")
                return
    if limit.cancelled_caught:
        print("Not scanned yet: the App is made all the same and works once the session is paired.")


def _actions(given: str | None, ask: bool) -> frozenset[Action]:
    if given is None and ask:
        print("\nWhat may the agent do?")
        for number, (name, _, meaning) in enumerate(_CHOICES, 1):
            print(f"  {number}  {name:<8} {meaning}")
        print(f"  or actions by name: {', '.join(Action)}")
        given = typer.prompt("Choose", default="1")
    return chosen_actions(given or "read")


def chosen_actions(given: str) -> frozenset[Action]:
    """Parse a number or name of `_CHOICES`, or names of actions.

    Raises:
        Failure: none of these.
    """
    given = given.strip()
    for number, (name, choice, _) in enumerate(_CHOICES, 1):
        if given in (str(number), name):
            # "read" is also the name of an action, with the same meaning.
            return frozenset(choice)
    try:
        found = frozenset(map(parse_action, split_names(given)))
    except ValueError as error:
        raise Failure(f"{error} (or one of {', '.join(name for name, _, _ in _CHOICES)})") from None
    if not found:
        raise Failure("an agent without any action can do nothing: name at least one")
    return found


def _id(given: str | None, ask: bool) -> str:
    if given is None:
        given = typer.prompt("Name for this App", default="assistant") if ask else "assistant"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", given):
        raise Failure(f"'{given}' is no id: use letters, digits, - and _")
    return given


def _tell(plan: Plan) -> None:
    print(f"\nApp '{plan.id}': session {plan.session} on {plan.url}, actions {', '.join(plan.fields()['actions'])}.")
    if plan.actions >= {Action.READ, Action.SEND}:
        print(
            "Whoever writes to this account can try to steer an agent that reads and sends: "
            "limit whom it may reach under [chats] in the App."
        )


def _show_dry(plan: Plan) -> None:
    import tomlkit

    print(f"\nNothing was changed. WAHA would make or update the MCP App '{plan.id}', and this would be written to")
    print(f"{config_dir() / plan.id}.toml, with a reference to the key:\n")
    print(tomlkit.dumps(plan.fields()).rstrip())


def _hosts() -> list[Host]:
    from waha_mcp.hosts.table import HOSTS

    there = [name for name, host in HOSTS.items() if host.file().parent.is_dir()]
    print(f"\nAdd it to a client? {', '.join(HOSTS)}" + (f" (found here: {', '.join(there)})" if there else ""))
    answer = typer.prompt("Clients, or none", default="none")
    return [find_host(name) for name in split_names(answer) if name != "none"]
