"""`waha-mcp demo`: shows the whole bridge in a few seconds, without a key or a phone."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import typer

from waha_mcp.cli.common import SANDBOX_ID, Failure, as_typed
from waha_mcp.cli.terminal import wrapped
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo, running

if TYPE_CHECKING:
    from mcp import Client

#: Seconds of the whole demo at most, and for the answer to its message.
LIMIT, ANSWER_LIMIT = 60.0, 10
_GREETING = "Hello from the waha-mcp demo!"


def demo() -> None:
    """Show the bridge at work on an embedded WAHA.

    It lists, reads, sends, hears the answer, and shows what a read-only key sees.

    Example: waha-mcp demo
    """
    anyio.run(_demo)


async def _demo() -> None:
    try:
        with anyio.fail_after(LIMIT):
            async with running(reply_after=1.0) as sandbox:
                _step("A WAHA of its own", f"embedded, at {sandbox.url}, with a made-up WhatsApp account")
                await _read_and_send(sandbox)
                await _read_only(sandbox)
    except TimeoutError:
        raise Failure(f"the demo did not finish within {LIMIT:.0f} s", code=1) from None
    except BaseExceptionGroup as group:
        # The client's task groups wrap the error of a failed step, and BrokenPipeError, into groups.
        if reader := group.subgroup(BrokenPipeError):
            raise _leaf(reader) from None
        failed = group.subgroup(Failure)
        raise (
            _leaf(failed) if failed else Failure("the demo failed: the server it launched went away", code=1)
        ) from None
    _step("Use it with your own WAHA", as_typed("waha-mcp init does the rest; by hand, in claude_desktop_config.json:"))
    print(claude_desktop_entry())


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _leaf(first) if isinstance(first, BaseExceptionGroup) else first


async def _read_and_send(sandbox: SandboxInfo) -> None:
    key = await _mint(sandbox, "demo_assistant", read=True, send=True)
    _step("An MCP App with the actions read and send", "minted by WAHA: a scoped key for one session")
    async with _launch(sandbox, key) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        _expect("send_text" in names and "list_chats" in names, "reading and sending tools are listed")
        _step(f"tools/list: {len(names)} tools", ", ".join(names))

        chats = (await _call(client, "list_chats", limit=8))["chats"]
        _expect(len(chats) == 8, "eight chats are listed")
        _step("list_chats", "the eight newest")
        for chat in chats:
            _row(f"{chat['name']:<28} {_line(chat)}")

        page = await _call(client, "get_messages", chat=ANSWERING_CHAT, limit=3)
        messages, friend = page["messages"], page["chat"]
        _expect(bool(messages), "the chat has messages")
        _step(f"get_messages: {friend}", "the last three, newest first")
        who = {"me": "me", "them": friend}
        for message in messages:
            _row(f"{message['time']:<18} {who[message['sender']]:<16} {_line(message)}")

        sent = await _call(client, "send_text", chat=friend, text=_GREETING)
        _step(f"send_text: {friend}", f"sent at {sent['time']}")
        _row(f"{'me':<16} {_GREETING}")

        _step("wait_for_messages", "it returns once the answer has come; nobody asks again and again")
        heard = await _call(
            client, "wait_for_messages", chat=friend, after=sent["message_id"], timeout=ANSWER_LIMIT, settle=1
        )
        _expect(bool(heard["messages"]), "an answer came")
        for message in heard["messages"]:
            _row(f"{friend:<16} {_line(message)}")


async def _read_only(sandbox: SandboxInfo) -> None:
    key = await _mint(sandbox, "demo_observer", read=True)
    async with _launch(sandbox, key) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        _expect("list_chats" in names and "send_text" not in names, "a read-only key lists no sending tool")
        _step(f"The same session with a read-only key: {len(names)} tools", ", ".join(names))
        _expect(await _is_unknown(client, "send_text"), "a hidden tool can not be called")
        _step("send_text with that key", "unknown tool; nothing was sent to WAHA")


async def _mint(sandbox: SandboxInfo, app_id: str, **actions: bool) -> str:
    """Create an MCP App with these actions in WAHA; its key."""
    import httpx

    async with httpx.AsyncClient(base_url=sandbox.url, headers={"X-Api-Key": sandbox.admin_key}) as http:
        answer = await http.post(
            "/api/apps",
            json={
                "id": app_id,
                "session": sandbox.session,
                "app": "mcp",
                "enabled": True,
                "config": {"actions": actions},
            },
        )
    _expect(answer.status_code == 201, "WAHA creates the MCP App")
    return str(answer.json()["config"]["key"])


@asynccontextmanager
async def _launch(sandbox: SandboxInfo, key: str) -> AsyncIterator[Client]:
    """An MCP client that launches its own `waha-mcp serve`."""
    from mcp import Client, StdioServerParameters

    environment = {k: v for k, v in os.environ.items() if not k.startswith("WAHA_")}
    with tempfile.TemporaryDirectory() as folder:
        # An id of its own, so that no line of it gets into a real App's trail.
        app = Path(folder) / "app.toml"
        app.write_text(f'id = "{SANDBOX_ID}"\n', encoding="utf-8")
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "waha_mcp", "serve", "--app", str(app)],
            env={**environment, "WAHA_URL": sandbox.url, "WAHA_API_KEY": key},
        )
        async with Client(server) as client:
            yield client


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    async def told(progress: float, total: float | None, message: str | None) -> None:
        _row(f"({message})")

    result = await client.call_tool(tool, arguments, progress_callback=told)
    _expect(not result.is_error, f"{tool} answers")
    answer: dict[str, Any] = json.loads(result.content[0].text)  # type: ignore[union-attr]
    return answer


async def _is_unknown(client: Client, tool: str) -> bool:
    from mcp import MCPError
    from mcp.types import INVALID_PARAMS

    try:
        await client.call_tool(tool, {})
    except MCPError as error:
        return error.code == INVALID_PARAMS
    return False


def claude_desktop_entry() -> str:
    """The JSON of a Claude Desktop entry that launches this installation."""
    from waha_mcp.hosts import edit
    from waha_mcp.hosts.launch import launch_of
    from waha_mcp.hosts.table import HOSTS

    host = HOSTS["claude-desktop"]
    launch = launch_of(env={"WAHA_URL": "http://localhost:3000", "WAHA_API_KEY": "the key of your MCP app"})
    return edit.show(host.format, host.place, "whatsapp", host.entry("whatsapp", launch)).rstrip()


def _line(message: dict[str, Any]) -> str:
    text = str(message.get("text") or f"[{message.get('kind', 'nothing yet')}]").replace("\n", " ")
    return text if len(text) <= 60 else text[:59] + "…"


def _step(title: str, detail: str) -> None:
    detail = wrapped(f"   {detail}", "   ")
    typer.echo(f"\n{typer.style('==', fg='cyan')} {typer.style(title, bold=True)}\n{detail}")


def _row(text: str) -> None:
    print(wrapped(f"     {text}", "     "))


def _expect(true: bool, what: str) -> None:
    if not true:
        raise Failure(f"the demo failed: expected that {what}", code=1)
