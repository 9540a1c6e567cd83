"""JSON-RPC over stdio: parses lines of bytes into messages, and serializes messages to lines.

A malformed line is answered with an error, under its own id if that can be found, else under null.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from mcp.shared.dispatcher import coerce_request_id
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic import ValidationError

from waha_mcp.server.wire import END, MOST, TooLong

#: Deepest nesting of objects and arrays.
DEEPEST = 64

_SCALAR = rb'(?:"(?:[^"\\]|\\.){0,200}"|[-+\w.]{1,30})'
_ID = rb'"id"\s*:\s*(?P<id>-?\d{1,18}|"(?:[^"\\]|\\.){0,200}")'
_FIRST = re.compile(rb"\s*\{(?:\s*" + _SCALAR + rb"\s*:\s*" + _SCALAR + rb"\s*,)*\s*" + _ID + rb"\s*[,}]")
_LAST = re.compile(rb"[,{]\s*" + _ID + rb"\s*(?:,\s*" + _SCALAR + rb"\s*:\s*" + _SCALAR + rb"\s*)*\}\s*\Z")
_BRACKETS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _BRACKETS.keys())
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


@dataclass(frozen=True)
class Rejected:
    """A malformed line, and the JSON-RPC error that answers it."""

    #: The id as received; it may be a number that is not valid as an id.
    id: Any
    code: int
    message: str
    #: The error to deliver to our own pending request, if the line is a malformed answer to it.
    answer: JSONRPCError | None = None


def read_line(line: bytes | TooLong) -> JSONRPCMessage | Rejected | None:
    """Parse a line; None for a blank line, or an answer whose id is none of ours.

    A malformed answer of the client becomes a JSONRPCError under its id, so that the pending request fails.
    """
    if isinstance(line, TooLong):
        wrong = f"This line is longer than {MOST // 2**20} MiB and was not read: nothing was done. Send less at once"
        return Rejected(_id_at_an_end(line.head, line.tail), INVALID_REQUEST, wrong)
    line = line.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n")
    if not line:
        return None
    flaws: list[tuple[int, str]] = []
    try:
        text = line.decode()
    except UnicodeDecodeError:
        flaws.append((PARSE_ERROR, "This line is not UTF-8"))
        text = line.decode(errors="replace")
    if _deeper(line):
        flaws.append((INVALID_REQUEST, f"This message is nested more than {DEEPEST} levels deep"))
    try:
        raw = _parsed(text, flaws)
    except RecursionError:
        return Rejected(_id_at_an_end(line, line), *flaws[0])
    except ValueError as error:
        return Rejected(None, *(flaws or [(PARSE_ERROR, f"This line is not JSON: {error}")])[0])
    if not isinstance(raw, dict):
        return Rejected(None, INVALID_REQUEST, "A line must be one JSON object; batches are not supported")
    flaws += _misshapen(raw)
    if "method" not in raw and ("result" in raw or "error" in raw):
        return _answer(raw, flaws)
    if flaws:
        number = raw.get("id")
        known = isinstance(number, str | int | float) and not isinstance(number, bool)
        answer = _answer(raw, flaws) if "method" not in raw or raw.keys() & {"result", "error"} else None
        return Rejected(number if known else None, *flaws[0], answer if isinstance(answer, JSONRPCError) else None)
    if _is_notification(raw):
        return JSONRPCNotification(jsonrpc="2.0", method=raw["method"], params=raw.get("params"))
    return JSONRPCRequest(jsonrpc="2.0", id=raw["id"], method=raw["method"], params=raw.get("params"))


def write_line(message: JSONRPCMessage | Rejected) -> bytes:
    """Serialize a message, or the error that answers a rejected line."""
    if isinstance(message, Rejected):
        error = {"code": message.code, "message": message.message}
        return _encoded({"jsonrpc": "2.0", "id": message.id, "error": error})
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except ValueError:  # a lone surrogate or deep nesting, which JSON can spell
        pass
    try:
        return _encoded(message.model_dump(by_alias=True, exclude_unset=True))
    except (ValueError, TypeError, RecursionError) as failure:
        number = getattr(message, "id", None)
        return write_line(Rejected(number, INTERNAL_ERROR, f"This answer cannot be written ({type(failure).__name__})"))


def _encoded(raw: dict[str, Any]) -> bytes:
    text = json.dumps(raw, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # UTF-8 cannot encode lone surrogates; backslashreplace writes them as \udXXX, which is valid JSON.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _parsed(text: str, flaws: list[tuple[int, str]]) -> Any:
    """Parse JSON. Adds numbers out of range and NaN (both read as None) and lone surrogates to `flaws`.

    Raises:
        ValueError: not JSON.
        RecursionError: nested too deeply.
    """

    def integer(digits: str) -> int | None:
        if len(digits) <= 20 and -(2**63) <= (number := int(digits)) < 2**64:
            return number
        flaws.append((INVALID_REQUEST, "A number in this message has more than 64 bits"))
        return None

    def fraction(digits: str) -> float | None:
        if abs(number := float(digits)) != float("inf"):
            return number
        flaws.append((INVALID_REQUEST, "A number in this message is too large"))
        return None

    def constant(name: str) -> None:
        flaws.append((PARSE_ERROR, f"{name} is not JSON"))

    raw = json.loads(text, parse_int=integer, parse_float=fraction, parse_constant=constant)
    if "\\u" in text:
        try:
            json.dumps(raw, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])[1:-1]
            flaws.append((INVALID_REQUEST, f"A string holds {half}, half of a surrogate pair: send whole characters"))
    return raw


def _misshapen(raw: dict[str, Any]) -> list[tuple[int, str]]:
    """The reasons why an object is not a JSON-RPC message, as (code, message)."""
    wrong = []
    if raw.get("jsonrpc") != "2.0":
        wrong.append('"jsonrpc" must be "2.0"')
    if "method" in raw:
        if not isinstance(raw["method"], str):
            wrong.append('"method" must be a string')
        elif "result" in raw or "error" in raw:
            wrong.append('A message has either "method", or "result", or "error"')
        elif not _is_notification(raw) and _request_id(raw["id"]) is None:
            wrong.append('"id" must be a string or an integer')
        if not isinstance(raw.get("params"), dict | None):
            wrong.append('"params" must be an object')
    elif "result" not in raw and "error" not in raw:
        wrong.append('There is no "method"')
    return [(INVALID_REQUEST, each) for each in wrong]


def _is_notification(raw: dict[str, Any]) -> bool:
    # Some clients spell "no id" as null.
    return "id" not in raw or (raw["id"] is None and raw["method"].startswith("notifications/"))


def _request_id(value: Any) -> RequestId | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _answer(raw: dict[str, Any], flaws: list[tuple[int, str]]) -> JSONRPCMessage | None:
    number = _request_id(raw.get("id"))
    if number is None or not isinstance(coerce_request_id(number), int):
        return None  # our requests have integers
    if not flaws and not ("result" in raw and "error" in raw):
        with suppress(ValidationError):
            if "result" in raw:
                return JSONRPCResponse(jsonrpc="2.0", id=number, result=raw["result"])
            error = ErrorData.model_validate(raw["error"], by_name=False)
            return JSONRPCError(jsonrpc="2.0", id=number, error=error)
    wrong = ErrorData(code=INVALID_REQUEST, message="The client's answer is malformed")
    return JSONRPCError(jsonrpc="2.0", id=number, error=wrong)


def _deeper(line: bytes) -> bool:
    if line.count(b"[") + line.count(b"{") <= DEEPEST:  # nearly always
        return False
    brackets = _STRING.sub(b"", line).translate(None, _NO_BRACKETS)
    return any(depth > DEEPEST for depth in accumulate(map(_BRACKETS.__getitem__, brackets)))


def _id_at_an_end(head: bytes, tail: bytes) -> RequestId | None:
    """Find the id of a line that was not parsed, among the scalar members at its start or end; else None."""
    found = _FIRST.match(head[:END]) or _LAST.search(tail[-END:])
    try:
        return json.loads(found["id"]) if found else None
    except ValueError:
        return None
