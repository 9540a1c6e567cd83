"""The state of the bound session, as far as WAHA's answers reveal it.

WAHA waits up to 15 s for a session that is not working before it refuses. Once the session is known to be in a state
that only a person or control_session ends, each call first checks whether that has changed, which is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waha_mcp.waha.errors import SessionNotReady
from waha_mcp.waha.parsing import mapping_of, text_of

#: Lists the sessions in any state, for any key, without delay.
SESSIONS = "GET /api/sessions"
#: States that do not become WORKING by themselves. For STARTING, WAHA's wait is right.
_STAYING = frozenset({"STOPPED", "FAILED", "SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"})
#: Operations that WAHA answers in any state. The probe of the action `send` must reach WAHA's guard.
_ANY_STATE = (
    "/api/sessions",
    "/api/apps",
    "/api/keys",
    "/api/server",
    "/api/screenshot",
    "/api/{session}/auth",
    "/api/{session}/status/new-message-id",
)
_WORKING_ONLY = ("/api/sessions/{session}/capping", "/api/sessions/{session}/timelock")


class SessionState:
    """The last known state of the session; shared by all copies of a client."""

    def __init__(self) -> None:
        #: WAHA's status; None: not known.
        self.status: str | None = None
        #: The name of its engine, such as "WPP"; None: not known.
        self.engine: str | None = None

    def keeps_from(self, template: str) -> bool:
        """Whether an operation (its path's template) would be refused, if the session is still in this state."""
        free = template.startswith(_ANY_STATE) and template not in _WORKING_ONLY
        return self.status in _STAYING and not free

    def hear(self, operation: str, answer: Any, session: str | None) -> None:
        """Take the session's status and engine from an answer that contains them."""
        method, _, template = operation.partition(" ")
        row: Mapping[str, Any] = {}
        if operation == SESSIONS and isinstance(answer, list):
            row = next((each for each in map(mapping_of, answer) if each.get("name") == session), {})
        elif template == "/api/sessions/{session}" or (
            method == "POST" and template.startswith("/api/sessions/{session}/")
        ):
            row = mapping_of(answer)
        if status := text_of(row.get("status")):
            self.status = status
        if engine := text_of(mapping_of(row.get("engine")).get("engine")):
            self.engine = engine

    def refused(self, error: Exception) -> None:
        """Take the session's status from WAHA's refusal of a call."""
        if isinstance(error, SessionNotReady) and error.status is not None:
            self.status = error.status
