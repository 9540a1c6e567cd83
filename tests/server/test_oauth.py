"""OAuth over real HTTP: the flow, and the requests that it refuses."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from pydantic import AnyUrl

from tests.memory_store import Memory
from tests.redis_server import RedisServer
from tests.server.oauth_kept import Kept
from tests.server.oauth_site import REDIRECT, Client, Page, Site, an_app, site
from waha_mcp.server import oauth as subject
from waha_mcp.server import oauth_clients, oauth_state
from waha_mcp.server.oauth import TOKEN_PREFIX, OAuth
from waha_mcp.store import Limit, Store
from waha_mcp.store.sqlite import Sqlite
from waha_mcp.waha.web_fetch import MayAsk, NotAllowed, WebFile

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """A server with one App, `assistant`."""
    with site(tmp_path / "store.sqlite") as found:
        yield found


# The flow


@pytest.mark.anyio
async def test_the_sdks_client_is_connected_and_renews_its_token(here: Site) -> None:
    kept, returned, opened = Kept(), dict[str, str](), list[int]()

    async def person(url: str) -> None:
        opened.append(1)
        async with httpx.AsyncClient(base_url=here.url, follow_redirects=True) as browser:
            page = Page(await browser.get(url))
            for step in ("code", "allow"):
                body = page.hidden | {"step": step, "code": here.code()}
                page = Page(await browser.post("/oauth/consent", data=body, headers={"Origin": here.url}))
            returned.update(page.returned)

    async def back() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=returned["code"], state=returned["state"], iss=returned["iss"])

    def auth() -> OAuthClientProvider:
        metadata = OAuthClientMetadata(
            redirect_uris=[AnyUrl("http://localhost:3030/callback")], client_name="The SDK's client"
        )
        return OAuthClientProvider(f"{here.url}/mcp", metadata, kept, person, back)

    async with httpx2.AsyncClient(auth=auth()) as http:
        assert (await http.post(f"{here.url}/mcp")).json()["app"] == "assistant"
    first = kept.tokens
    assert kept.client is not None
    assert not kept.client.client_secret

    # The token is gone, as after an hour: the client renews it without asking anybody.
    provider = auth()
    await provider._initialize()
    provider.context.oauth_metadata = None
    provider.context.token_expiry_time = 1.0
    async with httpx2.AsyncClient(auth=provider) as http:
        assert (await http.post(f"{here.url}/mcp")).json()["app"] == "assistant"
    assert kept.tokens != first
    assert opened == [1]


def test_tokens_open_the_app_whose_code_was_typed_and_no_other(tmp_path: Path) -> None:
    with site(tmp_path / "store.sqlite", an_app("one"), an_app("two")) as here:
        one, two = Client(here).connected("one"), Client(here).connected("two")
        assert here.app_of(one["access_token"]) == "one"
        assert here.app_of(two["access_token"]) == "two"
        assert here.app_of(None) is None


def test_what_a_client_gets_says_what_it_is(here: Site) -> None:
    tokens = Client(here).connected()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3_600
    assert tokens["access_token"].startswith(TOKEN_PREFIX)
    assert tokens["refresh_token"].startswith(TOKEN_PREFIX)
    assert here.app_of(tokens["refresh_token"]) is None


@pytest.mark.anyio
async def test_the_owner_of_a_session_is_the_same_after_a_renewal_and_another_for_another_grant(here: Site) -> None:
    client = Client(here)
    first = client.connected()
    owner = await here.oauth.app_of(first["access_token"])
    renewed = await here.oauth.app_of(client.refresh(first["refresh_token"]).json()["access_token"])
    other = await here.oauth.app_of(client.connected()["access_token"])
    assert owner is not None
    assert renewed is not None
    assert other is not None
    assert owner[1] == renewed[1] != other[1]


def test_discovery_leads_from_a_refused_call_to_every_address(here: Site) -> None:
    refused = httpx.post(f"{here.url}/mcp")
    assert refused.status_code == 401
    found = re.search(r'resource_metadata="([^"]+)"', refused.headers["www-authenticate"])
    assert found
    for address in (found[1], f"{here.url}/.well-known/oauth-protected-resource"):
        resource = httpx.get(address, headers={"Origin": "https://inspector.example"})
        assert resource.headers["access-control-allow-origin"] == "*"
        assert resource.json()["resource"] == f"{here.url}/mcp"
        assert resource.json()["authorization_servers"] == [here.url]
    server = httpx.get(f"{here.url}/.well-known/oauth-authorization-server").json()
    assert server["issuer"] == here.url
    assert server["code_challenge_methods_supported"] == ["S256"]
    assert server["token_endpoint_auth_methods_supported"] == ["none"]
    assert server["client_id_metadata_document_supported"] is True
    for name in ("authorization", "token", "registration", "revocation"):
        assert server[f"{name}_endpoint"].startswith(f"{here.url}/")


@pytest.mark.parametrize(
    "issuer",
    ["http://wa.example.com", "https://wa.example.com/path", "https://wa.example.com?x", "wa.example.com", "ftp://x.y"],
)
def test_an_issuer_is_an_https_origin_or_on_loopback(issuer: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        OAuth(issuer, lambda app_id: None, Memory())


@pytest.fixture(params=["sqlite", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Store]:
    """One store, opened twice."""
    if request.param == "sqlite":
        return Sqlite(tmp_path / "s.sqlite"), Sqlite(tmp_path / "s.sqlite")
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.store(), server.store()


def test_a_replica_takes_each_step_after_another(stores: tuple[Store, Store]) -> None:
    """As behind a proxy that sends each request to another one: both have the same URL."""
    with site(stores[0]) as one, site(stores[1], issuer=one.url) as two:
        client = Client(one)
        page = client.open()

        def other(step: str, **fields: str) -> Page:
            client.browser.base_url = two.url
            return client.post(page, step, **fields)

        page = other("code", code=one.code())
        back = other("allow").returned
        client.http.base_url = two.url
        tokens = client.exchange(back["code"]).json()
        client.http.base_url = one.url
        renewed = client.refresh(tokens["refresh_token"]).json()
        assert two.app_of(renewed["access_token"]) == one.app_of(renewed["access_token"]) == "assistant"
        client.revoke(renewed["access_token"])
        assert two.app_of(renewed["access_token"]) is None
        # An old refresh token ends the grant at a replica other than the one that issued the new one.
        tokens = client.connected()
        client.http.base_url = two.url
        renewed = client.refresh(tokens["refresh_token"]).json()
        client.http.base_url = one.url
        assert client.refresh(tokens["refresh_token"]).status_code == 400
        assert two.app_of(renewed["access_token"]) is None


# Authorization codes


def test_a_code_is_good_once_and_its_second_use_ends_what_the_first_gave(here: Site) -> None:
    client = Client(here)
    code = client.allowed()
    tokens = client.exchange(code).json()
    assert here.app_of(tokens["access_token"]) == "assistant"
    assert client.exchange(code).json()["error"] == "invalid_grant"
    assert here.app_of(tokens["access_token"]) is None
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_of_many_who_exchange_a_code_at_once_at_most_one_gets_tokens(here: Site) -> None:
    client = Client(here)
    code, answers = client.allowed(), list[httpx.Response]()
    threads = [threading.Thread(target=lambda: answers.append(client.exchange(code))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert sum(answer.status_code == 200 for answer in answers) <= 1
    assert len(oauth_state.grants(here.store, "assistant")) <= 1


WRONG_EXCHANGES: dict[str, dict[str, str | None]] = {
    "another verifier": {"code_verifier": "x" * 64},
    "no verifier": {"code_verifier": None},
    "another redirect": {"redirect_uri": "https://client.example/other"},
    "no redirect": {"redirect_uri": None},
    "another resource": {"resource": "https://other.example/mcp"},
    "another code": {"code": "x" * 43},
    "another grant type": {"grant_type": "client_credentials"},
}


@pytest.mark.parametrize("case", WRONG_EXCHANGES)
def test_a_code_gives_nothing_to_who_is_not_its_client_all_through(case: str, here: Site) -> None:
    client = Client(here)
    code = client.allowed()
    answer = client.exchange(code, **WRONG_EXCHANGES[case])
    assert answer.status_code == 400
    assert "access_token" not in answer.text
    # The client itself can continue.
    assert client.exchange(code).status_code == 200


def test_a_code_gives_nothing_to_another_client(here: Site) -> None:
    client, other = Client(here), Client(here)
    code = client.allowed()
    assert other.exchange(code, code_verifier=client.verifier).json()["error"] == "invalid_grant"
    assert client.exchange(code).status_code == 200


def test_a_code_is_good_for_two_minutes(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(here)
    monkeypatch.setattr(oauth_state, "CODE_LIFE", -1.0)
    code = client.allowed()
    assert client.exchange(code).json()["error"] == "invalid_grant"


# Refreshing and ending


def test_an_old_refresh_token_ends_the_grant(here: Site) -> None:
    client = Client(here)
    first = client.connected()
    second = client.refresh(first["refresh_token"]).json()
    assert here.app_of(first["access_token"]) == "assistant"  # until it expires
    assert client.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert here.app_of(second["access_token"]) is None
    assert client.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"


def test_another_client_does_not_refresh_nor_end_a_grant(here: Site) -> None:
    client, other = Client(here), Client(here)
    tokens = client.connected()
    assert other.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert other.revoke(tokens["access_token"]).status_code == 200
    assert other.revoke(tokens["refresh_token"]).status_code == 200
    assert here.app_of(tokens["access_token"]) == "assistant"


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_client_ends_its_grant_with_either_token(which: str, here: Site) -> None:
    client = Client(here)
    tokens = client.connected()
    assert client.revoke(tokens[which]).status_code == 200
    assert here.app_of(tokens["access_token"]) is None
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_refresh_for_another_resource_is_refused(here: Site) -> None:
    client = Client(here)
    tokens = client.connected()
    answer = client.refresh(tokens["refresh_token"], resource="https://other.example/mcp")
    assert answer.json()["error"] == "invalid_target"


def test_tokens_expire(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth_state, "ACCESS_LIFE", -1.0)
    tokens = Client(here).connected()
    assert here.app_of(tokens["access_token"]) is None


def test_a_grant_expires(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth_state, "GRANT_LIFE", -1.0)
    client = Client(here)
    tokens = client.connected()
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_tokens_of_another_server_on_the_same_store_are_refused(tmp_path: Path) -> None:
    with site(tmp_path / "s.sqlite") as one, site(tmp_path / "s.sqlite") as two:
        tokens = Client(one).connected()
        assert one.app_of(tokens["access_token"]) == "assistant"
        assert two.app_of(tokens["access_token"]) is None


def test_a_disabled_app_ends_its_tokens(here: Site) -> None:
    client = Client(here)
    tokens, code = client.connected(), client.allowed()
    del here.apps["assistant"]
    assert here.app_of(tokens["access_token"]) is None
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert client.exchange(code).json()["error"] == "invalid_grant"


def test_a_new_key_leaves_the_grant_and_another_account_ends_it(here: Site) -> None:
    tokens = Client(here).connected()
    here.apps["assistant"] = here.apps["assistant"].model_copy(update={"key": "another"})
    assert here.app_of(tokens["access_token"]) == "assistant"
    here.apps["assistant"] = an_app(session="other")
    assert here.app_of(tokens["access_token"]) is None


@pytest.mark.parametrize("token", ["", "x", TOKEN_PREFIX, f"{TOKEN_PREFIX}a_{'0' * 32}_{'A' * 43}", "é" * 80])
@pytest.mark.anyio
async def test_what_is_no_token_opens_nothing(token: str, here: Site) -> None:
    assert await here.oauth.app_of(token) is None


# Requests for consent

WRONG_REQUESTS: dict[str, dict[str, str | None]] = {
    "no challenge": {"code_challenge": None},
    "a plain challenge": {"code_challenge_method": "plain"},
    "a challenge that is none": {"code_challenge": "short"},
    "another resource": {"resource": "https://other.example/mcp"},
    "this server, but not its resource": {"resource": "http://127.0.0.1:1/mcp"},
    "another response type": {"response_type": "token"},
    "a redirect that is not registered": {"redirect_uri": "https://evil.example/callback"},
    "a redirect to a host that begins alike": {"redirect_uri": f"{REDIRECT}.evil.example"},
    "a redirect with more behind it": {"redirect_uri": f"{REDIRECT}/../other"},
    "a redirect with a query": {"redirect_uri": f"{REDIRECT}?next=https://evil.example"},
    "a client that is none": {"client_id": "00000000-0000-0000-0000-000000000000"},
    "a long state": {"state": "x" * 3_000},
    "markup for a client": {"client_id": "<script>alert(1)</script>"},
}


@pytest.mark.parametrize("case", WRONG_REQUESTS)
def test_a_wrong_request_ends_at_a_page_of_ours_and_redirects_nobody(case: str, here: Site) -> None:
    client = Client(here)
    answer = client.open(**WRONG_REQUESTS[case]).answer
    assert answer.status_code == 400
    assert answer.url.host == "127.0.0.1"
    assert "cannot go on" in answer.text
    assert "<script" not in answer.text
    assert "evil.example" not in str(answer.url.host)
    assert "http-equiv" not in answer.text


def test_a_client_that_names_no_resource_gets_tokens_for_this_one(here: Site) -> None:
    client = Client(here)
    code = client.allowed(resource=None)
    tokens = client.exchange(code, resource=None).json()
    assert here.app_of(tokens["access_token"]) == "assistant"


@pytest.mark.parametrize("scheme", ["http://localhost", "http://127.0.0.1", "http://[::1]"])
def test_a_program_on_this_computer_may_listen_on_any_port(scheme: str, here: Site) -> None:
    client = Client(here, redirect=f"{scheme}:1234/callback")
    client.redirect = f"{scheme}:4321/callback"
    assert client.exchange(client.allowed()).status_code == 200
    assert client.open(redirect_uri=f"{scheme}:4321/other").answer.status_code == 400
    assert client.open(redirect_uri="http://evil.example:1234/callback").answer.status_code == 400


@pytest.mark.parametrize(
    "redirect",
    ["https://client.example", "https://client.example/", "com.example.app:/callback", "cursor://anysphere.mcp/oauth"],
)
def test_what_redirects_may_be(redirect: str, here: Site) -> None:
    client = Client(here, redirect=redirect)
    assert client.exchange(client.allowed()).status_code == 200


@pytest.mark.parametrize(
    "redirect",
    [
        "http://client.example/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "ms-msdt:x",
        "tel:+12025550123",
        "file:///etc/passwd",
        "https://user:word@client.example/callback",
        "https://client.example/callback#part",
        "http://localhost.evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        f"https://client.example/{'x' * 1_000}",
        "nothing",
    ],
)
def test_what_redirects_may_not_be(redirect: str, here: Site) -> None:
    client = Client(here)
    client.redirect = redirect
    assert client.register().status_code == 400


def test_a_client_gets_no_secret_whatever_it_asks_for(here: Site) -> None:
    answer = Client(here).register(token_endpoint_auth_method="client_secret_basic").json()
    assert answer["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in answer


def test_a_clients_state_comes_back_as_it_was_with_who_answers(here: Site) -> None:
    client = Client(here)
    client.state = 'a&b=c#d <"é'
    page = client.post(client.post(client.open(), "code", code=here.code()), "allow")
    assert page.back.startswith(f"{REDIRECT}?")
    assert page.returned["state"] == client.state
    assert page.returned["iss"] == here.url


def test_line_ends_in_what_a_client_sends_reach_no_header(here: Site) -> None:
    client = Client(here)
    client.redirect = "https://client.example/call\r\nSet-Cookie: x=y\r\n/back"
    client.id = client.register(client_name="a\r\nX-Other: b").json()["client_id"]
    client.state = "s\r\nX-Other: b"
    page = client.post(client.open(), "refuse")
    for answer in (page.answer, *page.answer.history):
        assert "x-other" not in answer.headers
        assert "x=y" not in answer.headers.get("set-cookie", "")
    assert "\n" not in page.back


# Limits


def test_clients_that_nobody_uses_make_room(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth_clients, "MOST_UNUSED", 10)
    used = Client(here)
    tokens = used.connected()
    first = Client(here)
    for _ in range(19):
        Client(here)
    assert len(here.store.rows("oauth_client", "new/")) <= 10
    assert first.open().answer.status_code == 400
    # A client in use stays.
    assert used.refresh(tokens["refresh_token"]).status_code == 200
    assert used.open().answer.status_code == 200


def test_requests_that_wait_make_room(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth_state, "MOST_REQUESTS", 10)
    client = Client(here)
    for _ in range(20):
        client.open()
    assert len(here.store.rows("oauth_request")) <= 10


@pytest.mark.parametrize("path", ["/register", "/token", "/revoke", "/authorize", "/oauth/consent"])
def test_requests_of_an_address_are_limited_over_all_replicas(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(subject._LIMITS, path, Limit(4, 600.0))
    with site(tmp_path / "s.sqlite") as one, site(tmp_path / "s.sqlite") as two:
        answers = [httpx.post(f"{each.url}{path}") for each in (one, two) * 3]
    assert [answer.status_code == 429 for answer in answers] == [False] * 4 + [True] * 2
    assert int(answers[-1].headers["retry-after"]) > 500


def test_behind_a_proxy_the_address_that_it_names_is_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(subject._LIMITS, "/token", Limit(2, 600.0))
    with site(tmp_path / "s.sqlite") as here:

        def status(forwarded: str) -> int:
            return httpx.post(f"{here.url}/token", headers={"X-Forwarded-For": forwarded}).status_code

        assert [status("192.0.2.1") == 429 for _ in range(3)] == [False, False, True]
        assert status("192.0.2.2") != 429
        # What a client adds in front changes nothing, and an IPv6 network counts as one client.
        assert status("192.0.2.7, 192.0.2.1") == 429
        assert [status(f"2001:db8::{number}") == 429 for number in range(3)] == [False, False, True]
        assert status("2001:db8:0:1::1") != 429


@pytest.mark.parametrize("path", ["/register", "/token", "/revoke", "/authorize", "/oauth/consent"])
def test_a_huge_body_is_not_taken(path: str, here: Site) -> None:
    def endless() -> Iterator[bytes]:
        yield b"client_id="
        for _ in range(64):
            yield b"x" * 1_024

    assert httpx.post(f"{here.url}{path}", content=b"x" * 20_000).status_code == 413
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert httpx.post(f"{here.url}{path}", content=endless(), headers=form).status_code == 413


def test_a_huge_query_is_not_taken(here: Site) -> None:
    assert httpx.get(f"{here.url}/authorize?state={'x' * 9_000}").status_code == 414


@pytest.mark.parametrize("body", [b"", b"[", b"\xff\xfe", b"null", b"[[" * 4_000, b'{"redirect_uris": 5}'])
def test_what_is_no_registration_is_refused_as_such(body: bytes, here: Site) -> None:
    assert httpx.post(f"{here.url}/register", content=body).status_code == 400


# Secrets


def test_no_secret_is_in_the_store_or_in_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "s.sqlite"
    with site(path) as here:
        client = Client(here)
        code = here.code()
        page = client.post(client.open(), "code", code=code)
        browser = next(iter(client.browser.cookies.values()))
        granted = client.post(page, "allow").returned["code"]
        tokens = client.exchange(granted).json()
        renewed = client.refresh(tokens["refresh_token"]).json()
        assert here.app_of(renewed["access_token"]) == "assistant"
        client.refresh(tokens["refresh_token"])
        unused = here.code()
    plain = [code, unused, unused.replace("-", ""), browser, granted]
    plain += [each[name] for each in (tokens, renewed) for name in ("access_token", "refresh_token")]
    files = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())
    ours = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("http", "asyncio"))
    )
    assert b"oauth_client" in files
    for each in plain:
        assert each.encode() not in files
        assert each not in ours


def test_without_its_store_nothing_is_given_and_no_path_told(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(here)
    tokens, code = client.connected(), client.allowed()
    here.store.close()
    assert isinstance(here.store, Sqlite)
    away = here.store.path
    away.unlink()
    away.mkdir()
    for answer in (
        client.exchange(code),
        client.refresh(tokens["refresh_token"]),
        client.register(),
        client.open().answer,
        httpx.get(f"{here.url}/mcp", headers={"Authorization": f"Bearer {tokens['access_token']}"}),
    ):
        assert answer.status_code == 503
        assert str(away) not in answer.text


# Metadata documents

DOCUMENT = "https://client.example/oauth/metadata.json"


def described(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    """Let the address of `DOCUMENT` serve one; yields the addresses that were fetched."""
    asked: list[str] = []
    document = {"client_id": DOCUMENT, "client_name": "Described", "redirect_uris": [REDIRECT]} | changes

    async def fetch(url: str, **limits: Any) -> WebFile:
        asked.append(url)
        return WebFile(json.dumps(document).encode(), "application/json")

    monkeypatch.setattr(oauth_clients, "fetch", fetch)
    return asked


def test_a_client_may_be_described_by_a_document(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = described(monkeypatch)
    client = Client(here)
    client.id = DOCUMENT
    assert DOCUMENT in client.open().text
    tokens = client.connected()
    assert here.app_of(tokens["access_token"]) == "assistant"
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert asked == [DOCUMENT]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://client.example/other.json"},
        {"redirect_uris": ["http://client.example/callback"]},
        {"redirect_uris": []},
        {"redirect_uris": None},
        {"redirect_uris": ["https://other.example/callback"]},
        {"token_endpoint_auth_method": "client_secret_post"},
    ],
    ids=str,
)
def test_a_document_that_does_not_fit_is_refused(
    changes: dict[str, Any], here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(monkeypatch, **changes)
    client = Client(here)
    client.id = DOCUMENT
    assert client.open().answer.status_code == 400


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/metadata.json",
        "https://localhost/metadata.json",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/metadata.json",
        "https://router.lan/metadata.json",
    ],
)
def test_no_document_is_fetched_from_a_private_network(address: str, here: Site) -> None:
    client = Client(here)
    answer = client.open(client_id=address).answer
    assert answer.status_code == 400
    assert "description cannot be used" in answer.text


@pytest.mark.parametrize("address", ["http://client.example/a.json", "https://client.example", DOCUMENT + "?a=b"])
def test_what_is_no_address_of_a_document_is_not_fetched(
    address: str, here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = described(monkeypatch)
    assert Client(here).open(client_id=address).answer.status_code == 400
    assert asked == []


def test_a_document_that_has_moved_is_not_followed(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def fetch(url: str, *, why_not: MayAsk, **limits: Any) -> WebFile:
        for host in ("client.example", "client.example"):
            if why := why_not(host):
                raise NotAllowed(why)
            asked.append(host)
        raise AssertionError("it was followed")

    monkeypatch.setattr(oauth_clients, "fetch", fetch)
    answer = Client(here).open(client_id=DOCUMENT).answer
    assert answer.status_code == 400
    assert "redirected" in answer.text
    assert asked == ["client.example"]


def test_the_number_of_fetched_documents_is_limited_in_all(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = described(monkeypatch)
    monkeypatch.setattr(oauth_clients, "FETCHES", Limit(2, 600.0))
    for number in range(4):
        Client(here).open(client_id=f"https://client.example/{number}.json")
    assert len(asked) == 2
