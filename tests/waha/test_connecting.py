"""The reason of a failed connection to WAHA is named correctly, tested against real sockets."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import SecretStr

from tests.harness import Admin
from tests.tls import Kind
from tests.waha.no_connection import CASES, Place, answering, tls
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.steps import for_person
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import NotFound, OutcomeUnknown, Unauthorized, Unreachable, Untrusted, WahaError

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
    # For a permanent reason one attempt is enough.
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


class Raising(httpx.AsyncBaseTransport):
    """Fails like httpx with one cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause, self.tries = cause, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tries += 1
        raise httpx.ConnectError("https://user:secret@host?x-api-key=1") from self.cause


#: Causes that no test can produce -> (the text, the number of attempts).
CAUSES: dict[str, tuple[Exception, str, int]] = {
    "a name that is unknown": (socket.gaierror(socket.EAI_NONAME, "x"), "no host named waha.test", 1),
    "no resolver": (socket.gaierror(socket.EAI_AGAIN, "x"), "waha.test cannot be looked up now (DNS)", 3),
    "no network": (OSError(errno.ENETUNREACH, "x"), "there is no route to that address", 3),
    "a firewall here": (PermissionError(errno.EPERM, "x"), "does not let waha-mcp connect", 1),
    "one family refused, one without a way": (
        ExceptionGroup("x", [OSError(errno.ENETUNREACH, "x"), ConnectionRefusedError(errno.ECONNREFUSED, "x")]),
        "nothing listens there", 3,
    ),
    "something unheard of": (RuntimeError("x"), "https://waha.test failed, so the request was not sent", 3),
}  # fmt: skip


@pytest.mark.parametrize("case", CAUSES)
async def test_a_cause_is_found_and_tried_again_only_where_that_may_help(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause, says, tries = CAUSES[case]
    transport = Raising(cause)
    monkeypatch.setattr("waha_mcp.waha.client.anyio.sleep", _at_once)
    async with Waha("https://waha.test", SecretStr("key_sample_0123456789"), "default") as waha:
        looks, _ = waha._clients()
        monkeypatch.setattr(looks, "_transport", transport)
        with pytest.raises(Unreachable) as caught:
            await waha.call("GET /api/server/version", bound=False)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert transport.tries == tries


async def _at_once(_: float) -> None:
    pass


async def test_a_media_file_that_is_gone_is_not_taken_for_another_server(sandbox: SandboxInfo, place: Place) -> None:
    async with Waha(sandbox.url, SecretStr(sandbox.keys["read"]), "default") as waha:
        with pytest.raises(NotFound):
            await waha.download(f"{sandbox.url}/api/files/default/gone.jpg", cap=1000)
    gone = json.dumps({"error": {"code": 404, "key": "FILE_NOT_FOUND"}})
    with answering("404 Not Found", gone, "Content-Type: application/json")(place):
        assert isinstance(await failing(place, LOOK), NotFound)


async def test_a_key_that_is_empty_is_not_sent(sandbox: SandboxInfo, admin: Admin) -> None:
    async with Waha(sandbox.url, SecretStr("")) as waha:
        with pytest.raises(Unauthorized):
            await waha.call("GET /api/server/version", bound=False)
    [request] = await admin.requests()
    assert "x-api-key" not in [name.lower() for name in request["headers"]]
