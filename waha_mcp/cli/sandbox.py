"""`waha-mcp sandbox`: runs the embedded WAHA as a server."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from waha_mcp.cli.common import Failure
from waha_mcp.concurrency import stop_signals

if TYPE_CHECKING:
    from waha_mcp.sandbox import SandboxInfo


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 3000,
    engine: Annotated[Literal["gows", "noweb", "webjs", "wpp"], typer.Option(help="Engine to imitate.")] = "gows",
    contacts: Annotated[
        int | None, typer.Option(min=1, max=79_000, help="How many contacts.", show_default="about 25")
    ] = None,
    messages: Annotated[int | None, typer.Option(min=1, help="How many messages.", show_default="about 600")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON once it listens.")] = False,
) -> None:
    """Run an embedded WAHA with a made-up account.

    It runs until SIGTERM or Ctrl-C, and needs no phone and no key.

    Example: waha-mcp sandbox --port 3000 --engine noweb
    """
    with contextlib.suppress(KeyboardInterrupt):  # how Ctrl-C arrives on Windows
        anyio.run(_run, port, engine, contacts, messages, as_json)


async def _run(port: int, engine: str, contacts: int | None, messages: int | None, as_json: bool) -> None:
    from waha_mcp.sandbox import running

    with stop_signals() as stopped:
        try:
            async with running(port=port, engine=engine, contacts=contacts, messages=messages) as info:
                if as_json:
                    print(json.dumps(info.as_dict()), flush=True)
                else:
                    _describe(info)
                await stopped()
        except OSError as error:
            raise Failure(
                f"cannot listen on 127.0.0.1 port {port}: {error.strerror or error}; choose another with --port"
            ) from None


def _describe(info: SandboxInfo) -> None:
    print(f"Sandbox WAHA at {info.url}, session {info.session}. Its keys:")
    for name, key in {"admin": info.admin_key, **info.keys}.items():
        print(f"  {name:<10} {key}")
    print(
        f"\nTry: WAHA_URL={info.url} WAHA_API_KEY={info.keys['read_send']} waha-mcp tools\nStop it with Ctrl-C.",
        flush=True,
    )
