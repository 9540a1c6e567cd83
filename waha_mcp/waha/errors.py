"""The exceptions of this room, one tree.

    WahaError
    ├── Unreachable        no connection, or no answer in time to a GET
    │   └── Untrusted      its certificate is not good, so nothing was sent
    ├── OutcomeUnknown     a change may have been sent, and WAHA did not confirm or refuse it
    ├── Unauthorized       401: the key is unknown or was switched off
    ├── Forbidden          403: the key lacks the action, or belongs to another session
    ├── Refused            400, 413 and other 4xx: WAHA rejects the request as invalid
    │   └── NotDone        a successful answer saying that WhatsApp did not do it
    ├── NotFound           404: no such chat, message, group or file
    ├── SessionNotReady    404/422: the session is missing, stopped or not paired
    ├── Unsupported        501, or 422 of older versions: the session's engine cannot do this
    │   └── OnlyInPlus     422: an older version of WAHA, which can do this with its Plus image only
    ├── UnknownOperation   404: this version of WAHA does not know the operation
    ├── TooBusy            429: too many requests
    └── BadAnswer          to a GET: 5xx, a web page, broken JSON, a redirect
        └── TooLarge       an answer over the size cap

`str(error)` is one or two sentences for the agent, with the next step. It never holds a key, a URL with a
query, a stack, or a body that WAHA echoed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from waha_mcp.log import redact
from waha_mcp.waha.versions import lacks_operation, only_in_plus

#: What a session's status means, and what to do about it: by the user, or with a tool of the action control.
_SESSION_STEPS = {
    "SCAN_QR_CODE": (
        "is waiting for its QR code to be scanned",
        "ask the user to scan it in WAHA's dashboard with WhatsApp's 'Linked devices'",
        "get_qr_code shows it, for the user to scan with WhatsApp's 'Linked devices'",
    ),
    "STARTING": ("is still starting", "try again in a few seconds", None),
    "STOPPED": ("is stopped", "ask the user to start it in WAHA's dashboard", "start it with control_session"),
    "FAILED": (
        "has failed",
        "ask the user to restart it in WAHA's dashboard and pair it again if that does not help",
        "restart it with control_session, and ask the user to pair it again if that does not help",
    ),
    "PASSKEY_REQUIRED": (
        "is waiting for a passkey",
        "ask the user to finish pairing in WAHA's dashboard",
        None,
    ),
    "PASSKEY_CONFIRMATION_REQUIRED": (
        "is waiting for a passkey to be confirmed on the phone",
        "ask the user to do so",
        None,
    ),
    "WORKING": ("is working", None, None),
}


class WahaError(Exception):
    """Base of all errors about WAHA. `operation` is the operation called, such as "GET /api/sessions"."""

    operation: str | None = None


class Unreachable(WahaError):
    """WAHA could not be reached, or did not answer a GET in time. A change that raises this was not sent.

    The text is `what` happened and the next `step`; an empty step means that `what` includes it.
    """

    def __init__(self, what: str, step: str = "") -> None:
        super().__init__(f"{what} {step[0].upper()}{step[1:]}." if step else what)
        self.what, self.step = what, step


class Untrusted(Unreachable):
    """WAHA's certificate is not valid, so nothing was sent. `ca_file_helps`: the App's `ca_file` can fix it."""

    def __init__(self, what: str, step: str, *, ca_file_helps: bool) -> None:
        super().__init__(what, step)
        self.ca_file_helps = ca_file_helps


#: The next step for an unknown outcome.
LOOK_FIRST = "Do not repeat it blindly: check first whether it happened, or ask the user."


class OutcomeUnknown(WahaError):
    """A change may have been sent, and WAHA did not confirm or refuse it."""


class Unauthorized(WahaError):
    """The key is unknown to WAHA or was switched off."""

    def __init__(self) -> None:
        super().__init__(
            "WAHA does not accept this key (401): it is wrong, or its App was disabled in WAHA. "
            "Ask the user to run `waha-mcp doctor`, which names the fix."
        )


class Forbidden(WahaError):
    """The key lacks the action that the operation requires, or belongs to another session."""


class Refused(WahaError):
    """WAHA rejects this request as invalid."""


class NotDone(Refused):
    """WAHA's answer was successful but says that WhatsApp did not do it."""


class NotFound(WahaError):
    """WAHA has no such chat, message, group or file."""


class SessionNotReady(WahaError):
    """The session is missing, stopped or not paired. `status`: WAHA's, where it says so; the text is `session_step`."""

    def __init__(self, text: str, status: str | None = None) -> None:
        super().__init__(text)
        self.status = status


class Unsupported(WahaError):
    """The session's engine cannot do this."""


class UnknownOperation(WahaError):
    """This version of WAHA does not know the operation, or the server at the URL is not WAHA."""

    def __init__(self, operation: str | None = None, running: str | None = None) -> None:
        """`running`: WAHA's version; None: not known."""
        super().__init__(lacks_operation(operation, running))


class OnlyInPlus(Unsupported):
    """This older version of WAHA can do this with its Plus image only."""

    def __init__(self, operation: str | None = None, running: str | None = None) -> None:
        """As for `UnknownOperation`."""
        super().__init__(only_in_plus(running))


class TooBusy(WahaError):
    """Too many requests."""


class BadAnswer(WahaError):
    """WAHA, or something in front of it, answered with something unusable."""


class Failed(BadAnswer):
    """WAHA failed internally (5xx). Engines answer this way for many missing things as well."""


class TooLarge(BadAnswer):
    """An answer over the size cap; ask for a smaller page."""


#: Errors about a single operation, which imply nothing about others.
ONE_OPERATION = (UnknownOperation, Unsupported, Refused, BadAnswer)


def session_step(session: str, status: str, *, by_tool: bool = False) -> str:
    """One sentence on what a session's status means and what to do about it, with a tool of `control` if `by_tool`."""
    means, user, tool = _SESSION_STEPS.get(status, (f"has the status {status}", None, None))
    step = (tool if by_tool else None) or user
    return f"Session '{session}' {means}{f': {step}' if step else ''}."


def not_ready(session: str, status: str) -> SessionNotReady:
    """The error for an operation that cannot be used in the session's status."""
    return SessionNotReady(session_step(session, status), status)


def no_session(session: str) -> str:
    """One sentence on a session that WAHA does not list for this key."""
    return f"WAHA has no session '{session}': ask the user to set the App's session."


def other_session(session: str, seen: Sequence[str]) -> str:
    """One sentence on a key that sees the sessions in `seen` but not the App's."""
    if not seen:
        return no_session(session)
    own = ", ".join(f"'{each}'" for each in seen)
    right = f"set the App's session to {own}" if len(seen) == 1 else "correct the App's session"
    return f"This key is for session {own}, and the App names '{session}': ask the user to {right}."


def error_for(
    status: int,
    body: Any,
    *,
    session: str | None,
    retry_after: float | None = None,
    hide: str = "",
) -> WahaError:
    """The error for a WAHA answer of 400 or more.

    `body` is the decoded answer (an object, text or None): a NestJS error, WAHA's own 422, or its exception filter's,
    which echoes the request and is never quoted. `retry_after` is in seconds; `hide` (the key) is redacted from WAHA's
    message.
    """
    said = _message(body, hide)
    name = session or "default"
    match status:
        case 401:
            return Unauthorized()
        case 403:
            return Forbidden(
                "WAHA does not let this key do that (403): the action is not granted to it, "
                "or the key belongs to another session. Do not retry; ask the user to check the key."
            )
        case 404:
            return _not_found(said, name)
        case 422:
            return _unprocessable(body, said, name, hide)
        case 413:
            return Refused(
                "The request is too large for WAHA or a proxy in front of it (413): send a smaller "
                "file, or ask the user to raise the limit."
            )
        case 429:
            wait = f" Try again in {max(1, round(retry_after))} s." if retry_after is not None else " Try again later."
            return TooBusy(f"Too many requests to WAHA (429).{wait}")
        case 501:
            return _unsupported(status, said, name)
        case _ if status >= 500:
            # WAHA's own is an object; what answers in front of it mostly sends a page or nothing.
            where = "WAHA" if isinstance(body, dict) else "WAHA or a proxy in front of it"
            return Failed(
                f"{where} had an internal error ({status}). Check the arguments; if they are right, try once more "
                "later, or ask the user to look at WAHA's log."
            )
        case 400 if re.search(r"\bstore\b", said, re.IGNORECASE):
            return Refused(
                f"Session '{name}' keeps no store, so it has no chats, messages or contacts to read. "
                "Ask the user to enable the NOWEB store in the session's configuration."
            )
        case _:
            return Refused(f"WAHA refused the request ({status}){': ' + said if said else ''}.")


def _unsupported(status: int, said: str, session: str) -> Unsupported:
    engine = re.search(r"'([A-Z]+)' engine", said)
    which = f"the {engine[1]} engine" if engine else "the engine"
    return Unsupported(
        f"Session '{session}' runs on {which}, which cannot do this ({status}). "
        "Do it another way, or tell the user that this WAHA engine lacks it."
    )


def _not_found(said: str, session: str) -> WahaError:
    if said.startswith("Cannot "):
        return UnknownOperation()
    if "session" in said.lower():
        stopped = "start it first" in said.lower()
        if stopped:
            return not_ready(session, "STOPPED")
        return SessionNotReady(no_session(session))
    return NotFound("WAHA found nothing under that id (404). Check the id with a listing tool.")


def _unprocessable(body: Any, said: str, session: str, hide: str) -> WahaError:
    status = body.get("status") if isinstance(body, dict) else None
    if status == "WORKING":
        return SessionNotReady(f"Session '{session}' is working, and this is only for one that is not.", status)
    if isinstance(status, str):
        return not_ready(session, clean(status, hide, limit=40))
    if "does not exist" in said:
        return SessionNotReady(no_session(session))
    if "not implemented by" in said:
        return _unsupported(422, said, session)
    if "only in Plus version" in said:
        return OnlyInPlus()
    return Refused(f"WAHA could not do that (422){': ' + said if said else ''}.")


def _message(body: Any, hide: str) -> str:
    """The message of an error answer: `message` (text or list), or `error` for a 422."""
    if not isinstance(body, dict) or "exception" in body:
        return ""
    said = body.get("message", body.get("error"))
    parts = said if isinstance(said, list) else [said]
    return clean("; ".join(part for part in parts if isinstance(part, str)), hide)


def clean(text: str, hide: str = "", limit: int = 300) -> str:
    """Foreign text as one printable line of at most `limit` characters, without `hide`, URLs and stacks."""
    text = redact(text, SecretStr(hide))
    text = re.split(r"\n\s*at\s", text, maxsplit=1)[0]
    text = re.sub(r"\b\w+://\S+", "<url>", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split()).rstrip(". ")
    return text if len(text) <= limit else text[: limit - 1] + "…"
