"""`waha-mcp sandbox`: runs the embedded WAHA as a server."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import typer

from waha_mcp.cli.common import Failure
from waha_mcp.concurrency import stop_signals

if TYPE_CHECKING:
    from waha_mcp.sandbox import SandboxInfo


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 3000,
    seed: Annotated[int, typer.Option(help="Another seed makes another account.")] = 1,
    engine: Annotated[Literal["gows", "noweb", "webjs", "wpp"], typer.Option(help="Engine to imitate.")] = "gows",
    contacts: Annotated[
        int | None, typer.Option(min=1, max=79_000, help="How many contacts.", show_default="about 25")
    ] = None,
    messages: Annotated[int | None, typer.Option(min=1, help="How many messages.", show_default="about 600")] = None,
    chats: Annotated[int | None, typer.Option(min=1, help="How many chats.", show_default="about 25")] = None,
    groups: Annotated[int | None, typer.Option(min=1, help="How many groups.", show_default="about 5")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON once it listens.")] = False,
) -> None:
    """Run an embedded WAHA with a made-up account.

    It runs until SIGTERM or Ctrl-C, and needs no phone and no key.

    Example: waha-mcp sandbox --port 3000 --engine noweb
    """
    size = {"contacts": contacts, "messages": messages, "chats": chats, "groups": groups}
    with contextlib.suppress(KeyboardInterrupt):  # how Ctrl-C arrives on Windows
        anyio.run(partial(_run, host, port, as_json, seed=seed, engine=engine, **size))


async def _run(host: str, port: int, as_json: bool, **account: Any) -> None:
    from waha_mcp.sandbox import running

    with stop_signals() as stopped:
        try:
            async with running(host=host, port=port, **account) as info:
                if as_json:
                    print(json.dumps(info.as_dict()), flush=True)
                else:
                    _describe(info)
                await stopped()
        except OSError as error:
            raise Failure(
                f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port or --host"
            ) from None


def _describe(info: SandboxInfo) -> None:
    print(f"Sandbox WAHA at {info.url}, session {info.session}. Its keys:")
    for name, key in {"admin": info.admin_key, **info.keys}.items():
        print(f"  {name:<10} {key}")
    print(
        f"\nTry: WAHA_URL={info.url} WAHA_API_KEY={info.keys['read_send']} waha-mcp tools\nStop it with Ctrl-C.",
        flush=True,
    )
