"""The console's views of what agents can do and of their Apps' connections, on a WAHA in a sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.browser import SETTLED, Browser
from tests.console.page import Caller, click_once, console, open_page
from tests.harness import opened_store, run, sandbox_server, stdio_client
from tests.http_server import http_server, until, write_app
from tests.policy.common import HOSTILE
from waha_mcp.policy import kill_switch, task_grants
from waha_mcp.policy.audit import trail_path
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import Count
from waha_mcp.store.attendance import present
from waha_mcp.store.folders import state_dir

#: Runs in the console first: it asks WAHA again at once, with time-outs short enough for a test.
QUICK = "from waha_mcp.console import looking\nlooking.FRESH, looking.PATIENCE = 0.1, 2.0\n"
ACCOUNT = "+12025550100"
VERSION = "/api/server/version"
MAYA = "447700900142@c.us"


@pytest.fixture(scope="module")
def waha() -> Iterator[SandboxInfo]:
    with sandbox_server() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the user's configuration."""
    return tmp_path_factory.mktemp("config")


@pytest.fixture(scope="module")
def page(page_state: str, config: Path) -> Iterator[str]:
    with console(page_state, first=QUICK, XDG_CONFIG_HOME=str(config)) as address:
        yield address


@pytest.fixture(autouse=True)
def one_app(
    waha: SandboxInfo, config: Path, page_state: str, nothing_waits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One App, which may do everything but control its session, and that has done nothing yet."""
    monkeypatch.setenv("XDG_STATE_HOME", page_state)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    for path in (config / "waha-mcp").glob("*.toml"):
        path.unlink()
    define(config, waha, "assistant")
    store = opened_store()
    for row in store.rows("pause"):
        store.swap("pause", row.key, row.value, None)
    with store.step(write=True) as connection:
        connection.execute("DELETE FROM event")
    admin(waha, "POST", "/sandbox/session", {"session": waha.session, "status": "WORKING"})


def define(config: Path, waha: SandboxInfo, name: str, key: str | None = None, **fields: Any) -> None:
    write_app(config / "waha-mcp", name, waha, key or waha.keys["read_send"], **{"more": ""} | fields)


def admin(waha: SandboxInfo, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    answer = httpx.request(method, waha.url + path, json=body, headers={"X-Api-Key": waha.admin_key}, timeout=30)
    return answer.raise_for_status().json()


def view(page: str, name: str) -> str:
    """The fragment of a view."""
    return Caller(page)("GET", f"/views/{name}").raise_for_status().text


def show(window: Browser, page: str, name: str, part: str) -> str:
    """Open a view, and wait for a part of it; returns its text."""
    open_page(window, page.replace("/#", f"/{name}#"))
    return window.wait_for(part)


# What agents can do


def test_it_says_whom_an_app_reaches_and_which_tools_are_offered_and_hidden_why(
    page: str, window: Browser, config: Path, waha: SandboxInfo
) -> None:
    lists = '[chats.send]\nallow = ["Maya Lindqvist", "groups"]\ndeny = ["+12025550199"]\n'
    define(config, waha, "assistant", more=f'approval = "destructive"\nexclude = ["list_groups"]\n{lists}')
    shown = show(window, page, "reach", "Whom it may reach")
    for part in (
        "Maya Lindqvist, all groups",
        "+12025550199",
        "what deletes, removes, revokes, leaves, blocks or logs out",
        "everyone",
    ):
        assert part in shown
    window.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown = window.text()
    assert "send_text" in shown
    assert "excluded by the App\nlist_groups" in shown
    assert "toolset 'profile' is not chosen" in shown


def test_it_shows_how_much_of_each_limit_the_account_has_used_as_it_is_used(page: str, window: Browser) -> None:
    shown = show(window, page, "reach", "0 of 20 per minute")
    assert "0 of 2 per minute" in shown
    opened_store().take([Count(f"{ACCOUNT}/{each}") for each in (f"chat:{MAYA}", "total", "total")])
    shown = window.wait_for("2 of 20 per minute")
    assert "2 of 200 per hour" in shown
    assert re.search(r"to Maya Lindqvist \(\+447700900142\)\s+1 of 10 per minute", window.wait_for("to Maya"))
    bars = window.run("return [...document.querySelectorAll('meter')].map(m => [m.ariaLabel, m.value, m.max])")
    assert ["in all, per minute", 2, 20] in bars


def test_the_terminal_shows_the_same(waha: SandboxInfo) -> None:
    opened_store().take([Count(f"{ACCOUNT}/total")] * 3)
    kill_switch.pause(opened_store(), "assistant")
    shown = run("tools", "--app", "assistant").stdout
    assert "in all: 3 of 20 per minute" in shown
    assert "paused by the user" in shown


def test_a_pause_in_the_terminal_is_seen_and_ended_on_the_page(page: str, window: Browser) -> None:
    show(window, page, "reach", "Whom it may reach")
    assert run("pause", "assistant").returncode == 0
    window.wait_for("Paused since")
    window.click(".resume")
    window.wait_for("App assistant: resumed.")
    assert kill_switch.paused(opened_store(), "assistant") is None
    window.until("return document.querySelector('#app-assistant .pause')")
    window.click("#app-assistant .pause")
    window.wait_for("Paused since")
    assert kill_switch.paused(opened_store(), "assistant") is not None
    assert '"decision":"resumed by the user"' in trail_path("assistant").read_text()
    assert run("resume", "assistant").returncode == 0
    window.until("return !document.querySelector('.resume')")


def test_all_apps_are_paused_and_resumed_at_once(page: str, window: Browser, config: Path, waha: SandboxInfo) -> None:
    define(config, waha, "notifier")
    show(window, page, "reach", "notifier")
    window.click("#everything .pause")
    shown = window.wait_for("All Apps are paused")
    assert shown.count("Paused with all Apps") == 2
    assert not window.run("return document.querySelector('article .resume')")
    assert kill_switch.paused(opened_store(), "any") is not None
    window.click("#everything .resume")
    window.wait_for("All Apps: resumed.")
    assert kill_switch.paused(opened_store(), "any") is None


def test_a_task_grant_is_shown_and_closed(page: str, window: Browser) -> None:
    task_grants.give(opened_store(), "assistant/key", {MAYA: "Maya Lindqvist (+447700900142)"})
    show(window, page, "reach", "Maya Lindqvist (+447700900142): 5 messages left")
    window.click("button[value=close]")
    window.wait_for("asked about again")
    assert task_grants.in_force(opened_store()) == []
    assert "task grant ended by the user" in trail_path("assistant").read_text()
    gone = Caller(page)("POST", "/views/reach/close", {"app": "assistant", "chat": MAYA})
    assert (gone.status_code, gone.text) == (409, "That one is no longer open.")


def test_where_waha_is_away_nothing_is_said_that_only_waha_knows(
    page: str, window: Browser, config: Path, waha: SandboxInfo
) -> None:
    define(config, waha, "assistant", url="http://127.0.0.1:9", more="")
    shown = show(window, page, "reach", "Whom it may reach")
    assert "was refused: nothing listens there" in shown
    assert "Which tools are offered is not known now." in shown
    assert "how much is not known" in shown
    assert not re.search(r"\d offered|\d of \d", shown)
    shown = show(window, page, "connections", "was refused")
    assert "reachable" not in shown
    assert "state not known" in shown
    assert Caller(page)("POST", "/views/reach/pause", {"app": "assistant"}).status_code == 200


def test_a_waha_that_does_not_answer_holds_up_no_other_view(page: str, config: Path, waha: SandboxInfo) -> None:
    admin(waha, "POST", "/sandbox/faults", {"path": VERSION, "delay": 60, "count": 50})
    admin(waha, "DELETE", "/sandbox/requests")
    caller = Caller(page)
    try:
        with ThreadPoolExecutor(1) as other:
            asking = other.submit(caller, "GET", "/views/connections")
            until(lambda: VERSION in [each["path"] for each in admin(waha, "GET", "/sandbox/requests")])
            assert caller("GET", "/views/waiting").status_code == 200
            assert not asking.done()
            assert "did not answer within 2 s" in asking.result(20).text
    finally:
        admin(waha, "DELETE", "/sandbox/faults")
        admin(waha, "POST", "/sandbox/settle")


def test_a_key_that_was_refused_offers_nothing(page: str, window: Browser, config: Path, waha: SandboxInfo) -> None:
    define(config, waha, "assistant", key="key_sample_that_is_none")
    shown = show(window, page, "reach", "1 offered")
    assert shown.count("nobody: the key cannot be used") == 2
    assert "WAHA does not accept this key" in shown
    shown = show(window, page, "connections", "WAHA does not accept this key")
    assert "reachable" in shown


def test_an_app_that_cannot_be_used_can_be_paused(page: str, window: Browser, config: Path) -> None:
    (config / "waha-mcp" / "broken.toml").write_text("key = 3\n")
    state_dir("launched-elsewhere")
    shown = show(window, page, "reach", "broken")
    assert "key: must be text" in shown
    assert "launched-elsewhere" in shown
    assert "There is no definition of it here" in shown
    for app_id in ("broken", "launched-elsewhere"):
        assert Caller(page)("POST", "/views/reach/pause", {"app": app_id}).status_code == 200
        assert kill_switch.paused(opened_store(), app_id) is not None
    assert Caller(page)("POST", "/views/reach/pause", {"app": "nobody"}).status_code == 409


def test_without_its_store_the_page_says_so_and_shows_nothing(page: str, window: Browser, page_state: str) -> None:
    show(window, page, "reach", "Whom it may reach")
    store = Path(page_state, "waha-mcp", "store.sqlite")
    aside = store.with_name(f"{store.name}.damaged-1")
    aside.write_bytes(b"")
    try:
        window.wait_for("it was damaged")
        assert Caller(page)("POST", "/views/reach/pause", {"app": "assistant"}).status_code == 503
    finally:
        aside.unlink()
    window.until("return !document.body.innerText.includes('it was damaged')")


@pytest.mark.parametrize("form", [{}, {"app": ""}, {"app": "x" * 20_000}], ids=["nothing", "no name", "too much"])
def test_a_form_that_names_no_app_pauses_and_resumes_none(form: dict[str, str], page: str) -> None:
    kill_switch.pause(opened_store(), None)
    assert Caller(page)("POST", "/views/reach/resume", form).status_code == 409
    assert kill_switch.paused(opened_store(), "assistant") is not None
    kill_switch.resume(opened_store(), None)
    assert Caller(page)("POST", "/views/reach/pause", form).status_code == 409
    assert kill_switch.paused(opened_store(), "assistant") is None


def test_a_click_on_pause_that_comes_as_it_turns_to_resume_resumes_nothing(page: str, window: Browser) -> None:
    show(window, page, "reach", "Whom it may reach")
    window.until(SETTLED)
    window.run(click_once("return document.querySelector('article .resume')", "article .resume"))
    kill_switch.pause(opened_store(), "assistant")
    window.until("return window.clicked")
    window.until(SETTLED)
    assert kill_switch.paused(opened_store(), "assistant") is not None
    window.click("article .resume")
    window.wait_for("App assistant: resumed.")


@pytest.mark.parametrize("name", [*HOSTILE[:4], "<img src=x onerror=alert(1)>"])
def test_no_name_becomes_more_than_text(name: str, page: str, window: Browser, config: Path, waha: SandboxInfo) -> None:
    task_grants.give(opened_store(), "assistant/key", {MAYA: f"{name} (+447700900142)"})
    show(window, page, "reach", "(+447700900142): 5 messages left")
    elements = window.run("return document.querySelectorAll('main img, main script, main b').length")
    assert elements == 0
    [line] = window.run("return [...document.querySelectorAll('li.row > span')].map(each => each.innerText)")
    assert "\n" not in line
    assert not re.search("[\x00-\x1f\u200b\u2028\u202e\u2066]", line)


# Connections


def test_waha_and_the_session_are_shown_with_the_account(page: str, window: Browser) -> None:
    shown = show(window, page, "connections", "reachable")
    assert re.search(r"reachable \S+ at http://127\.0\.0\.1:\d+, engine \w+, answered in \d+ ms", shown)
    assert "WORKING default, +12025550100" in shown


def test_a_session_that_waits_shows_its_code_anew_until_it_is_paired(
    page: str, window: Browser, config: Path, waha: SandboxInfo
) -> None:
    define(config, waha, "assistant", key=waha.keys["full"])
    show(window, page, "connections", "WORKING")
    admin(waha, "POST", "/sandbox/session", {"session": waha.session, "status": "SCAN_QR_CODE"})
    window.wait_for("scan this with WhatsApp")
    drawn = "return document.querySelector('svg.qr path:last-of-type').getAttribute('d')"
    first = window.run(drawn)
    window.until(f"return (() => {{ {drawn} }})() !== {first!r}")
    admin(waha, "POST", "/sandbox/session", {"session": waha.session, "status": "WORKING"})
    window.wait_for("WORKING")
    assert not window.run("return document.querySelector('svg')")


def test_a_key_without_control_shows_no_code_and_what_to_do(page: str, window: Browser, waha: SandboxInfo) -> None:
    admin(waha, "POST", "/sandbox/session", {"session": waha.session, "status": "SCAN_QR_CODE"})
    shown = show(window, page, "connections", "SCAN_QR_CODE")
    assert "the App's key lacks the action control" in shown
    assert "scan it in WAHA's dashboard" in shown
    assert not window.run("return document.querySelector('svg')")


@pytest.mark.anyio
async def test_clients_are_shown_for_as_long_as_they_are_there(page: str, waha: SandboxInfo) -> None:
    store = opened_store()
    assert "none now" in view(page, "connections")
    async with stdio_client(waha, waha.keys["read_send"], "--app", "assistant") as client:
        await client.call_tool("get_updates", {})
        until(lambda: any(each.clients and each.feed == "live" for each in present(store, "assistant")))
        shown = view(page, "connections")
        assert re.search(r"mcp [\d.]+, over stdio, since \d\d:\d\d", shown)
        assert "hears what happens: live" in shown
    until(lambda: present(store, "assistant") == [])
    assert "none now" in view(page, "connections")


# On a server


def test_who_has_logged_in_for_an_app_sees_and_pauses_that_app_alone(
    config: Path, waha: SandboxInfo, page_state: str
) -> None:
    folder = config / "waha-mcp"
    define(config, waha, "other", key=waha.keys["full"], more='[chats.send]\nallow = ["+12025550177"]\n')
    store = opened_store()
    task_grants.give(store, "other/key", {"12025550166@c.us": "Sam Okafor (+12025550166)"})
    store.take([Count(f"{ACCOUNT}/{each}") for each in ("chat:12025550155@c.us", "total")])
    with http_server("--apps", str(folder), "--console", XDG_STATE_HOME=page_state) as server:
        said = run("apps", "code", "assistant", "--console", "--apps", str(folder), "--json").stdout
        with httpx.Client(base_url=server.base, headers={"Origin": server.base}) as http:
            assert http.post("/console/login", data={"code": json.loads(said)["code"]}).status_code == 303
            shown = [http.get(f"/console/views/{name}").raise_for_status().text for name in ("reach", "connections")]
            assert "assistant" in shown[0]
            assert "to the chat that is nearest to a limit" in shown[0]
            for secret in ("other", "2025550177", "Okafor", "2025550166", "2025550155", "All Apps"):
                assert secret not in "".join(shown).replace("others", "")
            for app_id in ("other", "", "*"):
                for action in ("pause", "resume"):
                    assert http.post(f"/console/views/reach/{action}", data={"app": app_id}).status_code == 409
            close = {"app": "other", "chat": "12025550166@c.us"}
            assert http.post("/console/views/reach/close", data=close).status_code == 409
            assert http.post("/console/views/reach/pause", data={"app": "assistant"}).status_code == 200
    assert kill_switch.paused(store, "assistant") is not None
    assert kill_switch.paused(store, "other") is None
    assert task_grants.in_force(store, "other")
