"""The consent page: whose it is, what it says, and that it cannot be bypassed; and the page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.browser import Browser, browser, missing
from tests.server.oauth_site import REDIRECT, Client, Page, Site, an_app, site
from waha_mcp.policy import one_time_codes
from waha_mcp.server.consent_words import exposed, powers, risks
from waha_mcp.server.oauth_state import MOST_TRIES, REQUEST_LIFE, grants
from waha_mcp.store import Limit, Store
from waha_mcp.store.sqlite import Sqlite

pytestmark = pytest.mark.slow

WRONG_CODE = "0000-0000-0000"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """A server with one App, `assistant`."""
    with site(tmp_path / "store.sqlite") as found:
        yield found


# Whose page it is


def test_the_steps_are_the_code_what_it_opens_and_the_decision(here: Site) -> None:
    client = Client(here)
    asked = client.open()
    assert "One-time code" in asked.text
    assert "assistant" not in asked.text
    shown = client.post(asked, "code", code=here.code().lower().replace("-", " "))
    assert "Read messages, chats and contacts: all of them." in shown.text
    assert "session “default” in WAHA" in shown.text
    assert client.post(shown, "allow").returned.keys() == {"code", "state", "iss"}


def test_a_refusal_goes_back_as_one_at_either_step(here: Site) -> None:
    for first in (False, True):
        client = Client(here)
        page = client.open()
        if first:
            page = client.post(page, "code", code=here.code())
        returned = client.post(page, "refuse").returned
        assert returned == {"error": "access_denied", "state": client.state, "iss": here.url}
        assert client.post(page, "allow").answer.status_code == 403
    assert grants(here.store, "assistant") == []


def test_nothing_is_allowed_before_a_code_was_typed(here: Site) -> None:
    client = Client(here)
    page = client.post(client.open(), "allow")
    assert "One-time code" in page.text
    assert "http-equiv" not in page.text


def test_a_decision_is_taken_once(here: Site) -> None:
    client = Client(here)
    page = client.post(client.open(), "code", code=here.code())
    assert client.post(page, "allow").returned["code"]
    assert client.post(page, "allow").answer.status_code == 403


def test_the_page_is_nobody_elses(here: Site) -> None:
    """As if its address was sent to somebody who has a code."""
    client = Client(here)
    page = client.open()
    address = str(page.answer.url)
    other = here.browser()
    assert other.get(address).status_code == 403
    body = page.hidden | {"step": "code", "code": here.code()}
    assert other.post("/oauth/consent", data=body).status_code == 403
    # Nor does a browser that has a page of its own.
    mine = Client(here)
    mine.open()
    assert mine.browser.get(address).status_code == 403
    assert mine.post(page, "code", code=here.code()).answer.status_code == 403


CHANGED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "another site's form": ({}, {"Origin": "https://evil.example"}),
    "a page without origin": ({}, {"Origin": "null"}),
    "another site, as the browser says": ({}, {"Sec-Fetch-Site": "cross-site"}),
    "a neighbour, as the browser says": ({}, {"Sec-Fetch-Site": "same-site"}),
    "no proof": ({"proof": ""}, {}),
    "a wrong proof": ({"proof": "0" * 64}, {}),
    "a proof that is no text": ({"proof": "é"}, {}),
    "another request": ({"request": "0" * 64}, {}),
    "a request that is none": ({"request": "é\n"}, {}),
}


@pytest.mark.parametrize("case", CHANGED)
@pytest.mark.parametrize("step", ["code", "allow"])
def test_a_form_that_is_not_the_pages_own_does_nothing(step: str, case: str, here: Site) -> None:
    client, code = Client(here), here.code()
    page = client.open()
    if step == "allow":
        page = client.post(page, "code", code=code)
    fields, headers = CHANGED[case]
    body = page.hidden | {"step": step, "code": code} | fields
    answer = client.browser.post("/oauth/consent", data=body, headers=headers, follow_redirects=True)
    assert answer.status_code == 403
    assert "http-equiv" not in answer.text
    # The page itself still can.
    assert client.post(page, step, code=code).answer.status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites_forms(here: Site, tmp_path: Path) -> None:
    client = Client(here)
    cookie = client.open().answer.history[0].headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Max-Age={REQUEST_LIFE:.0f}" in cookie
    with site(tmp_path / "other.sqlite", issuer="https://wa.example.com") as proxied:
        client = Client(proxied)
        answer = client.http.get("/authorize", params=client.asked(resource="https://wa.example.com/mcp"))
        assert answer.headers["set-cookie"].startswith("__Host-")
        assert "Secure" in answer.headers["set-cookie"]
        assert "Domain" not in answer.headers["set-cookie"]


def test_every_page_is_unframed_uncached_and_loads_nothing(here: Site) -> None:
    client = Client(here)
    asked = client.open()
    shown = client.post(asked, "code", code=here.code())
    pages = [asked, client.post(asked, "code", code=WRONG_CODE), shown, client.post(shown, "allow")]
    pages += [client.open(client_id="nobody"), client.post(asked, "allow")]
    for page in pages:
        headers = page.answer.headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script|src=|@import|url\((?!\))|style=", page.text)
        assert 'lang="en"' in page.text
        assert 'name="viewport"' in page.text


# Codes


def test_a_request_bears_five_wrong_codes(here: Site) -> None:
    client, code = Client(here), here.code()
    page = client.open()
    for left in range(MOST_TRIES - 1, 0, -1):
        assert f"You have {left} more" in client.post(page, "code", code=WRONG_CODE).text
    assert "Start again" in client.post(page, "code", code=WRONG_CODE).text
    assert client.post(page, "code", code=code).answer.status_code == 403
    # The code itself is still good, in a new request.
    assert "Allow" in client.post(client.open(), "code", code=code).text


def test_a_code_is_used_up_where_it_is_typed(here: Site) -> None:
    client, code = Client(here), here.code()
    client.post(client.open(), "code", code=code)
    assert "code is not valid now" in client.post(client.open(), "code", code=code).text


def test_a_newer_code_takes_the_place_of_the_last(here: Site) -> None:
    client, old, new = Client(here), here.code(), here.code()
    assert "code is not valid now" in client.post(client.open(), "code", code=old).text
    assert "Allow" in client.post(client.open(), "code", code=new).text


def test_a_code_for_the_console_opens_nothing_here(here: Site) -> None:
    client = Client(here)
    code = one_time_codes.issue(here.store, "console", "assistant")
    assert "code is not valid now" in client.post(client.open(), "code", code=code).text


def test_a_key_is_no_code(here: Site) -> None:
    client = Client(here)
    assert "code is not valid now" in client.post(client.open(), "code", code="key-of-assistant").text


def test_the_code_of_an_app_that_is_disabled_meanwhile_opens_nothing(here: Site) -> None:
    client, code = Client(here), here.code()
    del here.apps["assistant"]
    assert "disabled" in client.post(client.open(), "code", code=code).text


def test_what_was_shown_is_not_allowed_once_the_app_is_for_another_account(here: Site) -> None:
    client = Client(here)
    page = client.post(client.open(), "code", code=here.code())
    here.apps["assistant"] = an_app(session="other")
    answer = client.post(page, "allow")
    assert "http-equiv" not in answer.text
    assert "disabled" in answer.text


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_guessing_is_stopped_over_all_replicas_and_requests(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(one_time_codes, "WRONG", Limit(6, 600.0))

    def store() -> Store:
        return Sqlite(tmp_path / "s.sqlite") if kind == "sqlite" else request.getfixturevalue("redis_server").store()

    with site(store()) as one, site(store()) as two:
        code = one.code()
        answers: list[int] = []
        for number in range(10):
            client = Client(two if number % 2 else one)
            answers.append(client.post(client.open(), "code", code=WRONG_CODE).answer.status_code)
        assert answers == [400] * 6 + [429] * 4
        # Now not even the right code is checked.
        client = Client(two)
        assert client.post(client.open(), "code", code=code).answer.status_code == 429


def test_guessing_from_one_address_leaves_room_for_others(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_time_codes, "WRONG_FROM_ONE", Limit(3, 600.0))
    for _ in range(3):
        client = Client(here)
        client.post(client.open(), "code", code=WRONG_CODE)
    assert client.post(client.open(), "code", code=here.code()).answer.status_code == 429
    assert one_time_codes.redeem(here.store, "oauth", here.code(), "192.0.2.9") == "assistant"


# What it says


HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e"


def test_what_a_client_says_of_itself_is_shown_as_text(here: Site) -> None:
    client = Client(here, redirect=f"com.example.app:/{HOSTILE}", name=HOSTILE)
    page = client.open()
    shown = client.post(page, "code", code=here.code())
    for each in (page, shown, client.post(shown, "allow")):
        assert "<script" not in each.text
        assert "<img" not in each.text
        assert "\u202e" not in each.text
    assert "anybody can use this name" in page.text
    assert "com.example.app:" in page.text


@pytest.mark.parametrize(
    ("redirect", "where"),
    [
        (REDIRECT, "<strong>client.example</strong>"),
        ("http://localhost:3000/callback", "a program on the computer that you read this on"),
        ("cursor://mcp/callback", "<code>cursor:</code>"),
    ],
)
def test_the_page_says_where_the_way_back_leads(redirect: str, where: str, here: Site) -> None:
    assert where in Client(here, redirect=redirect).open().text


def test_a_client_without_a_name_has_none(here: Site) -> None:
    client = Client(here, name="\u200b \u202e")
    assert "a program without a name" in client.open().text


WORDS: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"actions": ["read"]}, ["Read messages, chats and contacts: all of them."], ["Write", "Nobody"]),
    ({"actions": ["send"]}, ["to anybody", "Nobody is asked"], ["Read messages"]),
    ({"approval": "send"}, ["asked first about each message"], ["Nobody is asked"]),
    (
        {"chats": {"send": {"allow": ["+12025550123"], "ask": ["people"]}, "read": {"deny": ["Maya"]}}},
        ["to +12025550123; to people once a person has said yes", "all of them; never: Maya"],
        ["Nobody is asked", "to anybody"],
    ),
    ({"chats": {"existing_only": True}}, ["only in chats that have messages already"], []),
    (
        {"actions": ["read", "control", "delete"], "toolsets": ["core", "session", "destructive"]},
        ["pair or unpair"],
        ["how the WhatsApp session is set up"],
    ),
    ({"actions": ["read", "control"]}, [], ["unpair"]),
    ({"actions": []}, ["Nothing but ask how the session is."], []),
    ({"actions": None}, ["Read messages", "Write messages"], []),
]


@pytest.mark.parametrize(("fields", "said", "not_said"), WORDS, ids=lambda value: str(value)[:40])
def test_the_words_are_those_of_the_app(fields: dict[str, Any], said: list[str], not_said: list[str]) -> None:
    words = " ".join(powers(an_app(**fields)))
    for each in said:
        assert each in words
    for each in not_said:
        assert each not in words


def test_who_reads_and_writes_freely_is_warned_of(here: Site) -> None:
    assert "send them what it reads" in str(risks(an_app()))
    assert risks(an_app(approval="send")) is None
    assert risks(an_app(actions=["read"])) is None
    assert risks(an_app(chats={"send": {"allow": ["+12025550123"]}})) is None


def test_the_tools_are_those_that_the_app_exposes() -> None:
    names = {tool.name for tool in exposed(an_app(actions=["read"], exclude=["search_messages"]))}
    assert "list_chats" in names
    assert "send_text" not in names
    assert "search_messages" not in names


# In a real browser


def typed(window: Browser, code: str) -> None:
    window.run(f"document.getElementById('code').value = {code!r}")
    window.click("button[value=code]")


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_person_types_the_code_reads_and_allows_in_a_browser(here: Site, tmp_path: Path) -> None:
    with site(tmp_path / "client.sqlite") as client_site, browser(tmp_path / "profile") as window:
        client = Client(here, redirect=f"{client_site.url}/callback", name=HOSTILE)
        window.open(str(httpx.URL(f"{here.url}/authorize", params=client.asked())))
        window.wait_for("One-time code of the App")
        assert window.run("return document.activeElement.id") == "code"
        typed(window, WRONG_CODE)
        assert "You have 4 more tries" in window.wait_for("code is not valid now")
        typed(window, here.code().lower())
        assert "Write messages and change chats: to anybody." in window.wait_for("agent will be able to do")
        assert window.run("return document.title") == "Allow access to WhatsApp · waha-mcp"
        window.click("button[value=allow]")
        window.wait_for("Back at the client")
        [returned] = client_site.returned
        assert returned["state"] == client.state
        code = returned["code"]
        assert here.app_of(client.exchange(code).json()["access_token"]) == "assistant"


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_another_site_cannot_frame_the_page_nor_send_its_form(here: Site, tmp_path: Path) -> None:
    client = Client(here)
    page: Page = client.open()
    with browser(tmp_path / "profile") as window:
        address = str(httpx.URL(f"{here.url}/authorize", params=client.asked()))
        window.open(f"data:text/html,<iframe id=f src='{address.replace('&', '%26')}'></iframe>done")
        window.wait_for("done")
        assert window.run("try { return document.getElementById('f').contentDocument } catch { return null }") is None
        window.open(address)
        window.wait_for("One-time code")
        request = httpx.URL(str(window.run("return location.href"))).params["request"]
        form = f"<form method=post action='{here.url}/oauth/consent'><input name=request value='{request}'>"
        window.open(f"data:text/html,{form}<input name=step value=refuse><button>go</button></form>")
        window.click("button")
        window.wait_for("cannot go on")
        assert page.hidden["request"] != request
