"""`waha-mcp install HOST` and `waha-mcp uninstall HOST`: our entry in a host's own configuration."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waha_mcp.app.definition import find_definition, read_definition
from waha_mcp.cli.common import AppOption, Failure, only_definition, typed
from waha_mcp.steps import did_you_mean

if TYPE_CHECKING:
    from waha_mcp.hosts.installation import Change
    from waha_mcp.hosts.table import Host, Launch, Offer, Remote


def _host_names() -> list[str]:
    from waha_mcp.hosts.table import HOSTS

    return list(HOSTS)


HostName = Annotated[
    str,
    typer.Argument(metavar="HOST", help="claude-desktop, goose, ...", show_default=False, autocompletion=_host_names),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Another configuration file, such as a project's.", show_default="the user's own")
]


def install(
    host: HostName,
    app: AppOption = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the entry, which clients show.", show_default="whatsapp, or with the App's id"),
    ] = None,
    offers: Annotated[
        list[str] | None,
        typer.Option("--with", help="A setting of the host for the entry, or none; may be repeated."),
    ] = None,
    config: ConfigFile = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the entry and change nothing.")] = False,
    url: Annotated[
        str | None, typer.Option(help="A server that `waha-mcp serve --http` runs, in place of one launched here.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="With --url: file with the App's key; - is stdin.", show_default="asks, or the variable"),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="With --url: the variable that the client takes the key from.", show_default="WAHA_API_KEY"),
    ] = None,
    write_key: Annotated[
        bool,
        typer.Option("--write-key", help="With --url: write the key itself into the file, which only you can read."),
    ] = False,
    oauth: Annotated[bool, typer.Option("--oauth", help="With --url: no key, the client logs in.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="With --url: only tools that read.")] = False,
    toolsets: Annotated[str | None, typer.Option(help="With --url: only these toolsets of the App.")] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="With --url: do not ask the server.")] = False,
) -> None:
    """Add an entry for an App to a client's configuration.

    Everything else in it stays as it is. With --url the client reaches a server over HTTP, which is first asked whether
    it takes the key.

    The hosts: claude-desktop, claude-code, goose, cursor, vscode, windsurf, zed, openclaw, gemini-cli, qwen-code,
    copilot-cli, lm-studio, opencode, codex.

    Example: waha-mcp install claude-desktop --app assistant
    """
    record = find_host(host)
    chosen = choose_offers(record, offers, ask=False)
    target: Launch | Remote
    if url is not None:
        from waha_mcp.cli.remote_server import Wanted, remote_for

        if app is not None:
            raise Failure("--url or --app: an App of a server is the one whose key is given")
        wanted = Wanted(url, key_file, key_env, write_key, oauth, read_only, toolsets, not (no_check or only_print))
        target = remote_for(record, wanted, only_print)
    elif key_file or key_env or write_key or oauth or read_only or toolsets or no_check:
        raise Failure("--key-file, --key-env, --write-key, --oauth, --read-only, --toolsets and --no-check need --url")
    else:
        target = launch_for(record, app)
    add_entry(record, target, name, config, offers=chosen, only_print=only_print)
    if offers is None:
        for offer in record.offers:
            if not offer.default and not _has(record, offer, config):
                print(f"With --with {offer.name}, {offer.says}.", file=sys.stderr if only_print else sys.stdout)


def uninstall(
    host: HostName,
    name: Annotated[str | None, typer.Option(help="Name of the entry.", show_default="the only one of ours")] = None,
    app: Annotated[str | None, typer.Option(help="The App that the entries launch.", show_default=False)] = None,
    config: ConfigFile = None,
) -> None:
    """Take our entry out of a client's configuration.

    Everything else in it stays as it is.

    Example: waha-mcp uninstall claude-desktop
    """
    from waha_mcp.hosts.installation import HostError
    from waha_mcp.hosts.installation import uninstall as take_out

    record = find_host(host)
    try:
        for each in [name] if name and not app else _entries(record, name, app, config):
            change = take_out(record, each, config)
            if change.what == "unchanged":
                print(f"{record.title} has no entry '{each}' in {change.path}: nothing to do.")
                return
            print(f"{record.title}: the entry '{each}' is out of {change.path}.")
            if change.backup and not _entries_of(record, config):
                print(f"Others have changed that file since. Your own, as it was before, is kept as {change.backup}.")
        print(record.after)
    except HostError as error:
        raise Failure(str(error)) from None


def _entries(host: Host, name: str | None, app: str | None, path: Path | None) -> list[str]:
    """Names of our entries to take out: those of that App, or the only one.

    Raises:
        Failure: there is none, or several to choose among.
        HostError: the file cannot be read.
    """
    from waha_mcp.hosts.launch import app_id_of, definition_of, url_of

    entries = _entries_of(host, path)
    if app is not None:
        wanted = definition_of({"command": "waha-mcp", "args": ["--app", app]})
        found = [each for each in entries if definition_of(entries[each]) == wanted and name in (None, each)]
        if not found:
            raise Failure(f"{host.title} has no entry that launches the App {app} in {path or host.file()}")
        return found
    if len(entries) > 1:
        where = ["--config", str(path)] if path else []
        commands = (
            f"`{typed(['waha-mcp', 'uninstall', host.name, '--name', each, *where])}`"
            f" ({url_of(entry) or f'App {app_id_of(entry)}'})"
            for each, entry in entries.items()
        )
        raise Failure(f"{host.title} has several entries of waha-mcp: {', '.join(commands)}")
    return [*entries] or ["whatsapp"]


def _entries_of(host: Host, path: Path | None) -> dict[str, Any]:
    from waha_mcp.hosts.installation import entries_of

    return entries_of(host, path)


def choose_offers(host: Host, wanted: Sequence[str] | None, ask: bool) -> tuple[Offer, ...]:
    """The offers of a host to install an entry with.

    `wanted`: names, besides what is on by default; with `none`, those alone, and all others are taken out. Without any,
    `ask` lets the user say yes or no to each that is off by default.

    Raises:
        Failure: the host has no offer of that name.
    """
    there = [offer.name for offer in host.offers]
    for name in wanted or ():
        if name not in (*there, "none"):
            raise Failure(f"{host.title} has no setting '{name}' (available: {', '.join([*there, 'none'])})")
    if wanted and "none" in wanted:
        return tuple(offer if offer.name in wanted else offer.undone() for offer in host.offers)
    chosen = [offer for offer in host.offers if offer.default or offer.name in (wanted or ())]
    if ask and wanted is None:
        for offer in host.offers:
            if not offer.default:
                on = _has(host, offer, None)
                yes = typer.confirm(f"{host.title} with {offer.name}: {offer.says}. Set it?", default=on)
                chosen += [offer] if yes else [offer.undone()] if on else []
    return tuple(chosen)


def _has(host: Host, offer: Offer, path: Path | None) -> bool:
    """Whether an entry of ours has it."""
    from waha_mcp.hosts.installation import HostError

    with contextlib.suppress(HostError):
        return any(offer.fields.items() <= entry.items() for entry in _entries_of(host, path).values())
    return False


def add_entry(
    host: Host,
    target: Launch | Remote,
    name: str | None,
    path: Path | None = None,
    *,
    offers: Sequence[Offer] = (),
    only_print: bool = False,
) -> None:
    """Install an entry, or print it, and print the next step. Without a name it takes one that is free for the App."""
    from waha_mcp.hosts import edit
    from waha_mcp.hosts.installation import HostError, free_name
    from waha_mcp.hosts.installation import install as put_in
    from waha_mcp.hosts.launch import link_for

    try:
        name = entry_name(name) if name else free_name(host, target, path)
    except HostError as error:
        if not only_print:
            raise Failure(str(error)) from None
        name = "whatsapp"
    entry, link = host.entry(name, target), link_for(host, name, target)
    if only_print:
        entry |= {k: v for offer in offers for k, v in offer.fields.items() if v is not None}
        print(edit.show(host.format, host.place, name, entry).rstrip())
        print(f"This goes into {path or host.file()}." + (f" Or open {link}" if link else ""), file=sys.stderr)
        return
    try:
        change = put_in(host, name, entry, path, offers)
    except HostError as error:
        raise Failure(str(error)) from None
    done = {"unchanged": "already has", "replaced": "has a new"}.get(change.what, "has the")
    kept = f" (your own file is kept as {change.backup})" if change.backup else ""
    print(f"{host.title} {done} entry '{name}' in {change.path}{kept}.")
    _say_what_went(change, entry)
    for offer in offers:
        if not offer.default and None not in offer.fields.values():
            print(f"With {offer.name}, {offer.says}.")
    _say_where_the_key_is(host, target, change)
    print(host.after)


def _say_what_went(change: Change, entry: dict[str, Any]) -> None:
    from waha_mcp.hosts.launch import app_id_of, definition_of, target_of, url_of

    if change.old is not None and target_of(change.old) != target_of(entry):
        before = definition_of(change.old)
        where = f", {before}" if before else ""
        led = f"reached {url}" if (url := url_of(change.old)) else f"launched the App '{app_id_of(change.old)}'{where}"
        print(f"The one that it replaces {led}.")


def _say_where_the_key_is(host: Host, target: Launch | Remote, change: Change) -> None:
    from waha_mcp.hosts.table import Remote

    if target.key_variable:
        print(f"The key is not in the file: {host.title} takes it from {target.key_variable}.")
        if isinstance(target, Remote) and host.name != "goose":
            print("It has to be set where that starts; --write-key puts the key itself into the file.")
    elif change.private:
        print("The key is in that file, which nobody but you can read: keep it out of shared folders and repositories.")
    elif isinstance(target, Remote) and host.logs_in:
        print(host.logs_in)


def entry_name(text: str) -> str:
    """A name for an entry that every host takes: some read it up to an underscore, or make tool names of it.

    Raises:
        Failure: it is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", text):
        raise Failure(f"'{text}' is not a name that every client accepts: use letters, digits and -, at most 40")
    return text


def launch_for(host: Host, source: str | None) -> Launch:
    """How the host launches the App, without the key in the host's file.

    Raises:
        Failure: the key is in an environment variable, which the host cannot pass on.
        AppError: there is no such App.
    """
    from waha_mcp.hosts.launch import launch_of

    path = find_definition(source) if source else only_definition()
    if path is None:
        variable: str | None = "WAHA_API_KEY"
        launch = launch_of(env={"WAHA_URL": "http://localhost:3000"}, key_variable=variable)
    else:
        key = read_definition(path).get("key", {"env": "WAHA_API_KEY"})
        variable = key.get("env") if isinstance(key, dict) else None
        launch = launch_of("--app", str(path.absolute()), key_variable=variable)
    if variable and host.key_reference is None:
        raise Failure(
            f"{host.title} cannot pass {variable} on, and the key does not belong in its file: "
            "make an App that keeps its key itself with `waha-mcp init`"
        )
    return launch


def find_host(name: str) -> Host:
    """The host with this name.

    Raises:
        Failure: there is none.
    """
    from waha_mcp.hosts.table import HOSTS

    if name not in HOSTS:
        raise Failure(f"unknown host '{name}': the hosts are {', '.join(HOSTS)}{did_you_mean(name, HOSTS)}")
    return HOSTS[name]
