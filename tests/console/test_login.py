"""The console on a server: who can log in to what, what that lets them see and decide, and what ends it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from tests.console.axe import violations
from tests.console.browser import Browser, browser, missing
from tests.console.page import add_line, parsed, questions_in
from tests.harness import approvals_of, opened_store, run
from tests.http_server import http_server, until
from tests.memory_store import Memory
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.console import login
from waha_mcp.console.login import COOKIE, Logins
from waha_mcp.policy.approval import Entry
from waha_mcp.policy.one_time_codes import WRONG_FROM_ONE, issue
from waha_mcp.policy.question import File, Question
from waha_mcp.policy.task_grants import in_force
from waha_mcp.store import Count, StoreAway, Taken

KEY = "key_sample_{}"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
APPS = ("assistant", "on_call")


@dataclass(frozen=True)
class Server:
    """A server with two Apps whose WAHA is never called. `url`: the root."""

    url: str
    apps: Path

    def define(self, app_id: str, **fields: str) -> None:
        lines = {"id": app_id, "key": KEY.format(app_id), "url": "http://127.0.0.1:9", "session": "default"} | fields
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items() if name != "enabled")
        (self.apps / f"{app_id}.toml").write_text(
            text + (f"enabled = {fields['enabled']}\n" if "enabled" in fields else "")
        )

    def code(self, app_id: str = "assistant") -> str:
        """A code, as `waha-mcp apps code --console` prints it."""
        said = run("apps", "code", app_id, "--console", "--apps", str(self.apps), "--json")
        assert said.returncode == 0, said.stderr
        return str(json.loads(said.stdout)["code"])

    def visitor(self) -> Visitor:
        return Visitor(self)

    def logged_in(self, app_id: str = "assistant") -> Visitor:
        visitor = Visitor(self)
        assert visitor.enter(self.code(app_id)).status_code == 303
        return visitor


class Visitor:
    """A browser's requests with its cookies, valid except for what a case changes."""

    def __init__(self, server: Server, cookies: httpx.Cookies | None = None) -> None:
        self._url, self.cookies = server.url, httpx.Cookies(cookies)

    def __call__(self, method: str, path: str, **headers: str) -> httpx.Response:
        return self._ask(method, path, None, headers)

    def enter(self, code: str, **headers: str) -> httpx.Response:
        return self._ask("POST", "/login", {"code": code}, headers)

    def _ask(
        self, method: str, path: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        given = {"Origin": self._url} | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value}
        with httpx.Client(base_url=self._url, cookies=self.cookies) as http:
            answer = http.request(method, f"/console{path}", data=form, headers=sent)
            self.cookies = http.cookies
        return answer

    def ids(self) -> list[str]:
        """The ids of the questions that the page shows."""
        return [each.id for each in questions_in(self("GET", "/views/waiting").raise_for_status().text)]

    def decide(self, entry_id: str, decision: str = "approve", **headers: str) -> httpx.Response:
        return self._ask("POST", f"/views/waiting/{decision}", {"id": entry_id}, headers)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, state: str) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("apps"), state) as server:
        yield server


@contextmanager
def serving(apps: Path, state: str) -> Iterator[Server]:
    for app_id in APPS:
        Server("", apps).define(app_id)
    with http_server("--apps", str(apps), "--console", XDG_STATE_HOME=state) as server:
        yield Server(server.base, apps)


@pytest.fixture
def server(served: Server, state_home: None, state: str, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, with the store emptied, and the store as opened by the test."""
    monkeypatch.setenv("XDG_STATE_HOME", state)
    store = opened_store()
    for table in ("question", "console_login", "one_time_code", "task_grant"):
        for row in store.rows(table):
            store.swap(table, row.key, row.value, None)
    return served


def wait_for(app_id: str = "assistant", text: str = "The quote is 1,240 for both rooms.") -> Entry:
    """Put a question of an App where the page finds it."""
    file = File.of("path", "a.png", PNG)
    asked = Question(
        app_id,
        "send_text",
        "Send a text",
        ("Maya",),
        {"text": text},
        f"{app_id}{text}",
        time.time() + LIFETIME,
        files=(file,),
        open_to={"447700900142@c.us": "Maya"},
        identity=f"{app_id}/key",
    )
    return approvals_of(app_id).ask(asked, [PNG])


def states(app_id: str) -> list[str]:
    return [entry.state for entry in approvals_of(app_id).entries()]


def test_a_code_opens_the_page_of_its_app_once(server: Server) -> None:
    entry, code = wait_for(), server.code()
    visitor = server.visitor()
    assert "One-time code" in visitor("GET", "").text
    assert visitor.enter(code).headers["location"] == "/console"
    assert "assistant" in visitor("GET", "").text
    assert visitor.ids() == [entry.id]
    assert visitor.decide(entry.id).text == "Allowed once."
    assert states("assistant") == ["approved"]
    again = server.visitor()
    assert again.enter(code).status_code == 403
    assert again("GET", "/views/waiting").status_code == 401


def test_a_code_is_read_without_dashes_and_in_any_case(server: Server) -> None:
    assert server.visitor().enter(server.code().replace("-", "").lower()).status_code == 303


def test_the_cookie_is_out_of_reach_and_the_store_has_no_more_than_its_digest(server: Server) -> None:
    answer = server.visitor().enter(server.code())
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {each.lower() for each in attributes} >= {"httponly", "samesite=strict", "path=/console", "max-age=43200"}
    assert "Secure" not in attributes  # loopback, without TLS
    value = cookie.removeprefix(f"{COOKIE}=")
    assert len(value) >= 43  # 256 bits
    rows = opened_store().rows("console_login")
    assert [row.key for row in rows] == [hashlib.sha256(value.encode()).hexdigest()]
    assert value not in rows[0].value
    assert KEY.format("assistant") not in rows[0].value


def test_everybody_else_gets_nothing_and_decides_nothing(server: Server) -> None:
    entry = wait_for()
    key = KEY.format("assistant")
    for headers in ({}, {"Authorization": f"Bearer {key}"}, {"X-Api-Key": key}, {"X-Console-Token": key}):
        visitor = server.visitor()
        assert visitor("GET", "/views/waiting", **headers).status_code == 401
        assert visitor("GET", f"/views/waiting/files/{entry.id}-0", **headers).status_code == 401
        assert visitor.decide(entry.id, **headers).status_code == 401
    for cookie in (key, "", "x" * 43, hashlib.sha256(b"x").hexdigest(), '"; assistant'):
        assert server.visitor()("GET", "/views/waiting", Cookie=f"{COOKIE}={cookie}").status_code == 401
    assert server.visitor().enter(key).status_code == 403
    assert states("assistant") == ["waiting"]


def test_the_digest_in_the_store_opens_nothing(server: Server) -> None:
    server.logged_in()
    [row] = opened_store().rows("console_login")
    assert server.visitor()("GET", "/views/waiting", Cookie=f"{COOKIE}={row.key}").status_code == 401


def test_another_app_is_as_one_that_is_not_there(server: Server) -> None:
    mine, theirs = wait_for("assistant"), wait_for("on_call")
    visitor = server.logged_in("assistant")
    assert visitor.ids() == [mine.id]
    for decision in ("approve", "refuse", "open"):
        answer, unknown = visitor.decide(theirs.id, decision), visitor.decide("0" * 12, decision)
        assert (answer.status_code, answer.text) == (unknown.status_code, unknown.text) == (409, unknown.text)
    answer, unknown = (visitor("GET", f"/views/waiting/files/{each}-0") for each in (theirs.id, "0" * 12))
    assert (answer.status_code, answer.text) == (unknown.status_code, unknown.text) == (404, unknown.text)
    assert visitor("GET", f"/views/waiting/files/{mine.id}-0").content == PNG
    assert states("on_call") == ["waiting"]
    assert in_force(opened_store()) == []


def test_the_trail_of_another_app_is_as_one_that_is_not_there(server: Server, state: str) -> None:
    for trail in Path(state).glob("waha-mcp/*/trail.jsonl"):
        trail.unlink()
    add_line("assistant", tool="get_messages")
    add_line("on_call", tool="send_text", client="secret")
    visitor = server.logged_in("assistant")
    for query in ("", "?app=assistant"):
        shown = visitor("GET", f"/views/trail{query}").raise_for_status().text
        assert [each.text for each in parsed(shown).all("strong", "tool")] == ["get_messages"]
        assert not re.search("on_call|secret|send_text", shown)
    unknown = visitor("GET", "/views/trail?app=nobody").text
    assert visitor("GET", "/views/trail?app=on_call").text == unknown.replace("nobody", "on_call")


def test_the_page_of_each_view_takes_a_log_in(server: Server) -> None:
    for path in ("", "/waiting", "/trail"):
        assert "One-time code" in server.visitor()("GET", path).text
        assert "App assistant" in server.logged_in()("GET", path).text


def test_who_is_logged_in_opens_a_window_for_their_app(server: Server) -> None:
    entry = wait_for("assistant")
    assert server.logged_in("assistant").decide(entry.id, "open").text == "Allowed for a while."
    assert states("assistant") == ["approved"]
    assert [(each.app_id, each.shown) for each in in_force(opened_store())] == [("assistant", "Maya")]


def test_the_code_of_one_purpose_or_app_is_none_for_another(server: Server) -> None:
    said = run("apps", "code", "assistant", "--apps", str(server.apps), "--json")
    assert server.visitor().enter(json.loads(said.stdout)["code"]).status_code == 403
    other = server.logged_in("on_call")
    wait_for("assistant")
    assert other.ids() == []


CROSS: dict[str, dict[str, str]] = {
    "another site": {"Origin": "https://evil.example"},
    "another port of this machine": {"Origin": "http://127.0.0.1:1"},
    "another name of this machine": {"Origin": "http://localhost"},
    "a page without origin": {"Origin": "null"},
    "no origin": {"Origin": ""},
}


@pytest.mark.parametrize("case", CROSS)
def test_no_other_page_decides_logs_in_or_logs_out_with_the_cookie(case: str, server: Server) -> None:
    entry, visitor, code = wait_for(), server.logged_in(), server.code()
    assert visitor.decide(entry.id, **CROSS[case]).status_code == 403
    assert visitor("POST", "/logout", **CROSS[case]).status_code == 403
    assert visitor.enter(code, **CROSS[case]).status_code == 403
    assert visitor.ids() == [entry.id]
    assert visitor.enter(code).status_code == 303  # it was not used up


def test_an_image_on_another_site_gets_nothing(server: Server) -> None:
    visitor = server.logged_in()
    assert visitor("GET", "/views/waiting", Origin="", Sec_Fetch_Site="cross-site").status_code == 403
    assert visitor("GET", "/views/waiting", Origin="", Sec_Fetch_Site="same-origin").status_code == 200


def test_another_host_is_not_answered(server: Server) -> None:
    visitor = server.logged_in()
    assert visitor("GET", "", Host="evil.example").status_code == 421
    assert visitor("GET", "/views/waiting", Host="evil.example").status_code == 421


def test_a_log_out_ends_it_here_and_for_whoever_has_the_cookie(server: Server) -> None:
    visitor = server.logged_in()
    copy = Visitor(server, visitor.cookies)
    assert copy("GET", "/views/waiting").status_code == 200
    assert visitor("POST", "/logout").status_code == 204
    assert COOKIE not in visitor.cookies
    assert copy("GET", "/views/waiting").status_code == 401
    assert opened_store().rows("console_login") == []


def test_a_new_log_in_ends_the_one_before(server: Server) -> None:
    visitor = server.logged_in()
    before = Visitor(server, visitor.cookies)
    assert visitor.enter(server.code("on_call")).status_code == 303
    assert before("GET", "/views/waiting").status_code == 401


@pytest.mark.parametrize(
    "ended",
    [
        lambda server: server.define("assistant", enabled="false"),
        lambda server: server.define("assistant", key="key_sample_rotated"),
        lambda server: (server.apps / "assistant.toml").unlink(),
    ],
    ids=["disabled", "another key", "removed"],
)
def test_with_its_app_a_log_in_ends_for_good(ended: Callable[[Server], object], server: Server) -> None:
    visitor, other = server.logged_in(), server.logged_in("on_call")
    entry = wait_for()
    try:
        ended(server)
        until(lambda: visitor("GET", "/views/waiting").status_code == 401)  # the folder is looked at each second
        assert visitor.decide(entry.id).status_code == 401
        assert other("GET", "/views/waiting").status_code == 200
    finally:
        server.define("assistant")
    until(lambda: server.visitor().enter(server.code()).status_code == 303)
    assert visitor("GET", "/views/waiting").status_code == 401
    assert states("assistant") == ["waiting"]


def test_disabling_an_app_by_the_command_logs_everybody_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.logged_in()
    server.logged_in("on_call")
    config = server.apps.parent / "config" / "waha-mcp"
    config.mkdir(parents=True, exist_ok=True)
    (config / "assistant.toml").write_text((server.apps / "assistant.toml").read_text())
    said = run("apps", "disable", "assistant", "--here", env={"XDG_CONFIG_HOME": str(config.parent)})
    assert said.returncode == 0, said.stderr
    assert [json.loads(row.value)["app"] for row in opened_store().rows("console_login")] == ["on_call"]


def test_guessing_is_stopped_and_a_right_code_does_not_help_then(
    tmp_path: Path, state_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    apps = tmp_path / "apps"
    apps.mkdir()
    with serving(apps, str(tmp_path)) as server:
        visitor, code = server.visitor(), server.code()
        for n in range(WRONG_FROM_ONE.amount):
            assert visitor.enter(f"{n:012}").status_code == 403
        answer = visitor.enter(code)
    assert answer.status_code == 429
    assert "Too many wrong codes" in answer.text


def test_it_lasts_for_twelve_hours_by_the_stores_clock() -> None:
    class Clock(Memory):
        ahead = 0.0

        def now(self) -> float:
            return super().now() + self.ahead

    store = Clock()
    app = App(id="assistant", key=SecretStr("key_sample"), session="default")
    logins = Logins(store, {"assistant": app}.get)
    cookie = logins.begin("assistant")
    assert cookie is not None
    assert logins.begin("nobody") is None
    store.ahead = login.LIFETIME - 5
    assert logins.app_of(cookie) is app
    store.ahead = login.LIFETIME + 5
    assert logins.app_of(cookie) is None


@pytest.mark.anyio
@pytest.mark.parametrize("base", ["https://wa.example.com", "http://wa.example.com"])
async def test_on_other_machines_the_cookie_goes_over_tls_alone(base: str) -> None:
    """Also behind a proxy that terminates TLS without saying so."""
    store = Memory()
    app = App(id="assistant", key=SecretStr("key_sample"), session="default")
    console = Starlette(routes=login.console_routes(store, {"assistant": app}.get, lambda request: "one"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(console), base_url=base) as client:

        async def enter(origin: str) -> httpx.Response:
            code = {"code": issue(store, "console", "assistant")}
            return await client.post("/console/login", data=code, headers={"Origin": origin})

        answer = await enter("https://wa.example.com")
        assert answer.status_code == 303
        assert "; secure" in answer.headers["set-cookie"].lower()
        in_clear = await enter("http://wa.example.com")
        assert in_clear.status_code == (403 if base.startswith("https") else 303)


@pytest.mark.anyio
async def test_without_the_store_nobody_logs_in_and_nothing_is_shown() -> None:
    class Away(Memory):
        def get(self, table: str, key: str) -> str | None:
            raise StoreAway("The store /home/maya/store cannot be used.")

        def take(self, counts: Iterable[Count]) -> Taken:
            raise StoreAway("The store /home/maya/store cannot be used.")

    console = Starlette(routes=login.console_routes(Away(), lambda _: None, lambda request: "one"))
    here = "http://127.0.0.1"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(console), base_url=here) as client:
        client.cookies.set(COOKIE, "x")
        answers = [await client.get(path) for path in ("/console", "/console/views/waiting")]
        answers.append(await client.post("/console/login", data={"code": "x"}, headers={"Origin": here}))
        answers.append(await client.post("/console/logout", headers={"Origin": here}))
        said = [(each.status_code, each.text) for each in answers]
        assert said == [(503, "The store cannot be used now.")] * 4


def test_the_pages_load_nothing_and_are_shown_within_no_other(server: Server) -> None:
    for answer in (server.visitor()("GET", ""), server.logged_in()("GET", "")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"


def enter(window: Browser, server: Server, app_id: str = "assistant") -> None:
    """Log in as a person does."""
    window.open(f"{server.url}/console")
    window.wait_for("One-time code")
    window.run(f"document.getElementById('code').value = {json.dumps(server.code(app_id))}")
    window.click("button")
    window.wait_for("Waiting for you")


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_person_logs_in_decides_and_logs_out_in_a_browser(server: Server, tmp_path: Path) -> None:
    wait_for()
    wait_for("on_call", "Not for you")
    with browser(tmp_path / "profile") as window:
        window.open(f"{server.url}/console")
        window.wait_for("One-time code")
        window.run("document.getElementById('code').value = 'AAAA-BBBB-CCCC'")
        window.click("button")
        window.wait_for("code is not valid now")
        enter(window, server)
        shown = window.wait_for("1,240")
        assert "App assistant" in shown
        assert "Not for you" not in shown
        assert window.run("return document.cookie") == ""
        until(lambda: window.run("return document.querySelector('img').naturalWidth") is not None)
        window.click("button.approve")
        window.wait_for("Nothing is waiting")
        assert states("assistant") == ["approved"]
        window.click("#leave")
        window.wait_for("One-time code")
        window.open(f"{server.url}/console")
        window.wait_for("One-time code")


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_page_that_is_open_turns_to_the_log_in_when_its_log_in_ends(server: Server, tmp_path: Path) -> None:
    wait_for()
    with browser(tmp_path / "profile") as window:
        enter(window, server)
        window.wait_for("1,240")
        assert login.end_logins(opened_store(), "assistant") == 1
        assert "1,240" not in window.wait_for("One-time code")


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_the_log_in_fits_a_phone_and_axe_finds_nothing(server: Server, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as window:
        for dark in (False, True):
            window.show_as(360, dark=dark)
            window.open(f"{server.url}/console")
            window.wait_for("One-time code")
            assert window.run("return document.documentElement.scrollWidth") <= 360
            assert violations(window) == []
