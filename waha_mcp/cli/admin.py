"""Shared by commands that use WAHA's admin key: reading the key, which is not stored, and reporting errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import typer
from pydantic import SecretStr

from waha_mcp.cli.common import Failure

T = TypeVar("T")

AdminKeyFile = Annotated[
    Path | None,
    typer.Option(help="File with WAHA's admin key; - reads it from stdin.", show_default="asks, or WAHA_ADMIN_KEY"),
]


def interactive() -> bool:
    """Whether a person can be asked: stdin and stdout are terminals."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def admin_key(file: Path | None) -> SecretStr:
    """WAHA's admin key, from a file, the environment or a hidden prompt.

    Raises:
        Failure: there is none and nobody can be asked.
    """
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(
                f"cannot read the admin key from {file}: {getattr(error, 'strerror', None) or error}"
            ) from None
    else:
        text = os.environ.get("WAHA_ADMIN_KEY", "")
        if not text and interactive():
            text = typer.prompt(
                "WAHA's admin key (WAHA_API_KEY in WAHA's environment; used now, not stored)", hide_input=True
            )
    if not text.strip():
        raise Failure("no admin key: set WAHA_ADMIN_KEY, or name a file with --admin-key-file")
    return SecretStr(text.strip())


def run(work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run an async function that uses WAHA. Raises Failure with one line for its errors."""
    from waha_mcp.waha.admin_api import AdminError
    from waha_mcp.waha.errors import WahaError

    try:
        return anyio.run(work, *arguments)
    except (AdminError, WahaError) as error:
        raise Failure(str(error), code=1) from None
    except OSError as error:
        raise Failure(f"cannot write {error.filename or 'the App'}: {error.strerror or error}", code=1) from None
