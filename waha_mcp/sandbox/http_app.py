"""The ASGI application: a request passes body, route, key, guard, checks, session and handler, as in WAHA.

The order is WAHA's: a refused key never learns whether its parameters were right, and parameters are checked before
the session's state.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waha_mcp.app.actions import Action
from waha_mcp.sandbox import handlers
from waha_mcp.sandbox.answers import (
    Crash,
    Refusal,
    as_response,
    crashed,
    forbidden,
    http_error,
    json_response,
    no_route,
    not_implemented,
    unauthorized,
)
from waha_mcp.sandbox.contract import Operation
from waha_mcp.sandbox.control import answer_control
from waha_mcp.sandbox.faults import LOG_BODY_BYTES, Entry, Fault, without_key
from waha_mcp.sandbox.key_ring import Key
from waha_mcp.sandbox.registry import HANDLERS, Call
from waha_mcp.sandbox.state import WORKING, Sandbox, Session
from waha_mcp.sandbox.validation import check_body, checked_query

BODY_LIMIT = 50 * 1024 * 1024
FILES = "/api/files/"
#: Controllers that work in any state of the session, or that check it themselves.
ANY_STATE = (
    "Sessions", "ApiKeys", "Apps", "Server", "Ping", "Health", "Version", "Mcp", "Screenshot",
    "PhoneNumbers", "Argentine", "Brazilian", "Mexican", "Auth",
)  # fmt: skip
NEEDS_WORKING = {"SessionsController_fetchMessageCapping", "SessionsController_fetchReachoutTimelock"}
NEEDS_QR = {"AuthController_getQR"}
NEEDS_STORE = ("ChatsController_", "ContactsController_", "LabelsController_", "LidsController_")
logger = logging.getLogger(__name__)

handlers.load()


class WahaApp:
    """The ASGI application. `abort` closes the connection of a scope without an answer."""

    def __init__(self, sandbox: Sandbox, abort: Callable[[Scope], None]) -> None:
        self.sandbox = sandbox
        self.abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        raw_path = scope["raw_path"].partition(b"?")[0].decode("ascii")
        if raw_path.startswith("/sandbox/"):
            response = await answer_control(self.sandbox, request)
            await response(scope, receive, send)
            return
        entry = Entry(
            time=time.time(),
            method=request.method,
            path=raw_path,
            query=without_key(scope["query_string"].decode("ascii", "replace")),
            headers=sorted(set(request.headers)),
        )
        self.sandbox.log.entries.append(entry)
        limit = request.query_params.get("limit", "")
        rows = int(limit) if limit.isdecimal() else None
        fault = self.sandbox.faults.take(request.method, unquote(raw_path), rows) or Fault()
        try:
            answer = await self._with_fault(fault, request, raw_path, entry)
        except ClientDisconnect:
            return
        if answer is None:
            self.abort(scope)
            return
        if fault.late is not None and await request.is_disconnected():
            return
        entry.status = answer.status_code
        entry.bytes = int(answer.headers.get("content-length", 0))
        await answer(scope, receive, send)

    async def _with_fault(self, fault: Fault, request: Request, raw_path: str, entry: Entry) -> Response | None:
        """The answer under a fault; None for no answer."""
        late: asyncio.Task[Response] | None = None
        if fault.late is not None:
            await request.body()
            with suppress(Refusal, Crash):
                await self._body(request, entry)
            late = self.sandbox.in_background(fault.late, lambda: self._answer(request, raw_path, entry))

        async def answer() -> Response:
            return await (self._answer(request, raw_path, entry) if late is None else asyncio.shield(late))

        response = await answer() if fault.after else None
        if fault.delay:
            await self.sandbox.due(fault.delay).wait()
        if fault.drop:
            return None
        if fault.replaces:
            kind = fault.content_type or "application/json; charset=utf-8"
            return Response(fault.content(), fault.status or 200, {**fault.headers, "content-type": kind})
        return response or await answer()

    async def _answer(self, request: Request, raw_path: str, entry: Entry) -> Response:
        body: Any = None
        try:
            body = await self._body(request, entry)
            return await self._route(request, raw_path, body, entry)
        except Refusal as refusal:
            return json_response(refusal.body, refusal.status)
        except ClientDisconnect:
            raise
        except Crash as crash:
            problem = crash
        except Exception as error:
            logger.exception("The sandbox failed on %s %s", request.method, raw_path)
            problem = Crash(type(error).__name__)
        query = dict(request.query_params)
        target = raw_path + (f"?{entry.query}" if entry.query else "")
        told = crashed(
            problem,
            path=target,
            method=request.method,
            body={} if body is None else body,
            query=query,
            version=self.sandbox.version,
        )
        return json_response(told, 500)

    async def _body(self, request: Request, entry: Entry) -> Any:
        """The JSON body; None if there is none or if its content type is not JSON."""
        length = int(request.headers.get("content-length") or 0)
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if max(size, length) > BODY_LIMIT:
                raise Crash("request entity too large", "PayloadTooLargeError")
            chunks.append(chunk)
        raw = b"".join(chunks)
        if not raw or "json" not in request.headers.get("content-type", ""):
            return None
        try:
            body = json.loads(raw)
        except ValueError:
            raise http_error(400, "Unexpected token in JSON at position 0") from None
        entry.body = body if size <= LOG_BODY_BYTES else {"bytes": size}
        return body

    async def _route(self, request: Request, raw_path: str, body: Any, entry: Entry) -> Response:
        found = self.sandbox.contract.match(request.method, raw_path)
        if found is None and not raw_path.startswith("/api/"):
            raise no_route(request.method, raw_path)
        secret = request.headers.get("x-api-key") or request.query_params.get("x-api-key")
        key = self.sandbox.keys.find(secret)
        if key is None:
            raise unauthorized()
        entry.key = key.label
        if raw_path.startswith(FILES) and request.method == "GET":
            return handlers.files_routes.answer(self.sandbox, key, unquote(raw_path[len(FILES) :]))
        if found is None:
            raise no_route(request.method, raw_path)
        operation, path = found
        entry.operation = operation.id
        name = self._guard(operation, path, request, body, key)
        query = checked_query(operation, request.query_params)
        check_body(self.sandbox.contract, operation, body)
        session = await self._session(operation, name)
        call = Call(self.sandbox, operation, path, query, body, key, request, session)
        if operation.id in self.sandbox.engine.lacks:
            raise not_implemented(self.sandbox.engine.name)
        handler = HANDLERS.get(operation.id)
        if handler is None:
            raise not_implemented(self.sandbox.engine.name, f"The sandbox does not answer {operation}.")
        result = handler(call)
        entry.performed = time.time()
        return as_response(result, operation.success)

    def _guard(self, operation: Operation, path: dict[str, str], request: Request, body: Any, key: Key) -> str | None:
        """Check that the key is authorized; return the session's name, if the request gives one."""
        name = self._session_name(operation, path, request, body)
        action = operation.action
        if action == "unknown":
            action = "send" if operation.id.startswith("Groups") else "control"
        if key.is_admin or action in ("none", "server", "list"):
            return name
        if action in ("admin", "create"):
            raise forbidden()
        if name is None:
            raise http_error(400, "Session name is required")
        if not key.may(Action(action), name):
            raise forbidden()
        return name

    def _session_name(self, operation: Operation, path: dict[str, str], request: Request, body: Any) -> str | None:
        source = operation.session_from
        if source in ("path", "unknown"):
            return path.get("session")
        if source == "query":
            return request.query_params.get("session")
        if source == "app":
            app = self.sandbox.apps.get(path["id"])
            if app is None:
                raise http_error(404, f"App '{path['id']}' not found")
            return str(app["session"])
        if source.startswith("body"):
            field = "name" if source == "body:name" else "session"
            value = body.get(field) if isinstance(body, dict) else None
            return value if isinstance(value, str) else None
        return None

    async def _session(self, operation: Operation, name: str | None) -> Session | None:
        """The session, in the state that the operation needs."""
        sandbox = self.sandbox
        if operation.id in NEEDS_QR:
            return await sandbox.in_status(name or "undefined", "SCAN_QR_CODE")
        if operation.id.startswith(ANY_STATE) and operation.id not in NEEDS_WORKING:
            return sandbox.sessions.get(name) if name else None
        session = await sandbox.in_status(name or "undefined", WORKING)
        if sandbox.engine.name == "NOWEB" and operation.id.startswith(NEEDS_STORE):
            store = session.config.get("noweb", {}).get("store", {})
            if not store.get("enabled"):
                raise http_error(400, "Enable NOWEB store 'config.noweb.store.enabled=True' when starting a session")
        return session
