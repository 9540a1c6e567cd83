"""WAHA's answers: NestJS errors, the 500 that echoes the request, and the response for a handler's value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.responses import Response


class Refusal(Exception):
    """An answer that ends a request early, with the JSON body as WAHA sends it."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Crash(Exception):
    """An exception that WAHA does not catch: a 500 that echoes the request. `name` is the JavaScript error class."""

    def __init__(self, message: str, name: str = "Error") -> None:
        super().__init__(message)
        self.message = message
        self.name = name


def http_error(status: int, message: str | list[str]) -> Refusal:
    """An error as NestJS writes it, with the phrase of the status."""
    body = {"message": message, "error": HTTPStatus(status).phrase, "statusCode": status}
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        body["error"] = "Unprocessable Entity"
    return Refusal(status, body)


def unauthorized() -> Refusal:
    return Refusal(401, {"message": "Unauthorized", "statusCode": 401})


def forbidden() -> Refusal:
    return Refusal(403, {"message": "Forbidden", "statusCode": 403})


def bad_parameters(messages: list[str]) -> Refusal:
    return Refusal(400, {"statusCode": 400, "message": messages, "error": "Bad Request"})


def no_route(method: str, path: str) -> Refusal:
    return Refusal(404, {"statusCode": 404, "message": f"Cannot {method} {path}", "error": "Not Found"})


def no_file() -> Refusal:
    details = "File not found or no longer available"
    return Refusal(
        404,
        {"error": {"code": 404, "key": "FILE_NOT_FOUND", "message": "File not found", "details": details}},
    )


def not_implemented(engine: str, detail: str = "") -> Refusal:
    text = f"The method is not implemented by '{engine}' engine."
    return http_error(501, f"{text} {detail}" if detail else text)


def undefined(field: str, reading: str = "includes") -> Crash:
    """The error of reading a property of a missing or mistyped body field in JavaScript."""
    return Crash(f"Cannot read properties of undefined (reading '{reading}') at '{field}'", "TypeError")


def crashed(crash: Crash, *, path: str, method: str, body: Any, query: Any, version: Any) -> dict[str, Any]:
    """The body of a 500: WAHA echoes the request and shows a stack trace."""
    stack = (
        f"{crash.name}: {crash.message}\n"
        "    at WhatsappSession.call (/app/dist/core/abc/session.abc.js:412:19)\n"
        "    at /app/node_modules/@nestjs/core/router/router-execution-context.js:46:28\n"
        "    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)"
    )
    return {
        "statusCode": 500,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "exception": {"message": crash.message, "name": crash.name, "stack": stack},
        "request": {"path": path, "method": method, "body": body, "query": query},
        "version": version,
    }


def as_response(value: Any, status: int) -> Response:
    """A handler's value as NestJS sends it: null has no body and no content type, text is sent bare."""
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status_code=status)
    if isinstance(value, str):
        return Response(value, status, media_type="text/html")
    return json_response(value, status)


def json_response(value: Any, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "surrogatepass"), status, {"content-type": "application/json; charset=utf-8"})
