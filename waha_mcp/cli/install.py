"""`waha-mcp install HOST` and `waha-mcp uninstall HOST`: our entry in a host's own configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from waha_mcp.app.definition import AppError, config_dir, definitions, find_definition, read_definition
from waha_mcp.cli.common import Failure

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
    """Add an entry that launches waha-mcp to a host's configuration; everything else in it stays as it is.

    The hosts: claude-desktop, claude-code, goose, cursor, vscode, windsurf, zed, openclaw, gemini-cli, codex,
    opencode.

    Example: waha-mcp install claude-desktop --app assistant
    """
    record = find_host(host)
    add_entry(record, launch_for(record, app), name, config, only_print=only_print)


def uninstall(host: HostName, name: EntryName = "whatsapp", config: ConfigFile = None) -> None:
    """Take waha-mcp's entry out of a host's configuration; everything else in it stays as it is.

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


def add_entry(host: Host, launch: Launch, name: str, path: Path | None = None, *, only_print: bool = False) -> None:
    """Install an entry, or print it, and print the next step."""
    from waha_mcp.hosts import edit
    from waha_mcp.hosts.installation import HostError
    from waha_mcp.hosts.installation import install as put_in
    from waha_mcp.hosts.launch import link_for

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
    kept = f" (your own file is kept as {change.backup})" if change.backup else ""
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

    path = find_definition(source) if source else _only_definition()
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


def _only_definition() -> Path | None:
    """The user's only App definition; None if there is none. Raises AppError if there are several."""
    found = definitions()
    if len(found) > 1:
        raise AppError(
            f"there are several Apps in {config_dir()}: name one with --app {'|'.join(p.stem for p in found)}"
        )
    return found[0] if found else None


def find_host(name: str) -> Host:
    """The host with this name.

    Raises:
        Failure: there is none.
    """
    from waha_mcp.hosts.table import HOSTS

    if name not in HOSTS:
        raise Failure(f"unknown host '{name}': there are {', '.join(HOSTS)}")
    return HOSTS[name]
