"""Shared by commands: which App is meant, `Failure`, and commands in texts as they have to be typed."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from waha_mcp.app.definition import (
    DEFAULT_ID,
    App,
    AppError,
    NoKey,
    find_definition,
    id_of,
    load_app,
    read_definition,
    readable_definitions,
    split_names,
)
from waha_mcp.cli.terminal import visible
from waha_mcp.log import LogLevel, configure_logging, hide
from waha_mcp.places import config_dir, definitions
from waha_mcp.steps import did_you_mean

#: The id of an App on an embedded WAHA.
SANDBOX_ID = "waha-mcp-sandbox"
#: A command of ours in a text.
_COMMAND = re.compile(r"(?<![\w/.\\-])waha-mcp(?= (?:[a-z]+|-[-a-z]+)\b)")


class Failure(Exception):
    """Ends a command with one line on stderr and an exit code: 2 for wrong usage, else 1."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class SeveralApps(NoKey):
    """There are several Apps, and nothing says which is meant."""


AppOption = Annotated[
    str | None,
    typer.Option(help="App definition: a file, or its id in the config folder.", show_default="the only one there"),
]


def as_typed(text: str) -> str:
    """A text for the terminal: visible, and with commands as they have to be typed, with their path if need be."""
    return _COMMAND.sub(lambda _: _program(), visible(text))


@functools.cache
def _program() -> str:
    from waha_mcp.hosts.launch import own_command

    command, found = own_command(), shutil.which("waha-mcp")
    if found and len(command) == 1 and os.path.realpath(found) == os.path.realpath(command[0]):
        return "waha-mcp"
    return typed(command)


def typed(words: Sequence[str]) -> str:
    """A command as a line for the user's shell, quoted where need be."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def deleting(path: Path) -> str:
    """The command that deletes a file."""
    return typed(["del" if sys.platform == "win32" else "rm", str(path)])


def say(text: str) -> None:
    """Print a text with its commands as they have to be typed."""
    print(as_typed(text))


def only_definition() -> Path | None:
    """The user's only App definition; None if there is none.

    Raises:
        SeveralApps: there are several.
    """
    found = definitions()
    if len(found) > 1:
        names = ", ".join(path.stem for path in found)
        raise SeveralApps(f"there are several Apps in {config_dir()}: choose one of {names} with --app {found[0].stem}")
    return found[0] if found else None


def chosen(app: str | None, given: Mapping[str, Any] = {}) -> str | None:
    """The App that is meant: the one named, else the user's only one; None if it is that of the environment.

    `given`: values of flags by field name. A URL or key from a flag or the environment is an App by itself.

    Raises:
        SeveralApps: there are several.
    """
    if app is not None or any(os.environ.get(name, "").strip() for name in ("WAHA_MCP_APP", *_OWN.values())):
        return app
    if any(given.get(name) is not None for name in _OWN):
        return None
    path = only_definition()
    return None if path is None else str(path)


#: The fields that make an App by themselves, and their variables.
_OWN = {"url": "WAHA_URL", "key": "WAHA_API_KEY"}


def known_app(source: str) -> str:
    """The id of the App that the user names: by its file, its file's name in the config folder, or its id.

    Raises:
        AppError: there is no such App.
    """
    from waha_mcp.store.folders import app_ids

    known = {DEFAULT_ID, *app_ids(), *defined()}
    if source in known:
        return source
    try:
        path = find_definition(source)
        return str(id_of(path, read_definition(path)))
    except AppError:
        raise AppError(
            f"no App '{source}' (available: {', '.join(sorted(known))}){did_you_mean(source, known)}"
        ) from None


def defined() -> dict[str, bool]:
    """The ids of the Apps in the config folder, and whether each keeps a trail."""
    return {app_id: fields.get("audit") != "off" for app_id, _, fields in readable_definitions()}


def _app_options(
    app: AppOption = None,
    url: Annotated[str | None, typer.Option(help="WAHA's URL.", show_default="http://localhost:3000")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File that holds the session's scoped key.")] = None,
    session: Annotated[str | None, typer.Option(help="WhatsApp session.", show_default="the key's only one")] = None,
    actions: Annotated[
        str | None, typer.Option(help="Actions, such as read,send.", show_default="found out: read and send")
    ] = None,
    toolsets: Annotated[str | None, typer.Option(help="Toolsets, such as core.", show_default="core")] = None,
    include: Annotated[str | None, typer.Option(help="Tools besides those of the toolsets.")] = None,
    exclude: Annotated[str | None, typer.Option(help="Tools to leave out.")] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What is logged on stderr.")] = "warning",
) -> dict[str, Any]:
    """The values of the options, as fields of an App plus `source` and `log_level`."""
    return {
        "source": app,
        "log_level": log_level,
        "url": url,
        "key": {"file": str(key_file.absolute())} if key_file else None,
        "session": session,
    } | {
        field: split_names(names) if names is not None else None
        for field, names in {"actions": actions, "toolsets": toolsets, "include": include, "exclude": exclude}.items()
    }


def secret_in(file: Path, what: str) -> str:
    """The secret in a file (- is stdin), without surrounding blanks. `what` names it in the error.

    Raises:
        Failure: the file cannot be read.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read {what} from {file}: {getattr(error, 'strerror', None) or error}") from None
    return text.strip()


def check_store() -> None:
    """Check whether the environment names a store that can be opened.

    Raises:
        AppError: it does not.
    """
    from waha_mcp.store.folders import redis_url, user_store

    if redis_url() is not None:
        user_store()


def with_app(*, log_level: LogLevel) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: add the options that choose an App. The command gets `load(**fields)`; `fields` override the rest.

    One that has a parameter `given` gets the options themselves in it, by field name, with `source` and `log_level`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        takes_given = "given" in inspect.signature(command).parameters
        own = [
            p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name not in ("load", "given")
        ]
        shared = [
            p.replace(default=log_level) if p.name == "log_level" else p
            for p in inspect.signature(_app_options, eval_str=True).parameters.values()
        ]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            options = _app_options(**{p.name: values.pop(p.name) for p in shared})
            if takes_given:
                values["given"] = dict(options)
            source, level = options.pop("source"), options.pop("log_level")

            def load(**fields: Any) -> App:
                given = options | fields
                app = load_app(chosen(source, given), overrides=given)
                for secret in app.secrets():
                    hide(secret)
                check_store()
                configure_logging(level)
                return app

            command(load=load, **values)

        wrapped.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        return wrapped

    return decorate
