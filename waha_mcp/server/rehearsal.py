"""Stores the opening for the next start, and checks the one prepared for this start."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
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
        self._listing = ""
        self._opened = False
        #: Those of them that the SDK is answering, by their ids, and the result of each.
        self._asked: dict[RequestId | None, str] = {}
        self._results: dict[str, dict[str, Any]] = {}
        #: What the client was answered before the SDK was loaded: the methods, and the results, by the ids under which
        #: the SDK is asked; and the same for subscriptions, which were acknowledged.
        self._said: dict[RequestId | None, tuple[str, dict[str, Any]]] = {}
        self._acknowledged: dict[RequestId | None, tuple[str, dict[str, Any]]] = {}
        self._numbers = itertools.count()
        #: The methods of the requests that the SDK has answered differently.
        self._differs = set[str]()
        #: The tools in the files.
        self._kept_tools = set[str]()
        self._due = anyio.Event()
        self._kept = ""
        if prepared is not None:
            self._kept_tools = prepared.tools
            bridge.listed_before(prepared.tools)
            bridge.key.listeners.add(self._grant_changed)

    def repeated(self, item: Any, result: dict[str, Any]) -> JSONRPCRequest:
        """The request, answered with `result`, for the SDK: under another id, as the client may use its own again.

        A subscription keeps its id, by which the client knows it.
        """
        assert isinstance(item, JSONRPCRequest)
        if item.method == LISTEN:
            self._acknowledged[item.id] = item.method, result
            return item
        number = f"prepared-{next(self._numbers)}-{id(self)}"
        self._said[number] = item.method, result
        return item.model_copy(update={"id": number})

    def asked(self, item: JSONRPCRequest) -> None:
        """Record a request that the SDK is about to answer."""
        # The id may be that of a request that was cancelled, and got no answer.
        self._asked.pop(item.id, None)
        if self._prepared is None:
            return
        if item.method not in OPENING or _watches(item):
            self._opened = self._opened or bool(self._listing)
            return
        request = spelled(item.method, item.params)
        if not self._opened and len(self._opening) < MOST:
            self._opening.append(request)
            self._methods[request] = item.method
            if item.method == LISTING:
                self._listing = self._listing or request
        if request in self._methods:
            self._asked[item.id] = request

    def answered(self, message: JSONRPCMessage) -> bool:
        """Record the SDK's answer; whether the client already has one."""
        number: RequestId | None
        result: dict[str, Any] | None = None
        before = self._said
        match message:
            case JSONRPCResponse():
                number, result = message.id, message.result
            case JSONRPCError():
                number = message.id
            case JSONRPCNotification(method=name, params=params) if name == ACKNOWLEDGED and params:
                number, result = acknowledged(params)
                before = self._acknowledged
            case _:
                return False
        if (request := self._asked.pop(number, None)) is not None:
            if result is not None and self._methods[request] in LISTINGS:
                self._results[request] = result
            elif result is not None:
                # Asked again, the server may know more of the account than at the next start.
                self._results.setdefault(request, result)
            self._due.set()
        if (said := before.pop(number, None)) is None:
            return False
        method, told = said
        if result is None or not same(told, result):
            self._differs.add(method)
            self._due.set()
        return True

    async def watch(self) -> None:
        """Store the opening whenever it is answered and confirmed; never returns."""
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
        """Drop the prepared opening if it was wrong, and have the client ask again. Waits for WAHA's word."""
        if self._differs and self._certain:
            differs, self._differs = self._differs, set()
            await self._discard()
            logger.info("The prepared opening was no longer right: %s", ", ".join(sorted(differs)))
            # What the server says of itself depends on whether WAHA has answered by then, and is said only once.
            await self._protocol.announce(self._bridge, differs & set(LISTINGS))

    async def _grant_changed(self, before: Grant) -> None:
        now = {tool.name for tool in self._bridge.tools()}
        if self._listed and now != self._listed:
            self._results = {each: told for each, told in self._results.items() if self._methods[each] not in LISTINGS}
        if self._certain and self._kept_tools and now != self._kept_tools:
            await self._discard()
        self._due.set()

    async def _discard(self) -> None:
        if self._prepared is not None:
            self._kept, self._kept_tools = "", set()
            await anyio.to_thread.run_sync(self._prepared.discard)

    @property
    def _listed(self) -> set[str]:
        """The tools that the SDK listed last; none if there is no such listing, or it is no longer right."""
        return {tool["name"] for tool in self._results.get(self._listing, {}).get("tools", ())}

    @property
    def _certain(self) -> bool:
        """Whether WAHA has answered in this run about what is listed."""
        key = self._bridge.key
        return key.confirmed is not None or key.grant.problem is not None

    async def _keep(self) -> None:
        key, inputs, prepared = self._bridge.key, self._bridge.app.inputs, self._prepared
        if prepared is None or inputs is None or key.confirmed is None or self._listing not in self._results:
            return
        opening = [(request, self._results[request]) for request in self._opening if request in self._results]
        path, text = prepared.path(opening[0][0]), prepared.text(inputs, opening, key.confirmed)
        if text == self._kept:
            return
        self._kept, self._kept_tools = text, self._listed
        try:
            await anyio.to_thread.run_sync(self._write, prepared, inputs, path, text)
        except OSError as error:
            logger.info("The listing is not kept for the next start: %s", error)

    def _write(self, prepared: Prepared, inputs: dict[str, Any], path: Path, text: str) -> None:
        # Meanwhile the App's file may have been replaced.
        if unchanged(inputs):
            make_private(prepared.folder)
            write_atomically(path, text, 0o600)
            prepared.sweep()


def _watches(item: JSONRPCRequest) -> bool:
    """Whether it subscribes to single resources: that they may be read is checked at each start."""
    wanted = (item.params or {}).get("notifications")
    return item.method == LISTEN and isinstance(wanted, dict) and bool(wanted.get("resourceSubscriptions"))
