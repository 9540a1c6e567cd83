"""`waha-mcp init`: sets up an App on a running WAHA and installs it in hosts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import typer
from pydantic import SecretStr

from waha_mcp.app.actions import Action
from waha_mcp.app.definition import (
    DEFAULT_URL,
    App,
    AppError,
    load_app,
    read_definition,
    split_names,
)
from waha_mcp.app.urls import is_local, parse
from waha_mcp.cli.admin import ABOUT_ADMIN_KEY, ADMIN_KEY_QUESTION, NO_ADMIN_KEY, AdminKeyFile, given_admin_key, run
from waha_mcp.cli.common import Failure, say
from waha_mcp.cli.dialog import Asking, interactive, one_of, warn
from waha_mcp.cli.install import add_entry, choose_offers, entry_name, find_host, launch_for
from waha_mcp.cli.profiles import Choice, ask_choice, ask_limits
from waha_mcp.cli.terminal import set_in
from waha_mcp.log import configure_logging
from waha_mcp.places import config_dir, definitions

if TYPE_CHECKING:
    from waha_mcp.cli.setup import Plan
    from waha_mcp.hosts.table import Host
    from waha_mcp.waha.admin_api import Admin, SessionInfo

T = TypeVar("T")


#: Seconds to wait for a phone to scan the QR code, and between two polls.
_PAIRING_LIMIT, _PAIRING_PAUSE = 120.0, 2.0
#: States of a session that end by themselves.
_PASSING = ("STARTING", "SCAN_QR_CODE")


def init(
    url: Annotated[str | None, typer.Option(help="WAHA's URL.", show_default="asks")] = None,
    admin_key_file: AdminKeyFile = None,
    session: Annotated[str | None, typer.Option(help="WhatsApp session.", show_default="asks, or the only one")] = None,
    actions: Annotated[
        str | None,
        typer.Option(
            help="What the agent may do: assistant, careful, read, notify, reply, or actions such as read,send.",
            show_default="asks; with --yes: read",
        ),
    ] = None,
    send_to: Annotated[
        str | None,
        typer.Option(help="Whom it may write to: numbers, ids, names of saved contacts; '*' is everyone."),
    ] = None,
    app: Annotated[
        str | None, typer.Option("--id", help="Id of the App, here and on WAHA.", show_default="asks, or assistant")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--install", help="Client to add the entry to, or none; may be repeated.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the entry, which clients show.", show_default="whatsapp, if free")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates (PEM) to check WAHA's https against.")] = None,
    allow_insecure_http: Annotated[
        bool, typer.Option("--allow-insecure-http", help="Plain http to a host outside private networks.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: use defaults for missing flags.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Change nothing; print what would be done.")] = False,
) -> None:
    """Make an MCP App with its own key, and add it to your clients.

    Every question is also a flag. Run again with the same id, it updates the App. The admin key is used once and
    stored nowhere; the agent's key goes into the operating system's keyring, or a file that only you can read.

    Example: waha-mcp init --url http://localhost:3000 --actions read --id reader --install claude-desktop
    """
    configure_logging("error")
    asking = Asking(interactive() and not yes)
    hosts = None if host is None else [find_host(each) for each in host if each != "none"]
    waha = _Waha({"ca_file": str(ca_file.absolute())} if ca_file else {})
    waha.way |= {"allow_insecure_http": True} if allow_insecure_http else {}
    try:
        waha.reach(asking, url or os.environ.get("WAHA_URL") or None)
        waha.enter(asking, given_admin_key(admin_key_file))
        chosen = _session(asking, waha, session)
        if not dry_run:
            _ready(asking, waha, chosen)
        may = ask_choice(asking, actions)
        limits = ask_limits(asking, lambda **fields: waha.app(session=chosen.name, **fields), may, send_to)
        made = _make(asking, waha, chosen, may, limits, app, dry_run)
    except typer.Abort:
        print("\nStopped: no App was made.")
        raise
    except KeyboardInterrupt:
        print("\nEnded.")
        raise
    if made is None:
        return
    plan, path = made
    try:
        done, failed = _add_to_clients(asking, path, hosts, name)
    except (typer.Abort, KeyboardInterrupt):
        say(f"\nStopped. The App is made: waha-mcp install HOST --app {plan.id} adds it to a client.")
        raise
    _say_what_is_next(plan, done)
    if failed:
        raise Failure(f"App '{plan.id}' is made, but it is not in {', '.join(failed)}", code=1)


@dataclass
class _Waha:
    """The WAHA that an App is made on. `way`: the App's fields for the connection."""

    way: dict[str, Any]
    url: str = DEFAULT_URL
    key: SecretStr = field(default=SecretStr("unknown-yet"), repr=False)

    def app(self, **fields: Any) -> App:
        """An App there with the admin's key, without anything of the environment.

        Raises:
            Failure: a field is invalid.
        """
        try:
            return load_app(overrides={"url": self.url, "key": self.key} | self.way | fields, environ={})
        except AppError as error:
            raise Failure(str(error).removeprefix("the App: ")) from None

    def admin(self, work: Callable[[Admin], Awaitable[T]]) -> T:
        """The result of work with the admin's API. Raises Failure."""
        from waha_mcp.waha.admin_api import Admin

        async def opened() -> T:
            async with Admin(self.app()) as admin:
                return await work(admin)

        return run(opened)

    def look(self, asking: Asking, work: Callable[[Admin], Awaitable[T]]) -> T:
        """As `admin`; if it fails, the person may try again."""
        while True:
            try:
                return self.admin(work)
            except Failure as error:
                if not asking.on:
                    raise
                warn(str(error))
                if not asking.yes("Try again?"):
                    raise Failure("no App was made", code=1) from None

    def reach(self, asking: Asking, given: str | None) -> None:
        """Ask for the URL until WAHA answers there. No key is sent."""
        self.url = asking.until(
            "WAHA's URL", lambda text: self._answering(asking, text), given=given, default=DEFAULT_URL
        )

    def _answering(self, asking: Asking, text: str) -> str:
        from waha_mcp.waha.admin_api import find_waha
        from waha_mcp.waha.errors import Untrusted

        if "://" not in text and "@" not in text:
            text = text[:80]
            raise Failure(f"url: '{text}' has no scheme: write http://{text}, or https:// if WAHA has a certificate")
        self._ask_about_http(asking, text)
        while True:
            app = self.app(url=text)
            try:
                run(find_waha, app, passing=Untrusted)
            except Untrusted as error:
                if not asking.on or not error.ca_file_helps:
                    raise Failure(str(error), code=1) from None
                warn(str(error))
                file = asking.until(
                    "File with that certificate or its authority's, PEM (Enter: another URL)",
                    lambda name: self._certificates(name, text),
                    default="",
                )
                self.way.pop("ca_file", None)
                if file is None:
                    raise Failure("choose another URL") from None
                self.way["ca_file"] = file
            else:
                return app.url

    def _ask_about_http(self, asking: Asking, text: str) -> None:
        """Ask whether the key may go unencrypted to a host outside private networks.

        Raises:
            Failure: it may not.
        """
        try:
            url = parse(text)
        except ValueError:
            return  # said when the App is made of it
        if url.scheme == "http" and asking.on and not is_local(url.host) and "allow_insecure_http" not in self.way:
            warn(f"http to {url.host} is not encrypted: whoever is on the way can read the key and the messages.")
            if not asking.yes("Use it all the same?", default=False):
                raise Failure("choose another URL, with https://")
            self.way["allow_insecure_http"] = True

    def _certificates(self, name: str, url: str) -> str | None:
        if not name:
            return None
        path = str(Path(name).expanduser().absolute())
        self.app(url=url, ca_file=path)  # raises Failure where it holds no certificate
        return path

    def enter(self, asking: Asking, given: str | None) -> None:
        """Ask for the admin key until WAHA accepts it."""
        if asking.on and given is None:
            print(f"\n{set_in(ABOUT_ADMIN_KEY, '')}")
        self.key = asking.until(
            ADMIN_KEY_QUESTION,
            self._accepted,
            given=given,
            default="" if asking.on else None,
            hidden=True,
            none=NO_ADMIN_KEY,
        )

    def _accepted(self, text: str) -> SecretStr:
        self.key = SecretStr(text)
        self.admin(lambda admin: admin.check())
        return self.key


def _session(asking: Asking, waha: _Waha, wanted: str | None) -> SessionInfo:
    sessions = waha.look(asking, lambda admin: admin.sessions())
    if not sessions and asking.on:
        print("\nWAHA has no session yet. A session is one WhatsApp account, linked as a device of your phone.")
        if asking.yes("Make one, 'default', and link it now?"):
            waha.look(asking, lambda admin: admin.make_session("default"))
            sessions = waha.look(asking, lambda admin: admin.sessions())
    if not sessions:
        raise Failure("WAHA has no session yet: create one in its dashboard (Sessions, Start New)", code=1)
    names = [each.name for each in sessions]
    if wanted is None or wanted not in names:
        print("\nSessions:")
        for number, each in enumerate(sessions, 1):
            who = f"  {each.push_name or ''} +{each.phone.lstrip('+')}" if each.phone else ""
            print(f"  {number}  {each.name:<20} {each.status}{who}")
    working = [each.name for each in sessions if each.status == "WORKING"]
    default = names[0] if len(names) == 1 else working[0] if len(working) == 1 else None
    if wanted is None and default is None and not asking.on:
        raise Failure(f"several sessions ({', '.join(names)}): choose one with --session")
    given = wanted or (default if len(names) == 1 else None)
    name = asking.until("Which session", lambda answer: one_of(answer, names, "session"), given=given, default=default)
    return next(each for each in sessions if each.name == name)


def _ready(asking: Asking, waha: _Waha, session: SessionInfo) -> None:
    """Start the session, if the person wants it, and have it paired."""
    status = session.status
    if status in ("STOPPED", "FAILED") and asking.on:
        if not asking.yes(f"Session '{session.name}' is {status}. Start it?"):
            return
        waha.look(asking, lambda admin: admin.start_session(session.name))
        status = "STARTING"
    if status in _PASSING:
        waha.look(asking, lambda admin: _pair(admin, session.name, asking.on))


async def _pair(admin: Admin, session: str, wait: bool) -> None:
    """Show the QR code of a session until a phone has scanned it."""
    import segno

    shown, status = None, "STARTING"
    with anyio.move_on_after(_PAIRING_LIMIT) as limit:
        while status in _PASSING:
            code = await admin.qr(session)
            if code and code != shown:
                print(f"\nSession '{session}' waits to be paired: scan this in WhatsApp under Linked devices.\n")
                picture = segno.make(code, error="L")
                if (wide := int(picture.symbol_size()[0])) > shutil.get_terminal_size().columns:
                    warn(f"This terminal is narrower than the code: widen it to {wide} columns, and run this again.")
                picture.terminal(compact=True)
                shown = code
            if not wait:
                return
            await anyio.sleep(_PAIRING_PAUSE)
            status = next((each.status for each in await admin.sessions() if each.name == session), "")
        print(f"Session '{session}' is {status} now.")
    if limit.cancelled_caught:
        print("Not scanned yet: the App is made all the same and works once the session is paired.")


def _make(
    asking: Asking,
    waha: _Waha,
    session: SessionInfo,
    may: Choice,
    limits: dict[str, Any],
    app_id: str | None,
    dry_run: bool,
) -> tuple[Plan, Path] | None:
    """Make the App on WAHA and here; None if the changes are only shown."""
    from waha_mcp.cli.setup import Plan, make

    here = {path.stem: path for path in definitions()}
    there = {app.id: app.session for app in waha.look(asking, lambda admin: admin.all_apps())}
    free = next(name for name in _names() if not {name} & {*here, *there}) if asking.on else "assistant"

    def accept(answer: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", answer):
            raise Failure(
                f"'{answer[:60]}' is not an id: use letters, digits, - and _, a letter or digit first, at most 60"
            )
        if there.get(answer, session.name) != session.name:
            raise Failure(f"WAHA has an App '{answer}' of session '{there[answer]}': choose another name")
        old = read_definition(here[answer]) if answer in here else {}
        if answer in {*here, *there} and answer != app_id:
            of = f"session {old.get('session') or 'found out'} on {old.get('url', DEFAULT_URL)}" if old else "on WAHA"
            if not asking.yes(f"There is an App '{answer}' already, {of}. Update it?", default=not asking.on):
                raise Failure("choose another name")
        return answer

    given = app_id
    while True:
        chosen = asking.until("\nName for this App", accept, given=given, default=free)
        old = read_definition(here[chosen]) if chosen in here else {}
        # The user's changes to the file stay.
        new = {name: value for name, value in limits.items() if name not in old}
        plan = Plan(chosen, waha.url, session.name, frozenset(may.actions), way=waha.way, limits=new)
        _tell(plan, own_lists="chats" in old)
        if dry_run:
            _show_dry(plan)
            return None
        if not asking.yes("Go ahead?"):
            raise Failure("nothing was changed", code=1)
        try:
            path, minted = waha.admin(lambda admin: make(admin, plan, config_dir()))  # noqa: B023 - awaited at once
        except (Failure, AppError) as error:
            if not asking.on:
                raise
            warn(str(error))
            if not asking.yes("Try again?"):
                raise Failure("no App was made", code=1) from None
            given = None
            continue
        made = "MCP App" if minted.app else "scoped key (apps are not enabled in this WAHA)"
        print(f"\nWAHA made the {made} '{minted.id}'. Asked with its key, WAHA allows just that.")
        print(f"The App is {path}; its key is kept apart from it.")
        return plan, path


def _names() -> Iterator[str]:
    yield "assistant"
    for number in count(2):
        yield f"assistant-{number}"


def _tell(plan: Plan, *, own_lists: bool) -> None:
    print(f"\nApp '{plan.id}': session {plan.session} on {plan.url}, actions {', '.join(plan.fields()['actions'])}.")
    send = plan.limits.get("chats", {}).get("send")
    if send is not None:
        asks = ", and asks you about others" if "ask" in send else ""
        print(f"It writes to {', '.join(send['allow']) or 'nobody'} without asking{asks}.")
    elif own_lists:
        print("Whom it may write to and read stands under [chats] in its definition, which stays as it is.")
    elif "first_contact" in plan.limits.get("approval", ()):
        print("It asks you before it writes to anyone you have never written to, sends a link or deletes something.")
    elif plan.actions >= {Action.READ, Action.SEND}:
        print(
            "Whoever writes to this account can try to steer an agent that reads and sends: "
            "limit whom it may reach under [chats] in the App."
        )


def _show_dry(plan: Plan) -> None:
    import tomlkit

    print(f"\nNothing was changed. WAHA would make or update the MCP App '{plan.id}', and this would be written to")
    print(f"{config_dir() / plan.id}.toml, with a reference to the key:\n")
    print(tomlkit.dumps(plan.fields()).rstrip())


def _add_to_clients(
    asking: Asking, path: Path, hosts: Sequence[Host] | None, name: str | None
) -> tuple[list[Host], list[str]]:
    """Add the entry to the hosts; those that have it now, and the names of those that do not."""
    if hosts is None:
        hosts = _chosen_hosts(asking)
    if hosts and asking.on and name is None:
        name = _entry_name(asking, hosts[0], path)
    done, failed = [], []
    for host in hosts:
        print()
        try:
            _add_to(asking, host, path, name)
        except (Failure, AppError) as error:
            warn(str(error))
            failed.append(host.name)
        else:
            done.append(host)
    return done, failed


def _add_to(asking: Asking, host: Host, path: Path, name: str | None) -> None:
    """Add the entry to a host; if that fails, the person may give it another name.

    Raises:
        Failure, AppError: it could not be added.
    """
    launch, offers = launch_for(host, str(path)), choose_offers(host, None, asking.on)
    while True:
        try:
            add_entry(host, launch, name, offers=offers)
            return
        except Failure as error:
            if not asking.on:
                raise
            warn(str(error))
        again = asking.until(
            f"Another name of the entry in {host.title} (Enter: leave {host.title} out)",
            lambda answer: answer and entry_name(answer),
            default="",
        )
        if not again:
            raise Failure(f"{host.title} has no entry for it")
        name = again


def _chosen_hosts(asking: Asking) -> list[Host]:
    from waha_mcp.hosts.table import HOSTS

    if not asking.on:
        return []
    found = [name for name, host in HOSTS.items() if host.found()]
    print()
    print(set_in(f"Clients that it can be added to: {', '.join(HOSTS)}.", ""))
    print(f"Found on this machine: {', '.join(found) or 'none'}.")

    def accept(answer: str) -> list[Host]:
        names = split_names(answer)
        return [] if names == ["none"] else [find_host(each) for each in names]

    return asking.until("Add it to (names with commas, or none)", accept, default=", ".join(found) or "none")


def _entry_name(asking: Asking, host: Host, path: Path) -> str | None:
    """The name of the entry; None if the person leaves it to each client's file."""
    from waha_mcp.hosts.installation import HostError, free_name

    try:
        free = free_name(host, launch_for(host, str(path)))
    except (HostError, Failure):
        return None
    name = asking.until("Name of the entry, which clients show", entry_name, default=free)
    return None if name == free else name


def _say_what_is_next(plan: Plan, done: Sequence[Host]) -> None:
    print("\nNext:")
    if done:
        reads = Action.READ in plan.actions
        ask = "Which of my WhatsApp chats wait for an answer?" if reads else "Which WhatsApp tools do you have?"
        print(f"  Start {' or '.join(host.title for host in done)} again, and ask: {ask}")
    else:
        say(f"  Add it to a client:       waha-mcp install HOST --app {plan.id}")
    if plan.limits.get("approval"):
        say("  Answer what it asks you:  waha-mcp console   (where the client itself cannot ask)")
    say(f"  See what the agent sees:  waha-mcp tools --app {plan.id}")
    say(f"  Change what it may do:    waha-mcp apps update {plan.id} --actions read")
    say("  If something is wrong:    waha-mcp doctor")
