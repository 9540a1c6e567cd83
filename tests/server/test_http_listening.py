"""The socket that `serve --http` listens on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import httpx2
import pytest

from tests.http_server import http_server, write_app
from tests.tls import certificate
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.http import Site, _listening

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_no_part_of_an_answer_waits_for_the_client_to_confirm_the_one_before(host: str) -> None:
    made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken = transport.get_extra_info("socket")
            made.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    with _listening(Site(host, 0)) as listening:
        server = await asyncio.get_running_loop().create_server(Server, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        assert await made
        writer.close()
        server.close()


@pytest.mark.slow
async def test_with_a_certificate_it_serves_https_alone_and_the_private_key_stands_in_no_log(
    sandbox_process: SandboxInfo, tmp_path: Path
) -> None:
    made = certificate("unknown authority", tmp_path)
    private, begin, rest = made.chain.read_text().partition("-----BEGIN CERTIFICATE-----")
    keyfile, certfile, apps = tmp_path / "privkey.pem", tmp_path / "fullchain.pem", tmp_path / "apps"
    keyfile.write_text(private)
    certfile.write_text(begin + rest)
    key = sandbox_process.keys["full"]
    write_app(apps, "mine", sandbox_process, key)
    tls = ("--certfile", str(certfile), "--keyfile", str(keyfile))
    with http_server("--apps", str(apps), *tls, "--log-level", "debug", state=tmp_path / "state") as server:
        async with server.client(key, verify=ssl.create_default_context(cafile=made.ca_file)) as client:
            assert not (await client.call_tool("list_chats", {})).is_error
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            server.get("/healthz")
        # In plain text not even that is answered for which no key is needed.
        assert server.raw(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b""
    assert server.url.startswith("https://127.0.0.1:")
    assert "DEBUG" in server.log()
    assert "Traceback" not in server.log()
    secret = [line for line in private.splitlines() if line and not line.startswith("-----")]
    assert secret
    assert not [line for line in secret if line in server.log()]
