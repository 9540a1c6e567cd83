"""Authorization, and the order of the checks that refuse a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.box import MAYA, Box
from waha_mcp.sandbox.contract import Operation, contract

pytestmark = pytest.mark.anyio

ACTIONS = {
    "none": set[str](),
    "read": {"read"},
    "send": {"send"},
    "read_send": {"read", "send"},
    "full": {"read", "send", "control", "setting", "app", "delete"},
}


def request_for(operation: Operation) -> tuple[str, dict[str, str], Any]:
    """A request that names the session where the guard looks for it, and is otherwise empty."""
    path = operation.path.replace("{session}", "default").replace("/api/apps/{id}", "/api/apps/app_guarded")
    for param in operation.params:
        path = path.replace(f"{{{param.name}}}", "x")
    query = {"session": "default"} if operation.session_from == "query" else {}
    body: Any = None
    if operation.session_from.startswith("body"):
        body = {"name" if operation.session_from == "body:name" else "session": "default"}
    return path, query, body


def opened_by(operation: Operation, key: str) -> bool:
    if operation.action in ("none", "server", "list"):
        return True
    if operation.action in ("admin", "create"):
        return key == "admin"
    action = operation.action
    if action == "unknown":
        action = "send" if "groups" in operation.path else "control"
    return key == "admin" or action in ACTIONS[key]


@pytest.mark.parametrize("key", [None, "none", "read", "send", "read_send", "full", "admin"])
@pytest.mark.slow
async def test_each_key_opens_exactly_the_operations_of_its_actions(gows: Box, key: str | None) -> None:
    app = {"id": "app_guarded", "session": "default", "app": "calls", "config": {}}
    await gows.do("POST", "/api/apps", app, key="admin")
    # Authorized requests must have no effect: the engine is made to lack everything.
    await gows.control("POST", "engine", lacks=list(contract().by_id))
    for operation in contract().operations:
        path, query, body = request_for(operation)
        answer = await gows.ask(operation.method, path, body, key=key, params=query)
        if key is None:
            if path.startswith("/api/"):
                assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized", "statusCode": 401})
        elif opened_by(operation, key):
            assert answer.status_code not in (401, 403), (operation.id, answer.text)
        else:
            assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden", "statusCode": 403}), (
                operation.id
            )


async def test_a_key_opens_its_own_session_only(gows: Box) -> None:
    await gows.do("POST", "/api/sessions", {"name": "other"}, key="admin")
    for method, path, body in (
        ("GET", "/api/sessions/other", None),
        ("GET", "/api/other/chats", None),
        ("GET", "/api/contacts/all?session=other", None),
        ("POST", "/api/sendText", {"session": "other", "chatId": MAYA, "text": "x"}),
        ("POST", "/api/sessions/stop", {"name": "other"}),
        ("POST", "/api/apps", {"session": "other", "id": "a", "app": "mcp", "config": {}}),
    ):
        assert (await gows.ask(method, path, body, key="full")).status_code == 403, path
        assert (await gows.ask(method, path, body, key="admin")).status_code != 403, path


@pytest.mark.parametrize("secret", [None, "", "wrong", "Bearer"])
async def test_only_a_known_key_in_its_place_opens_anything(gows: Box, secret: str | None) -> None:
    headers = {"Authorization": f"Bearer {gows.info.admin_key}"} if secret == "Bearer" else {}
    answer = await gows.ask("GET", "/api/sessions", key=None if secret == "Bearer" else secret, headers=headers)
    assert answer.status_code == 401


async def test_the_key_may_stand_in_the_lower_case_query_parameter_alone(gows: Box) -> None:
    key = gows.info.keys["read"]
    assert (await gows.ask("GET", f"/api/sessions?x-api-key={key}", key=None)).status_code == 200
    assert (await gows.ask("GET", f"/api/sessions?X-Api-Key={key}", key=None)).status_code == 401
    [entry] = [each for each in await gows.control("GET", "requests") if each["status"] == 200]
    assert key not in str(entry)


async def test_a_missing_session_name_is_said_before_what_else_is_missing(gows: Box) -> None:
    wanted = {"message": "Session name is required", "error": "Bad Request", "statusCode": 400}
    for method, path, body in (
        ("GET", "/api/contacts/all", None),
        ("POST", "/api/sendText", {}),
        ("POST", "/api/sendText", None),
        ("POST", "/api/keys/media", {}),
    ):
        answer = await gows.ask(method, path, body)
        assert (answer.status_code, answer.json()) == (400, wanted)


async def test_a_refusal_comes_before_checks_and_checks_before_the_sessions_state(gows: Box) -> None:
    await gows.control("POST", "session", status="SCAN_QR_CODE")
    path = "/api/default/chats?limit=many"
    assert (await gows.ask("GET", path, key=None)).status_code == 401
    assert (await gows.ask("GET", path, key="send")).status_code == 403
    assert (await gows.ask("GET", path, key="read")).status_code == 400
    assert (await gows.ask("GET", "/api/default/chats", key="read")).status_code == 422


async def test_a_key_that_is_switched_off_or_deleted_opens_nothing(gows: Box) -> None:
    wish = {"isAdmin": False, "session": "default", "isActive": True, "actions": {"read": True}}
    key = await gows.do("POST", "/api/keys", wish, key="admin")
    path = "/api/sessions/default"
    assert (await gows.ask("GET", path, key=key["key"])).status_code == 200
    await gows.do("PUT", f"/api/keys/{key['id']}", wish | {"actions": {"send": True}}, key="admin")
    assert (await gows.ask("GET", path, key=key["key"])).status_code == 403
    await gows.do("PUT", f"/api/keys/{key['id']}", wish | {"isActive": False}, key="admin")
    assert (await gows.ask("GET", path, key=key["key"])).status_code == 401
    await gows.do("PUT", f"/api/keys/{key['id']}", wish, key="admin")
    assert (await gows.ask("GET", path, key=key["key"])).status_code == 200
    await gows.do("DELETE", f"/api/keys/{key['id']}", key="admin")
    assert (await gows.ask("GET", path, key=key["key"])).status_code == 401
    assert key["id"] not in [each["id"] for each in await gows.do("GET", "/api/keys", key="admin")]


async def test_null_actions_are_all_but_delete_and_an_object_is_taken_as_it_is(gows: Box) -> None:
    wish = {"isAdmin": False, "session": "default", "isActive": True}
    everything = await gows.do("POST", "/api/keys", wish | {"actions": None}, key="admin")
    nothing = await gows.do("POST", "/api/keys", wish | {"actions": {}}, key="admin")
    assert everything["actions"] is None
    assert (await gows.ask("DELETE", "/api/sessions/default", key=everything["key"])).status_code == 403
    assert (await gows.ask("GET", "/api/apps?session=default", key=everything["key"])).status_code == 200
    assert (await gows.ask("GET", "/api/sessions/default", key=nothing["key"])).status_code == 403
    assert (await gows.ask("GET", "/api/sessions", key=nothing["key"])).status_code == 200


async def test_narrow_keys_are_made_once_and_do_one_thing(gows: Box) -> None:
    media = await gows.do("POST", "/api/keys/media", {"session": "default"}, key="read")
    control = await gows.do("POST", "/api/keys/control", {"session": "default"})
    assert media == await gows.do("POST", "/api/keys/media", {"session": "default"})
    assert not any(media["actions"].values())
    assert [name for name, on in control["actions"].items() if on] == ["control"]
    assert (await gows.ask("GET", "/api/default/chats", key=media["key"])).status_code == 403
    assert (await gows.ask("POST", "/api/keys/control", {"session": "default"}, key="read")).status_code == 403
    assert (await gows.ask("POST", "/api/keys/media", {"session": "nowhere"}, key="admin")).status_code == 422


async def test_any_key_of_the_session_fetches_its_media_and_no_other_key_does(gows: Box) -> None:
    [with_file] = [each for each in await gows.messages(MAYA, limit=5, downloadMedia="true") if each["media"]][:1]
    path = with_file["media"]["url"].removeprefix("http://waha.example.com:3000")
    answer = await gows.ask("GET", path, key="none")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == with_file["media"]["mimetype"]
    assert answer.content.startswith(b"\xff\xd8")
    assert (await gows.ask("GET", path, key=None)).status_code == 401
    wish = {"isAdmin": False, "session": "other", "isActive": True, "actions": None}
    other = await gows.do("POST", "/api/keys", wish, key="admin")
    assert (await gows.ask("GET", path, key=other["key"])).status_code == 403
    missing = await gows.ask("GET", "/api/files/default/nothing.jpeg", key="none")
    assert (missing.status_code, missing.json()["error"]["key"]) == (404, "FILE_NOT_FOUND")
