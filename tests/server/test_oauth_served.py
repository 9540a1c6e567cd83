"""OAuth in the server as started: the SDK's client reaches WhatsApp with a code from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from pydantic import AnyUrl

from tests.harness import ERAS, Era, payload, run
from tests.server.oauth_kept import Kept
from tests.server.oauth_served import WithOAuth, served
from tests.server.oauth_site import Page

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Iterator[WithOAuth]:
    """The server with the App `assistant`."""
    with served(tmp_path) as found:
        yield found


def auth(here: WithOAuth, kept: Kept) -> OAuthClientProvider:
    """The SDK's OAuth client, with a person who types a code and allows access."""
    returned: dict[str, str] = {}

    async def person(url: str) -> None:
        async with httpx.AsyncClient(base_url=here.url, follow_redirects=True) as browser:
            page = Page(await browser.get(url))
            for step in ("code", "allow"):
                body = page.hidden | {"step": step, "code": here.code() if step == "code" else ""}
                page = Page(await browser.post("/oauth/consent", data=body, headers={"Origin": here.url}))
            returned.update(page.returned)

    async def back() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=returned["code"], state=returned["state"], iss=returned["iss"])

    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl("http://localhost:3030/callback")], client_name="A client")
    return OAuthClientProvider(f"{here.url}/mcp", metadata, kept, person, back)


async def chats(here: WithOAuth, kept: Kept, era: Era = "auto") -> Any:
    """What a connected client gets of the App's chats."""
    async with (
        httpx2.AsyncClient(auth=auth(here, kept), timeout=60) as http,
        Client(streamable_http_client(f"{here.url}/mcp", http_client=http), mode=era) as client,
    ):
        return payload(await client.call_tool("list_chats", {"limit": 1}))


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_a_client_gets_to_whatsapp_with_a_code_from_the_command_line(era: Era, here: WithOAuth) -> None:
    kept = Kept()
    assert await chats(here, kept, era)
    [connected] = here.command("oauth")
    assert connected["name"] == "A client"
    assert kept.tokens is not None
    log = here.server.log()
    assert kept.tokens.access_token not in log


@pytest.mark.anyio
async def test_what_was_connected_ends_at_the_command_line_and_with_the_definition(here: WithOAuth) -> None:
    kept = Kept()
    await chats(here, kept)
    assert kept.tokens is not None

    def status() -> int:
        assert kept.tokens is not None
        headers = {
            "Authorization": f"Bearer {kept.tokens.access_token}",
            "Accept": "application/json, text/event-stream",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        return httpx.post(f"{here.url}/mcp", json=body, headers=headers).status_code

    assert status() != 401
    done = run("apps", "oauth", "assistant", "--end", "--apps", str(here.apps))
    assert "1 program that was connected by OAuth" in done.stdout
    assert status() == 401

    await chats(here, again := Kept())
    kept.tokens = again.tokens
    assert status() != 401
    file = here.apps / "assistant.toml"
    file.write_text(f"enabled = false\n{file.read_text()}")
    with anyio.fail_after(30):
        while status() != 401:  # noqa: ASYNC110 - the server looks at the folder once a second
            await anyio.sleep(0.1)


def test_a_refused_call_says_where_to_authorize(here: WithOAuth) -> None:
    for headers in ({}, {"Authorization": "Bearer wahamcp_a_no_token"}, {"X-Api-Key": "unknown-key-1234567890"}):
        answer = httpx.post(f"{here.url}/mcp", headers=headers, json={})
        assert answer.status_code == 401
        found = re.search(r'resource_metadata="([^"]+)"', answer.headers["www-authenticate"])
        assert found
        assert httpx.get(found[1]).json()["resource"] == f"{here.url}/mcp"


def test_behind_a_proxy_it_is_reached_by_its_public_name(tmp_path: Path) -> None:
    """As nginx or Caddy with TLS pass requests on: to loopback, with the public host."""
    public = "https://wa.example.com"
    with served(tmp_path, public) as here, httpx.Client(base_url=here.url) as browser:
        proxied = {"Host": "wa.example.com", "X-Forwarded-Proto": "https"}
        found = browser.get("/.well-known/oauth-authorization-server", headers=proxied).json()
        assert found["authorization_endpoint"] == f"{public}/authorize"
        registration = {"redirect_uris": ["https://client.example/callback"]}
        client = browser.post("/register", json=registration, headers=proxied).json()["client_id"]
        asked = {"client_id": client, "response_type": "code", "code_challenge": "x" * 43, "resource": f"{public}/mcp"}
        opened = browser.get("/authorize", params=asked, headers=proxied)
        cookie = opened.headers["set-cookie"].partition(";")[0]
        with_cookie = proxied | {"Cookie": cookie}
        page = Page(browser.get(opened.headers["location"], headers=with_cookie))
        body = page.hidden | {"step": "code", "code": here.code()}
        for origin, status in (("https://evil.example", 403), (public, 303)):
            answer = browser.post("/oauth/consent", data=body, headers=with_cookie | {"Origin": origin})
            assert answer.status_code == status
        assert browser.get("/authorize", params=asked, headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--oauth", "http://wa.example.com"], "--oauth: the issuer must be an https URL"),
        (["--oauth", "https://wa.example.com/path"], "--oauth: the issuer must be a URL without path"),
        (["--oauth", "https://wa.example.com", "--open"], "--oauth: not with --open"),
    ],
)
def test_what_cannot_be_an_authorization_server_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run("serve", "--http", "--port", "0", "--apps", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
