"""Shared by commands: the options that choose an App, and `Failure`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from waha_mcp.app.definition import App, load_app, split_names
from waha_mcp.log import LogLevel, configure_logging, hide


class Failure(Exception):
    """Ends a command with one line on stderr and an exit code: 2 for wrong usage, else 1."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def _app_options(
    app: Annotated[str | None, typer.Option(help="App definition: a file, or its id in the config folder.")] = None,
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


def with_app(*, log_level: LogLevel) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: add the options that choose an App. The command gets `load(**fields)`; `fields` override the rest."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "load"]
        shared = [
            p.replace(default=log_level) if p.name == "log_level" else p
            for p in inspect.signature(_app_options, eval_str=True).parameters.values()
        ]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            options = _app_options(**{p.name: values.pop(p.name) for p in shared})
            source, level = options.pop("source"), options.pop("log_level")

            def load(**fields: Any) -> App:
                app = load_app(source, overrides=options | fields)
                for secret in app.secrets():
                    hide(secret)
                configure_logging(level)
                return app

            command(load=load, **values)

        wrapped.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        return wrapped

    return decorate
