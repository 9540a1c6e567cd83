"""The state of a session, as derived from WAHA's answers."""

from __future__ import annotations

from typing import Any

import pytest

from waha_mcp.waha.errors import Refused, SessionNotReady
from waha_mcp.waha.session_state import SESSIONS, SessionState

STAYING = ["STOPPED", "FAILED", "SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"]
CHATS = "/api/{session}/chats"


def row(status: Any, name: str = "default", engine: Any = "GOWS") -> dict[str, Any]:
    return {"name": name, "status": status, "engine": {"engine": engine}}


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (SESSIONS, [row("WORKING", "other", "WPP"), row("STOPPED")]),
        ("GET /api/sessions/{session}", row("STOPPED")),
        ("PUT /api/sessions/{session}", row("STOPPED")),
        ("POST /api/sessions/{session}/stop", row("STOPPED")),
    ],
)
def test_status_and_engine_are_heard_from_answers_that_are_the_session(operation: str, answer: Any) -> None:
    state = SessionState()
    state.hear(operation, answer, "default")
    assert (state.status, state.engine) == ("STOPPED", "GOWS")


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (SESSIONS, row("STOPPED")),
        (SESSIONS, [row("STOPPED", "other")]),
        (SESSIONS, ["junk", None]),
        ("GET /api/sessions/{session}/me", row("STOPPED")),
        ("GET /api/{session}/chats", row("STOPPED")),
        ("GET /api/sessions/{session}", {"status": None, "engine": "GOWS"}),
        ("GET /api/sessions/{session}", None),
    ],
)
def test_other_answers_tell_nothing(operation: str, answer: Any) -> None:
    state = SessionState()
    state.hear(operation, answer, "default")
    assert (state.status, state.engine) == (None, None)


def test_a_refusal_tells_the_status_where_it_names_one() -> None:
    state = SessionState()
    for error in (Refused("no"), SessionNotReady("not ready")):
        state.refused(error)
        assert state.status is None
    state.refused(SessionNotReady("not ready", "FAILED"))
    assert state.status == "FAILED"
    state.refused(SessionNotReady("not ready"))
    assert state.status == "FAILED"


@pytest.mark.parametrize("status", STAYING)
def test_a_state_that_stays_keeps_from_what_needs_a_working_session(status: str) -> None:
    state = SessionState()
    state.status = status
    for template in (CHATS, "/api/sessions/{session}/capping", "/api/sessions/{session}/timelock"):
        assert state.keeps_from(template)


@pytest.mark.parametrize("status", [None, "WORKING", "STARTING", "SOMETHING_NEW"])
def test_other_states_keep_from_nothing(status: str | None) -> None:
    state = SessionState()
    state.status = status
    assert not state.keeps_from(CHATS)


@pytest.mark.parametrize(
    "template",
    [
        "/api/sessions",
        "/api/sessions/{session}",
        "/api/sessions/{session}/start",
        "/api/apps",
        "/api/keys",
        "/api/server/version",
        "/api/screenshot",
        "/api/{session}/auth/qr",
        "/api/{session}/status/new-message-id",
    ],
)
def test_what_waha_answers_in_any_state_is_never_kept_from(template: str) -> None:
    state = SessionState()
    state.status = "STOPPED"
    assert not state.keeps_from(template)
