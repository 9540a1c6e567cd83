"""Fill the table's cells: an MCP client, the server, the bridge and a sandbox in one process, over real HTTP.

In one process the bridge's waits can be shortened (`shortened`): `READ_TIMEOUT` of waha_mcp.waha.client and
`LOOK_AGAIN` of waha_mcp.policy.delivery. All else is the product's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import AsyncMock, patch
from urllib.parse import unquote

import anyio
from mcp import Client

from tests.faults.cells import LOOKS, Cell, Look, Said, class_of
from tests.faults.way import Way, way_to
from tests.faults.world import CHAT, CHATS, LOOK_AGAIN, READ_TIMEOUT, Case, Fault, Ready, not_messages
from tests.harness import Admin, app_for, memory_client, texts
from waha_mcp.bridge import Bridge
from waha_mcp.policy import delivery
from waha_mcp.sandbox import running
from waha_mcp.server.protocol import Protocol
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.waha import client as waha_client
from waha_mcp.waha.client import TAKES_MESSAGE_ID

#: Seconds until a fault must have hit its request, and until a call must have ended.
MET, ENDED = 10.0, 30.0


@contextmanager
def shortened() -> Iterator[None]:
    """Shorter waits, for this process; and each send asks for its own message id."""
    with (
        patch.object(waha_client, "READ_TIMEOUT", READ_TIMEOUT),
        patch.object(delivery, "LOOK_AGAIN", LOOK_AGAIN),
        patch.object(delivery.MessageIds, "get_spare", AsyncMock()),
    ):
        yield


class Bench:
    """One sandbox and one server on it."""

    def __init__(self, admin: Admin, client: Client, way: Way) -> None:
        self._admin, self._client, self._way = admin, client, way
        self._number = 0

    async def cell(self, case: Case, fault: Fault, look: Look) -> Cell:
        """One call under a fault, and the same call again without it."""
        self._number += 1
        admin, number = self._admin, self._number
        ready = await case.prepare(admin, f"Only once {number}")
        await admin.settle()
        await admin.clear()
        message_id = f"3EB0{number:016X}"
        await admin.request("PUT", "/sandbox/faults", {"faults": _faults(ready, fault, look, message_id, number)})
        self._way.arm(fault.on_the_way, ready.method, ready.path)

        said, text = await (self._cancelled(case, fault, ready) if fault.cancelled else self._ask(case, ready))
        at_once = _performed(await self._effects(ready))
        if not fault.at_work:
            await admin.settle()
        first = await self._effects(ready)
        looks = [r for r in await admin.requests() if unquote(r["path"]) == f"{CHATS}/{CHAT}/messages/{message_id}"]
        await admin.request("DELETE", "/sandbox/faults")
        met = len(first) == fault.reaches_waha and self._way.hit.is_set() is (fault.on_the_way is not None)
        self._way.arm(None, ready.method, ready.path)

        said_again, text_again = await self._ask(case, ready)
        with anyio.fail_after(ENDED):
            # The cancelled call may take a moment to end.
            while said_again == "repeat: under way":
                await anyio.sleep(0.02)
                said_again, text_again = await self._ask(case, ready)
        await admin.settle()
        both = await self._effects(ready)
        tool = CATALOG[case.tool]
        takes_id = not TAKES_MESSAGE_ID.isdisjoint(tool.calls)
        most = None if tool.repeats else 1
        return Cell(
            tool=case.tool,
            fault=fault.name,
            look=look,
            idempotent=not tool.repeats,
            said=said,
            said_again=said_again,
            at_once=at_once,
            first=_performed(both[: len(first)], most),
            total=_performed(both, most),
            left=bool(first),
            account_agrees=await ready.count() == _performed(both, most),
            hit=met
            and _performed(both[: len(first)]) == fault.done
            and bool(looks) is (takes_id and fault.lost and not fault.cancelled),
            text=text,
            text_again=text_again,
        )

    async def _ask(self, case: Case, ready: Ready) -> tuple[Said, str]:
        with anyio.fail_after(ENDED):
            result = await self._client.call_tool(case.tool, ready.arguments)
        return class_of(texts(result), is_error=bool(result.is_error)), texts(result)

    async def _cancelled(self, case: Case, fault: Fault, ready: Ready) -> tuple[Said, str]:
        """Cancel the call once the fault holds its request."""
        answered: list[tuple[Said, str]] = []

        async def ask() -> None:
            answered.append(await self._ask(case, ready))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(MET):
                if fault.on_the_way:
                    await self._way.hit.wait()
                else:
                    # The log is the only sign that the sandbox gives.
                    while not [r for r in await self._effects(ready) if r["body"] is not None]:  # noqa: ASYNC110
                        await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        return answered[0] if answered else ("nothing", "")

    async def _effects(self, ready: Ready) -> list[dict[str, Any]]:
        """The requests for the effect, as WAHA logged them."""
        logged = await self._admin.requests()
        return [r for r in logged if (r["method"], unquote(r["path"])) == (ready.method, ready.path)]


def _faults(ready: Ready, fault: Fault, look: Look, message_id: str, number: int) -> list[dict[str, Any]]:
    # The id is known beforehand, so that the look-up's answer can be chosen without affecting other requests for
    # messages.
    faults: list[dict[str, Any]] = [{"path": "/api/default/new-message-id", "body": f'{{"id": "{message_id}"}}'}]
    if fault.at_waha:
        faults.append({"path": ready.path, "method": ready.method, **fault.at_waha})
    looked_up = {"path": f"{CHATS}/{CHAT}/messages/{message_id}", "method": "GET"}
    match look:
        case "found":
            return faults
        case "not found":
            return [*faults, looked_up | {"body": "", "count": len(LOOK_AGAIN)}]
        case "not a message":
            return [*faults, *(looked_up | each for each in not_messages(message_id, number))]


def _performed(requests: list[dict[str, Any]], most: int | None = None) -> int:
    count = sum(r["performed"] is not None for r in requests)
    return count if most is None else min(count, most)


@asynccontextmanager
async def bench(engine: str = "gows") -> AsyncIterator[Bench]:
    """A sandbox with a server on it, for the cells of one tool."""
    async with running(engine=engine, reply_after=0.05) as sandbox, way_to(sandbox.url) as way:
        app = app_for(sandbox, sandbox.keys["read_send"], session="default", toolsets=frozenset({"all"}), audit="off")
        bridge = Bridge(app)
        admin = Admin(sandbox)
        try:
            async with bridge, memory_client(Protocol(lambda _: bridge).server, "auto") as client:
                for http in bridge.waha._clients():
                    http.event_hooks["request"].append(way.hook)
                yield Bench(admin, client, way)
        finally:
            await admin.aclose()


async def fill(cases: Sequence[Case], faults: Sequence[Fault], *, at_once: int = 4) -> list[Cell]:
    """The cells of these tools and faults, in the table's order; `at_once` tools at a time."""
    found: dict[str, list[Cell]] = {}
    turns = anyio.CapacityLimiter(at_once)

    async def fill_one(case: Case) -> None:
        async with turns, bench(case.engine) as place:
            found[case.tool] = [await place.cell(case, fault, look) for fault in faults for look in LOOKS]

    with shortened():
        async with anyio.create_task_group() as tasks:
            for case in cases:
                tasks.start_soon(fill_one, case)
    by_fault = {fault.name: at for at, fault in enumerate(faults)}
    return sorted((cell for case in cases for cell in found[case.tool]), key=lambda cell: by_fault[cell.fault])
