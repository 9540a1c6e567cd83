"""Why no connection to WAHA comes about is named as what it is, tried against real sockets."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.tls import Kind
from tests.waha.no_connection import CASES, Place, tls
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.steps import for_person
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import OutcomeUnknown, Untrusted, WahaError

pytestmark = pytest.mark.anyio

LOOK, CHANGE = "GET /api/{session}/chats", "POST /api/sendText"


@pytest.fixture
def place(sandbox: SandboxInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(sandbox, tmp_path, monkeypatch)


async def failing(place: Place, operation: str, **request: Any) -> WahaError:
    key = SecretStr(place.sandbox.keys["read_send"])
    async with Waha(place.url, key, "default", ca_file=place.ca_file) as waha:
        with pytest.raises(WahaError) as raised:
            await waha.call(operation, **request)
    return raised.value


@pytest.mark.parametrize("name", CASES)
async def test_the_reason_is_named_with_the_next_step(name: str, place: Place) -> None:
    case = CASES[name]
    with case.open(place):
        error = await failing(place, LOOK, query={"limit": 7})
    text, person = str(error), for_person(str(error))
    assert isinstance(error, case.error)
    assert isinstance(error, Untrusted) == (case.error is Untrusted)
    assert case.cause in text
    assert case.step.casefold() in person.casefold()
    assert "sk the user" in text
    assert "the user" not in person
    assert not isinstance(error, Untrusted) or error.ca_file_helps == case.ca_file_helps
    for secret in (place.sandbox.keys["read_send"], "/api", "chats", "limit", "secret", "SECRET"):
        assert secret not in text
    # Of a lasting reason one attempt is enough.
    assert len(place.opened) == case.tries + case.looks


@pytest.mark.parametrize("name", CASES)
async def test_of_a_change_it_is_said_whether_it_was_sent(name: str, place: Place) -> None:
    case = CASES[name]
    with case.open(place):
        error = await failing(place, CHANGE, body={"chatId": "15550100001@c.us", "text": "hello"})
    assert isinstance(error, OutcomeUnknown) if case.left else "so the request was not sent" in str(error)
    assert len(place.opened) <= 1 + case.looks


@pytest.mark.parametrize("kind", ["self-signed", "unknown authority"])
async def test_the_right_ca_file_makes_the_certificate_good(kind: Kind, place: Place) -> None:
    with tls(kind, "right")(place):
        async with Waha(place.url, SecretStr(place.sandbox.keys["read"]), "default", ca_file=place.ca_file) as waha:
            assert await waha.call(LOOK, query={"limit": 1})


async def test_a_ca_file_may_hold_the_servers_certificate_without_its_authoritys(place: Place) -> None:
    with tls("unknown authority", "right")(place):
        port = int(place.url.rpartition(":")[2])
        alone = place.folder / "alone.pem"
        alone.write_text(await anyio.to_thread.run_sync(ssl.get_server_certificate, ("127.0.0.1", port)))
        async with Waha(place.url, SecretStr(place.sandbox.keys["read"]), "default", ca_file=alone) as waha:
            assert await waha.call(LOOK, query={"limit": 1})
