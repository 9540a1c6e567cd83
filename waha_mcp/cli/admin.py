"""Shared by commands that use WAHA's admin key: reading the key, which is not stored, and reporting errors."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import typer
from pydantic import SecretStr

from waha_mcp.cli.common import Failure, secret_in
from waha_mcp.cli.dialog import interactive

T = TypeVar("T")

AdminKeyFile = Annotated[
    Path | None,
    typer.Option(help="File with WAHA's admin key; - reads it from stdin.", show_default="asks, or WAHA_ADMIN_KEY"),
]


#: WAHA also takes a hash of it in its environment, from which nobody gets the key back.
ABOUT_ADMIN_KEY = (
    "Next comes WAHA_API_KEY of WAHA's environment or, where that is a sha512:... hash, the key that it was made from "
    "(often kept as WAHA_API_KEY_PLAIN). It is used now and stored nowhere."
)
ADMIN_KEY_QUESTION = "WAHA's admin key"

NO_ADMIN_KEY = "no admin key: set WAHA_ADMIN_KEY, or name a file that holds it with --admin-key-file"


def given_admin_key(file: Path | None) -> str | None:
    """WAHA's admin key from a file or the environment; None if neither has it.

    Raises:
        Failure: the file cannot be read.
    """
    if file is None:
        return os.environ.get("WAHA_ADMIN_KEY", "").strip() or None
    text = secret_in(file, "the admin key")
    if not text:
        raise Failure(NO_ADMIN_KEY)
    return text


def admin_key(file: Path | None) -> SecretStr:
    """WAHA's admin key, from a file, the environment or a hidden prompt.

    Raises:
        Failure: there is none and nobody can be asked.
    """
    text = given_admin_key(file)
    if text is None and interactive():
        print(ABOUT_ADMIN_KEY)
        text = typer.prompt(ADMIN_KEY_QUESTION, hide_input=True).strip()
    if not text:
        raise Failure(NO_ADMIN_KEY)
    return SecretStr(text)


def run(work: Callable[..., Awaitable[T]], *arguments: Any, passing: type[Exception] | tuple[()] = ()) -> T:
    """Run an async function that uses WAHA. Raises Failure with one line for its errors, but those in `passing`."""
    from waha_mcp.waha.admin_api import AdminError
    from waha_mcp.waha.errors import WahaError

    try:
        return anyio.run(work, *arguments)
    except passing:
        raise
    except (AdminError, WahaError) as error:
        raise Failure(str(error), code=1) from None
    except OSError as error:
        raise Failure(f"cannot write {error.filename or 'the App'}: {error.strerror or error}", code=1) from None
