"""The version that introduced an operation is named if the release notes give it and it is the reason."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from tests.harness import Admin
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.waha.client import Changes, Waha
from waha_mcp.waha.errors import OnlyInPlus, UnknownOperation
from waha_mcp.waha.versions import SINCE, lacks_operation, older, only_in_plus

STICKER = "POST /api/sendSticker"
OLD = "GET /api/{session}/chats"


def unknown(path: str) -> str:
    return json.dumps({"statusCode": 404, "message": f"Cannot {path}", "error": "Not Found"})


PLUS = json.dumps({"statusCode": 422, "message": "The feature is available only in Plus version. Check this out: x"})


def test_each_operation_of_the_table_is_one_of_wahas_and_stands_there_with_a_version() -> None:
    known = {f"{each.method} {each.path}" for each in contract().operations}
    assert set(SINCE) <= known
    assert all(older("2000.1", version) for version in SINCE.values())


@pytest.mark.parametrize(
    ("version", "than", "is_older"),
    [
        ("2026.2.1", "2026.4", True),
        ("2026.4.1", "2026.4", False),
        ("2026.10.1", "2026.9.1", False),
        ("2026.9.1", "2026.10.1", True),
        ("2024.10.8-beta", "2026.4", True),
        ("2026.4", "2026.4.3", True),
        ("latest", "2026.4", False),
        ("2026", "2027.1", False),
        (None, "2026.4", False),
    ],
)
def test_versions_are_compared_by_their_numbers_and_one_that_is_not_known_is_not_older(
    version: str | None, than: str, is_older: bool
) -> None:
    assert older(version, than) is is_older


def test_an_operation_names_the_version_that_brought_it_and_the_one_that_runs() -> None:
    said = lacks_operation(STICKER, "2026.2.1")
    assert "2026.2.1" in said
    assert "2026.8.2" in said
    assert "2026.8.2" in lacks_operation(STICKER, None)


@pytest.mark.parametrize(("operation", "running"), [(OLD, "2026.2.1"), (STICKER, "2026.9.2"), (None, None)])
def test_no_version_is_named_where_it_is_not_known_or_is_not_the_reason(
    operation: str | None, running: str | None
) -> None:
    said = lacks_operation(operation, running)
    assert "came with" not in said
    assert "url" in said
    assert (running or "") in said


def test_an_update_is_advised_against_only_in_plus_where_a_newer_image_is_free() -> None:
    assert "update WAHA" in only_in_plus("2026.2.1")
    assert "update WAHA" in only_in_plus(None)
    for running in ("2026.6.1", "2026.9.2"):
        assert "update" not in only_in_plus(running)
        assert running in only_in_plus(running)


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["2026.2.1", None])
async def test_a_change_that_this_waha_does_not_know_is_refused_with_the_version_that_runs(
    sandbox: SandboxInfo, admin: Admin, version: str | None
) -> None:
    await admin.fault("/api/sendSticker", status=404, body=unknown("POST /api/sendSticker"))
    await admin.fault("/api/server/version", body=json.dumps({"version": version} if version else []))
    changes = Changes()
    async with Waha(sandbox.url, SecretStr(sandbox.keys["full"]), "default") as waha:
        with pytest.raises(UnknownOperation, match=r"came with WAHA 2026\.8\.2") as caught:
            await waha.for_change(changes).call(STICKER, body={"chatId": "12025550123@c.us"})
    assert (version or "This WAHA does") in str(caught.value)
    assert caught.value.operation == STICKER
    assert changes.possible == 0


@pytest.mark.anyio
async def test_what_only_plus_could_is_said_with_the_version_since_which_the_free_image_can(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with Waha(sandbox.url, SecretStr(sandbox.keys["full"]), "default") as waha:
        await admin.fault("/api/sendImage", status=422, body=PLUS)
        await admin.fault("/api/server/version", body='{"version": "2026.2.1", "tier": "CORE"}')
        with pytest.raises(OnlyInPlus, match=r"\(2026\.2\.1\).*Plus.*2026\.6\.1.*update"):
            await waha.call("POST /api/sendImage", body={})
        # The sandbox's own version has all operations.
        await admin.fault("/api/sendImage", status=422, body=PLUS)
        with pytest.raises(OnlyInPlus) as caught:
            await waha.call("POST /api/sendImage", body={})
        assert "update" not in str(caught.value)


@pytest.mark.anyio
async def test_where_not_even_the_version_is_known_the_url_is_doubted(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.fault("/api/server/version", status=404, body=unknown("GET /api/server/version"), count=9)
    async with Waha(sandbox.url, SecretStr(sandbox.keys["full"]), "default") as waha:
        with pytest.raises(UnknownOperation, match="url is not WAHA's"):
            await waha.call("GET /api/server/version", bound=False)
