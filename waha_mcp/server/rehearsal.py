"""Keeps the opening for the next start, and checks the one that was prepared for this start."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import anyio
import anyio.to_thread
from mcp.types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from waha_mcp.app.actions import Grant
from waha_mcp.app.inputs import unchanged
from waha_mcp.bridge import Bridge
from waha_mcp.files import make_private, write_atomically
from waha_mcp.server.prepared import (
    ACKNOWLEDGED,
    LISTEN,
    LISTING,
    LISTINGS,
    OPENING,
    Prepared,
    acknowledged,
    same,
    spelled,
)
from waha_mcp.server.protocol import Protocol

logger = logging.getLogger(__name__)

#: Seconds after which WAHA is asked to confirm the grant again, so that a listing of yesterday evening still holds in
#: the morning.
RECONFIRM = 3600.0
#: Most requests of an opening.
MOST = 8


class Rehearsal:
    """The opening of one stdio server, as the SDK answers it."""

    def __init__(self, bridge: Bridge, protocol: Protocol, prepared: Prepared | None) -> None:
        self._bridge, self._protocol, self._prepared = bridge, protocol, prepared
        #: The requests with which the client opens, as spelled, in their order; the method of each; which is for the
        #: listing. After that one, the opening ends at the first request of another kind.
        self._opening: list[str] = []
        self._methods: dict[str, str] = {}
        self._listing: str | None = None
        self._opened = False
        #: Those of them that the SDK is answering, by their ids, and the result of each.
        self._asked: dict[RequestId, str] = {}
        self._results: dict[str, dict[str, Any]] = {}
        #: What the client was answered before the SDK was there, by the ids under which the SDK is asked.
        self._said: dict[RequestId, dict[str, Any]] = {}
        #: The acknowledgements of subscriptions among it, by the client's own ids.
        self._acknowledged: dict[RequestId, dict[str, Any]] = {}
        self._numbers = itertools.count()
        #: The methods of requests that the SDK has answered otherwise.
        self._differ: set[str] = set()
        #: The tools in the file.
        self._kept_tools = None if prepared is None else prepared.tools
        self._due = anyio.Event()
        self._kept = ""
        if prepared is not None:
            bridge.listed_before(prepared.tools)
            bridge.key.listeners.add(self._grant_changed)

    def repeated(self, item: Any, result: dict[str, Any]) -> JSONRPCRequest:
        """The request, answered with `result`, for the SDK: under another id, as the client may use its own again.

        A subscription keeps its id, by which the client knows it.
        """
        assert isinstance(item, JSONRPCRequest)
        if item.method == LISTEN:
            self._acknowledged[item.id] = result
            return item
        number = f"prepared-{next(self._numbers)}-{id(self)}"
        self._said[number] = result
        return item.model_copy(update={"id": number})

    def asked(self, item: JSONRPCRequest) -> None:
        """Note a request that the SDK is about to answer."""
        if self._prepared is None:
            return
        if item.method not in OPENING:
            self._opened = self._opened or self._listing is not None
            return
        request = spelled(item.method, item.params)
        if not self._opened and len(self._opening) < MOST:
            self._opening.append(request)
            self._methods[request] = item.method
            if item.method == LISTING and self._listing is None:
                self._listing = request
        if request in self._methods:
            self._asked[item.id] = request

    async def answered(self, message: JSONRPCMessage) -> bool:
        """Note what the SDK answers; whether the client has that answer already."""
        result: dict[str, Any] | None = None
        before = self._said
        match message:
            case JSONRPCResponse():
                number, result = message.id, message.result
            case JSONRPCError(id=number) if number is not None:
                pass
            case JSONRPCNotification(method=name, params=params) if name == ACKNOWLEDGED and params:
                number, result = acknowledged(params)
                before = self._acknowledged
            case _:
                return False
        if (request := self._asked.pop(number, None)) is not None:
            if result is None:
                self._results.pop(request, None)
            elif self._methods[request] in LISTINGS:
                self._results[request] = result
            else:
                # Asked again, the server may know more of the account than at the next start.
                self._results.setdefault(request, result)
            self._due.set()
        if (said := before.pop(number, None)) is None:
            return False
        if result is None or not same(said, result):
            self._differ.add(self._methods.get(request or "", LISTING))
            await self._correct()
        return True

    async def watch(self) -> None:
        """Keep the opening whenever it is answered and confirmed; never returns."""
        if self._prepared is None:
            return
        while True:
            self._due = anyio.Event()
            await self._correct()
            await self._keep()
            with anyio.move_on_after(RECONFIRM) as waited:
                await self._due.wait()
            if waited.cancelled_caught:
                await self._bridge.key.recheck()

    async def _correct(self) -> None:
        """Drop the prepared opening if it was wrong, and have the client list again. Waits for WAHA's word."""
        if self._differ and self._certain:
            differ, self._differ = self._differ, set()
            await self._discard()
            logger.info("The prepared listing was not right any more")
            await self._protocol.announce(self._bridge, differ)

    async def _grant_changed(self, before: Grant) -> None:
        now = {tool.name for tool in self._bridge.tools()}
        if (listing := self._results.get(self._listing or "")) is not None and now != _tools(listing):
            self._results = {each: told for each, told in self._results.items() if self._methods[each] not in LISTINGS}
        if self._certain and self._kept_tools and now != self._kept_tools:
            await self._discard()
        self._due.set()

    async def _discard(self) -> None:
        if self._prepared is not None:
            self._kept_tools = None
            await anyio.to_thread.run_sync(self._prepared.discard)

    @property
    def _certain(self) -> bool:
        """Whether WAHA has answered in this run about what is listed."""
        key = self._bridge.key
        return key.confirmed is not None or key.grant.problem is not None

    async def _keep(self) -> None:
        key, inputs, prepared = self._bridge.key, self._bridge.app.inputs, self._prepared
        listing = self._results.get(self._listing or "")
        if prepared is None or inputs is None or key.confirmed is None or listing is None:
            return
        opening = [(request, self._results[request]) for request in self._opening if request in self._results]
        text = prepared.text(inputs, opening, key.confirmed)
        if text == self._kept:
            return
        self._kept = text
        try:
            await anyio.to_thread.run_sync(self._write, prepared, inputs, text)
            self._kept_tools = _tools(listing)
        except OSError as error:
            logger.info("The listing is not kept for the next start: %s", error)

    def _write(self, prepared: Prepared, inputs: dict[str, Any], text: str) -> None:
        # In the meantime the App's file may have become another's.
        if unchanged(inputs):
            make_private(prepared.path.parent)
            write_atomically(prepared.path, text, 0o600)
            prepared.sweep()


def _tools(listing: dict[str, Any]) -> set[str]:
    return {tool["name"] for tool in listing["tools"]}
