"""`waha-mcp install HOST` and `waha-mcp uninstall HOST`: our entry in a host's own configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waha_mcp.app.definition import find_definition, read_definition
from waha_mcp.cli.common import Failure, only_definition
from waha_mcp.steps import did_you_mean

if TYPE_CHECKING:
    from waha_mcp.hosts.table import Host, Launch


def _host_names() -> list[str]:
    from waha_mcp.hosts.table import HOSTS

    return list(HOSTS)


HostName = Annotated[
    str,
    typer.Argument(metavar="HOST", help="claude-desktop, goose, ...", show_default=False, autocompletion=_host_names),
]
EntryName = Annotated[str, typer.Option(help="Name of the entry, which clients show.")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="Another configuration file, such as a project's.", show_default="the user's own")
]


def install(
    host: HostName,
    app: Annotated[
        str | None,
        typer.Option(help="App definition: a file, or its id in the config folder.", show_default="the only one there"),
    ] = None,
    name: EntryName = "whatsapp",
    config: ConfigFile = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the entry and change nothing.")] = False,
) -> None:
    """Add an entry for an App to a client's configuration.

    Everything else in it stays as it is.

    The hosts: claude-desktop, claude-code, goose, cursor, vscode, windsurf, zed, openclaw, gemini-cli, codex,
    opencode.

    Example: waha-mcp install claude-desktop --app assistant
    """
    record = find_host(host)
    add_entry(record, launch_for(record, app), name, config, only_print=only_print)


def uninstall(host: HostName, name: EntryName = "whatsapp", config: ConfigFile = None) -> None:
    """Take our entry out of a client's configuration.

    Everything else in it stays as it is.

    Example: waha-mcp uninstall claude-desktop
    """
    from waha_mcp.hosts.installation import HostError
    from waha_mcp.hosts.installation import uninstall as take_out

    record = find_host(host)
    try:
        change = take_out(record, name, config)
    except HostError as error:
        raise Failure(str(error)) from None
    if change.what == "unchanged":
        print(f"{record.title} has no entry '{name}' in {change.path}: nothing to do.")
        return
    print(f"{record.title}: the entry '{name}' is out of {change.path}.")
    print(record.after)


def choose_offers(host: Host, wanted: object, ask: bool) -> tuple[object, ...]:  # STUB
    return ()


def add_entry(
    host: Host,
    launch: Launch,
    name: str | None,
    path: Path | None = None,
    *,
    offers: object = (),
    only_print: bool = False,
) -> None:
    """Install an entry, or print it, and print the next step."""
    from waha_mcp.hosts import edit
    from waha_mcp.hosts.installation import HostError
    from waha_mcp.hosts.installation import install as put_in
    from waha_mcp.hosts.launch import link_for

    name = name or "whatsapp"  # STUB
    entry = host.entry(launch, host.key_reference)
    link = link_for(host, name, launch)
    if only_print:
        print(edit.show(host.format, host.place, name, entry).rstrip())
        print(f"This goes into {path or host.file()}." + (f" Or open {link}" if link else ""), file=sys.stderr)
        return
    try:
        change = put_in(host, name, entry, path)
    except HostError as error:
        raise Failure(str(error)) from None
    done = {"unchanged": "already has", "replaced": "has a new"}.get(change.what, "has the")
    kept = f" (before: {change.backup})" if change.backup else ""
    print(f"{host.title} {done} entry '{name}' in {change.path}{kept}.")
    if launch.key_variable:
        print(f"The key is not in the file: {host.title} takes it from {launch.key_variable}.")
    if link:
        print(f"The same as a link: {link}")
    print(host.after)


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
        raise Failure(f"unknown host '{name}': there are {', '.join(HOSTS)}{did_you_mean(name, HOSTS)}")
    return HOSTS[name]
