"""The format of errors."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.box import MAYA, Box

pytestmark = pytest.mark.anyio


async def test_an_unknown_route_is_wahas_404(gows: Box) -> None:
    answer = await gows.ask("GET", "/nowhere", key=None)
    assert answer.status_code == 404
    assert answer.json() == {"statusCode": 404, "message": "Cannot GET /nowhere", "error": "Not Found"}
    assert (await gows.ask("POST", "/api/nowhere", {})).json()["message"] == "Cannot POST /api/nowhere"
    assert (await gows.ask("GET", "/api/nowhere", key=None)).status_code == 401


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("chats?limit=many", ["limit must be a number conforming to the specified constraints"]),
        ("chats?sortOrder=up", ["sortOrder must be one of the following values: desc, asc"]),
        ("groups?exclude=names", ["each value in exclude must be one of the following values: , participants"]),
        ("groups/join-info", ["code should not be empty", "code must be a string"]),
    ],
)
async def test_bad_parameters_are_a_list_of_what_is_wrong(gows: Box, path: str, message: list[str]) -> None:
    answer = await gows.ask("GET", f"/api/default/{path}")
    assert answer.status_code == 400
    assert answer.json() == {"statusCode": 400, "message": message, "error": "Bad Request"}


async def test_a_bad_limit_of_messages_is_no_limit_at_all(gows: Box) -> None:
    assert len(await gows.messages(MAYA, limit="many")) == 10


async def test_a_checked_body_is_refused_with_a_list(gows: Box) -> None:
    answer = await gows.ask("POST", "/api/default/groups", {"name": 3})
    assert answer.status_code == 400
    assert answer.json()["message"] == ["name must be a string", "participants must be an array"]
    answer = await gows.ask("PUT", "/api/default/groups/1%40g.us/settings/security/info-admin-only", {})
    assert answer.json()["message"] == ["adminsOnly must be a boolean value"]


async def test_an_unchecked_body_is_a_500_that_echoes_it_with_a_stack(gows: Box) -> None:
    body = {"session": "default", "text": "a secret plan"}
    answer = await gows.ask("POST", "/api/sendText?trace=1", body)
    told = answer.json()
    assert answer.status_code == told["statusCode"] == 500
    assert told["request"] == {"path": "/api/sendText?trace=1", "method": "POST", "body": body, "query": {"trace": "1"}}
    assert told["exception"]["name"] == "TypeError"
    assert "\n    at " in told["exception"]["stack"]
    assert told["version"]["version"] == "2026.9.2"


async def test_a_body_that_is_no_json_is_a_400_and_one_that_is_not_called_json_is_empty(gows: Box) -> None:
    headers = {"X-Api-Key": gows.info.keys["send"], "Content-Type": "application/json"}
    broken = await gows.http.post("/api/sendText", content=b"{oops", headers=headers)
    assert broken.status_code == 400
    text = json.dumps({"session": "default", "chatId": MAYA, "text": "x"})
    unnamed = await gows.http.post("/api/sendText", content=text, headers=headers | {"Content-Type": "text/plain"})
    assert unnamed.json()["message"] == "Session name is required"


@pytest.mark.slow
async def test_a_body_over_50_mib_is_a_500_and_not_a_413(gows: Box) -> None:
    answer = await gows.ask("POST", "/api/sendText", {"session": "default", "text": "x" * (50 * 1024 * 1024)})
    assert answer.status_code == 500
    assert answer.json()["exception"]["name"] == "PayloadTooLargeError"


async def test_an_unknown_session_is_a_404_on_sessions_and_a_422_elsewhere(gows: Box) -> None:
    answer = await gows.ask("GET", "/api/sessions/nowhere", key="admin")
    assert (answer.status_code, answer.json()["message"]) == (404, "Session not found")
    answer = await gows.ask("GET", "/api/nowhere/chats", key="admin")
    assert answer.status_code == 422
    assert answer.json() == {"error": 'Session "nowhere" does not exist', "session": "nowhere"}


@pytest.mark.parametrize("status", ["STARTING", "SCAN_QR_CODE", "PASSKEY_REQUIRED", "FAILED"])
async def test_a_session_in_another_state_is_a_422_that_names_it(gows: Box, status: str) -> None:
    await gows.control("POST", "session", status=status)
    answer = await gows.ask("GET", "/api/default/chats")
    assert answer.status_code == 422
    told = answer.json()
    assert told["error"].startswith("Session status is not as expected")
    assert (told["session"], told["status"], told["expected"]) == ("default", status, ["WORKING"])


async def test_a_stopped_session_is_a_404_that_says_how_to_start_it(gows: Box) -> None:
    await gows.control("POST", "session", status="STOPPED")
    answer = await gows.ask("GET", "/api/default/chats")
    assert answer.status_code == 404
    assert "We didn't find a session with name 'default'" in answer.json()["message"]


async def test_noweb_without_its_store_refuses_chats_and_contacts(box: Box) -> None:
    await box.do("PUT", "/api/sessions/default", {"config": {"noweb": {"markOnline": True}}})
    await box.control("POST", "settle")
    wanted = 400 if box.engine == "noweb" else 200
    for path in ("/api/default/chats", "/api/contacts/all?session=default", "/api/default/labels", "/api/default/lids"):
        answer = await box.ask("GET", path)
        assert answer.status_code == wanted, path
    assert (await box.ask("GET", "/api/default/groups")).status_code == 200


@pytest.mark.parametrize("path", ["contacts/447700900001", "groups/123%40g.us", f"chats/{MAYA}/messages/unknown"])
async def test_null_is_an_empty_body_without_a_content_type(box: Box, path: str) -> None:
    answer = await box.ask("GET", f"/api/default/{path}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-type" not in answer.headers


async def test_me_of_a_session_that_is_not_working_is_empty(gows: Box) -> None:
    await gows.control("POST", "session", status="SCAN_QR_CODE")
    answer = await gows.ask("GET", "/api/sessions/default/me")
    assert (answer.status_code, answer.content) == (200, b"")
