"""Attacks on OAuth that the protocol does not stop: more granted than read, another account, a flood of guesses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.memory_store import Memory
from tests.server.oauth_site import Client, Page, Site, an_app, site
from waha_mcp.policy.one_time_codes import WRONG_FROM_ONE, issue, redeem
from waha_mcp.server.consent_words import powers
from waha_mcp.server.oauth_state import end_grants
from waha_mcp.store import Full


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path / "s.sqlite") as found:
        yield found


def read(client: Client) -> Page:
    """The page that shows a person what the App may do."""
    return client.post(client.open(), "code", code=client.site.code())


WIDER: list[dict[str, Any]] = [
    {"actions": ["read", "send", "control"], "toolsets": ["all"]},
    {"toolsets": ["core", "groups"]},
    {"approval": "never"},
    {"chats": {"read": {"deny": []}}},
]


@pytest.mark.parametrize("wider", WIDER, ids=str)
def test_no_more_is_allowed_than_was_read(wider: dict[str, Any], here: Site) -> None:
    narrow: dict[str, Any] = {"approval": "all", "chats": {"read": {"deny": ["Maya"]}}}
    here.apps["assistant"] = an_app(**narrow)
    client = Client(here)
    page = read(client)
    here.apps["assistant"] = an_app(**narrow | wider)
    again = client.post(page, "allow")
    assert again.answer.status_code == 409
    assert "has just been changed" in again.text
    assert "http-equiv" not in again.text
    # What is shown now can be allowed now.
    assert client.exchange(client.post(again, "allow").returned["code"]).status_code == 200


def test_a_form_without_what_was_read_allows_nothing(here: Site) -> None:
    client = Client(here)
    page = read(client)
    assert client.post(page, "allow", shown="").answer.status_code == 409


def test_a_key_of_another_session_ends_the_grant_of_an_app_that_names_none(here: Site) -> None:
    here.apps["assistant"] = an_app(session=None)
    client = Client(here)
    tokens, code = client.connected(), client.allowed()
    here.apps["assistant"] = an_app(session=None).model_copy(update={"key": SecretStr("key-of-another-session")})
    assert here.app_of(tokens["access_token"]) is None
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert client.exchange(code).json()["error"] == "invalid_grant"


def test_a_code_that_was_on_its_way_does_not_outlast_the_end_of_all_grants(here: Site) -> None:
    client, other = Client(here), Client(here)
    code, page = client.allowed(), read(other)
    assert end_grants(here.store, "assistant") == 0
    assert client.exchange(code).json()["error"] == "invalid_grant"
    assert other.post(page, "allow").answer.status_code == 403


def test_the_end_of_one_apps_grants_leaves_those_of_another(tmp_path: Path) -> None:
    with site(tmp_path / "s.sqlite", an_app(), an_app("other")) as here:
        client = Client(here)
        code = client.allowed("other")
        end_grants(here.store, "assistant")
        assert client.exchange(code).status_code == 200


UNSAID: list[tuple[dict[str, Any], str]] = [
    ({"toolsets": ["all"]}, "Delete a message"),
    ({"chats": {"send": {"allow": ["*", "public"]}}}, "open audiences"),
    ({"chats": {"send": {"allow": ["*", "status"]}}}, "status stories"),
    ({"media_links": True}, "a key for the session's media"),
    ({"outbox": Path("/srv/outbox"), "remote_files": True}, "/srv/outbox"),
    ({"downloads": Path("/srv/saved"), "remote_files": True}, "/srv/saved"),
]


@pytest.mark.parametrize(("fields", "said"), UNSAID, ids=lambda value: str(value)[:40])
def test_what_reaches_beyond_chats_is_said_before_it_is_allowed(fields: dict[str, Any], said: str) -> None:
    assert said in " ".join(powers(an_app(**fields)))
    assert said not in " ".join(powers(an_app()))


def test_a_few_dozen_addresses_that_guess_lock_nobody_out() -> None:
    store = Memory()
    for number in range(50):
        for _ in range(WRONG_FROM_ONE.amount):
            assert redeem(store, "oauth", "0000-0000-0000", f"192.0.2.{number}") is None
    with pytest.raises(Full):
        redeem(store, "oauth", "0000-0000-0000", "192.0.2.0")
    assert redeem(store, "oauth", issue(store, "oauth", "assistant"), "198.51.100.1") == "assistant"
