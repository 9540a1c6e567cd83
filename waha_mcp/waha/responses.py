"""Interpretation of WAHA's HTTP responses: the decoded answer, or the matching error."""

from __future__ import annotations

import email.utils
import json
import re
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from waha_mcp.waha.body import Damaged, Packed, TooMuch, read_body
from waha_mcp.waha.errors import LOOK_FIRST, BadAnswer, NotDone, OutcomeUnknown, TooLarge, clean, error_for

_LOOK_AT_URL = "ask the user to check the App's url (a reverse proxy or a login page may stand in front)."
#: Statuses of a proxy that does not reach WAHA; those from 520 on are Cloudflare's.
_PROXYS = (502, 503, 504, *range(520, 531))
#: Maximum bytes of a JSON answer, before and after decompression.
MAX_JSON = 10 * 2**20


async def answer_of(response: httpx.Response, *, changes: bool, session: str | None, key: str) -> Any:
    """The decoded answer, or the matching WahaError. `changes`: the request was a change.

    A refusal counts only in WAHA's own error format. For a change, a redirect, a proxy's error, an unreadable
    answer and a failure inside WAHA all raise OutcomeUnknown. `key` is removed from the errors' texts.
    """
    status = response.status_code
    if 300 <= status < 400:
        where = clean(_where(response.headers.get("location", "")), key, limit=100)
        if changes:
            raise outcome_unknown(f"it was redirected to {where}")
        raise BadAnswer(f"WAHA's URL redirects to {where}: ask the user to set the App's url to WAHA itself.")
    if changes and (status == 408 or (status >= 500 and status != 501)):
        proxys = status == 408 or status in _PROXYS
        raise outcome_unknown(
            f"WAHA or a proxy in front of it answered {status}"
            if proxys
            else f"it failed with an internal error ({status})"
        )
    if status == 206:
        raise BadAnswer("Only part of WAHA's answer arrived: ask the user to look at the proxy in front of WAHA.")
    try:
        raw = await body_of(response, MAX_JSON, "WAHA's answer")
        if status == 400 and not changes and _wants_https(response, raw):
            raise _WebPage("What listens at WAHA's URL speaks https: ask the user to set the App's url to https://.")
        if status == 400 and not changes and b"No required SSL certificate was sent" in raw:  # nginx
            raise _WebPage(
                "What listens at WAHA's URL requires a client certificate, and waha-mcp has "
                "none: ask the user to set the App's url to an address of WAHA that needs none."
            )
        answer = _decode(raw, _content_type(response))
    except BadAnswer as error:
        if changes:
            what = "a web page came back" if isinstance(error, _WebPage) else "its answer could not be read"
            raise outcome_unknown(f"{what} ({status})") from None
        if response.is_success or (isinstance(error, _WebPage) and status < 500 and status not in (413, 429)):
            raise
        answer = None
    if response.is_success:
        if changes and status not in (200, 201):
            # WAHA answers a change with 200 or 201 only.
            raise outcome_unknown(f"what stands in front of WAHA answered {status}")
        if changes:
            _check_done(answer)
        return answer
    if not _is_wahas(status, answer):
        # A proxy's 403 says nothing about the key, nor about the outcome of a change.
        if changes:
            raise outcome_unknown(f"what stands in front of WAHA answered {status}")
        # For a missing file, WAHA says so in an object under `error`.
        said = isinstance(answer, dict) and ("message" in answer or isinstance(answer.get("error"), dict))
        if status in (401, 403, 407) or (status == 404 and not said):
            raise BadAnswer(f"Something in front of WAHA, and not WAHA itself, answered {status}: {_LOOK_AT_URL}")
        if status in _PROXYS:
            raise BadAnswer(
                f"The proxy in front of WAHA answered {status}, as it got no usable answer from WAHA: "
                "ask the user to start WAHA or look at the proxy."
            )
    raise error_for(status, answer, session=session, retry_after=retry_after(response), hide=key)


def _wants_https(response: httpx.Response, raw: bytes) -> bool:
    """Whether a server refuses plain http because the port is for https, as worded by nginx, Apache, Go and others."""
    if response.request.url.scheme != "http" or raw.lstrip().startswith(b"{"):
        return False
    return re.search(rb"(?i)(plain )?HTTP\b.{0,40}\b(HTTPS|SSL)|requires TLS", raw) is not None


def check_json(response: httpx.Response) -> None:
    """Check, without reading it, that a successful response is JSON, as WAHA's are.

    Raises:
        BadAnswer: it is not JSON, so the server is not WAHA.
    """
    if _content_type(response) != "application/json":
        raise BadAnswer(f"WAHA's URL returned something that is not JSON: {_LOOK_AT_URL}")


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def body_of(response: httpx.Response, cap: int, what: str) -> bytes:
    """Read and decompress the body; TooLarge if it exceeds `cap` bytes, compressed or decompressed."""
    try:
        return await read_body(response, cap)
    except Packed:
        raise BadAnswer(
            f"{what} is compressed in a way that was not requested: ask the user to look at the proxy in front of WAHA."
        ) from None
    except TooMuch:
        raise TooLarge(f"{what} is over {cap // 2**20} MiB: ask for less, with a smaller limit.") from None
    except Damaged:
        raise BadAnswer("WAHA's answer is damaged (its compression is broken): try again.") from None


def _check_done(answer: Any) -> None:
    """Check the content of a successful answer to a change.

    Raises:
        NotDone: it is false or has `success: false`, by which WAHA says that WhatsApp did not do it.
        OutcomeUnknown: it is an error nevertheless; some proxies send errors with status 200.
    """
    told = answer if isinstance(answer, dict) else {}
    if answer is False or told.get("success") is False:
        raise NotDone("WhatsApp did not do that: most often the account lacks the right. Nothing was changed.")
    code = told.get("statusCode")
    if (
        told.get("error")
        or (isinstance(code, int) and code >= 400)
        or told.get("ok") is False
        or told.get("result") is False
        or told.get("status") in ("error", "fail", "failed")
    ):
        raise outcome_unknown("its answer is an error with a success status")


def _is_wahas(status: int, answer: Any) -> bool:
    """Whether an error body has WAHA's format: NestJS's, or the one of its 422s (`error` and `session`)."""
    if not isinstance(answer, dict):
        return False
    nest = isinstance(answer.get("message"), str | list) and answer.get("statusCode") == status
    return nest or (status == 422 and isinstance(answer.get("error"), str) and "session" in answer)


class _WebPage(BadAnswer):
    """The answer is an HTML page, which WAHA's API never sends."""


def _where(url: str) -> str:
    """Describe a redirect's target by scheme and host only."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme} on {parts.hostname}" if parts.hostname else "another path"
    except ValueError:
        return "an invalid address"


def outcome_unknown(how: str) -> OutcomeUnknown:
    """The error for a change that may have reached WAHA; `how` is a clause that says why the outcome is unknown."""
    return OutcomeUnknown(
        f"The request may have reached WAHA, but {how}, so its outcome is unknown: it may or may not have happened. "
        + LOOK_FIRST
    )


def _decode(raw: bytes, content_type: str) -> Any:
    """Decode an answer: None for an empty body, str where WAHA sends bare text (an invite code), else JSON."""
    text = raw.decode("utf-8", errors="replace").strip()
    if not text:
        return None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        # NestJS sends bare text as text/html.
        if content_type in ("text/plain", "text/html") and not text.startswith("<"):
            return text
        if text.startswith("<"):
            raise _WebPage(f"A web page came back where WAHA's API should be: {_LOOK_AT_URL}") from None
        raise BadAnswer("WAHA's answer is not valid JSON; it may have been cut off. Try again.") from None
    if "\\ud" in text or "\\uD" in text:
        # A lone surrogate (JavaScript cuts text in the middle of an emoji) cannot be encoded as UTF-8.
        answer = json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    return answer


def retry_after(response: httpx.Response) -> float | None:
    """Parse a `Retry-After` header (seconds or a date) into seconds, from 0 to a day; None if missing or malformed."""
    value = response.headers.get("retry-after", "").strip()
    try:
        if value.isdecimal():
            seconds = float(value)
        else:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), 86_400.0)
