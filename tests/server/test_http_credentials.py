"""Authentication over HTTP: which requests are served, which are not, and what a stranger can learn or cost."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.judge import Judge
from tests.harness import NO_PACE_TEXT, sandbox_server
from tests.http_server import LEGACY, MODERN, Answer, Served, http_server, until, write_app
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.credentials import WINDOW

pytestmark = pytest.mark.slow

INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
#: Requests of both eras, none of which a stranger may make.
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "initialize": (LEGACY, "initialize", INITIALIZE),
    "ping": (LEGACY, "ping", {}),
    "tools/list": (LEGACY, "tools/list", {}),
    "a call": (MODERN, "tools/call", {"name": "get_status", "arguments": {}}),
    "server/discover": (MODERN, "server/discover", {}),
    "subscriptions/listen": (MODERN, "subscriptions/listen", {"notifications": {"toolsListChanged": True}}),
    "an unknown method": (MODERN, "admin/everything", {}),
}
#: A key in WAHA's format that WAHA has never issued.
UNKNOWN = "key_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture
def judge(sandbox: SandboxInfo) -> Iterator[Judge]:
    found = Judge(sandbox)
    yield found
    found.no_faults()
    found.close()


@pytest.fixture(scope="module")
def served(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with one App, of the key `full`."""
    folder = tmp_path_factory.mktemp("apps")
    write_app(folder, "mine", sandbox, sandbox.keys["full"])
    with http_server("--apps", str(folder), state=tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture(scope="module")
def opened(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that accepts any scoped key of the sandbox."""
    with http_server("--open", "--url", sandbox.url, state=tmp_path_factory.mktemp("state")) as server:
        yield server


def minted(judge: Judge, **actions: bool) -> dict[str, Any]:
    """A new key of WAHA's."""
    body = {"isAdmin": False, "session": judge.sandbox.session, "isActive": True, "actions": actions or {"read": True}}
    made: dict[str, Any] = judge.ask("POST", "/api/keys", body)
    return made


def revoke(judge: Judge, key: dict[str, Any]) -> None:
    judge.ask(
        "PUT", f"/api/keys/{key['id']}", {**{k: key[k] for k in ("isAdmin", "session", "actions")}, "isActive": False}
    )


def refused(answer: Answer, *statuses: int) -> bool:
    """Whether a request was rejected: one of these statuses, and no JSON-RPC result."""
    return answer.status in (statuses or (401,)) and '"result"' not in answer.text


# A stranger

WITHOUT_A_KEY: dict[str, list[tuple[str, str]]] = {
    "no header": [],
    "an unknown key": [("X-Api-Key", UNKNOWN)],
    "an unknown bearer": [("Authorization", f"Bearer {UNKNOWN}")],
    "an empty key": [("X-Api-Key", "")],
    "a blank key": [("X-Api-Key", "   ")],
    "an empty bearer": [("Authorization", "Bearer ")],
    "only the scheme": [("Authorization", "Bearer")],
    "a wildcard": [("X-Api-Key", "*")],
    "the placeholder": [("X-Api-Key", "${WAHA_API_KEY}")],
    "null": [("X-Api-Key", "null")],
    "a long key": [("X-Api-Key", "k" * 4000)],
    "bytes that are no ASCII": [("X-Api-Key", "schl\u00fcssel")],
    "the App's id": [("X-Api-Key", "mine")],
}
#: Forms in which a valid key does not count; KEY is its placeholder.
MISPLACED: dict[str, list[tuple[str, str]]] = {
    "in a cookie": [("Cookie", "X-Api-Key=KEY; api_key=KEY")],
    "as basic password": [("Authorization", "Basic BASIC")],
    "without the scheme": [("Authorization", "KEY")],
    "under another scheme": [("Authorization", "Token KEY")],
    "in X-Authorization": [("X-Authorization", "Bearer KEY")],
    "in Proxy-Authorization": [("Proxy-Authorization", "Bearer KEY")],
    "in X-Forwarded-User": [("X-Forwarded-User", "KEY"), ("X-Remote-User", "KEY"), ("Remote-User", "KEY")],
    "with an underscore": [("X_Api_Key", "KEY")],
    "two schemes": [("Authorization", "Bearer Bearer KEY")],
    "as the hash that WAHA stores": [("X-Api-Key", "sha512:KEY")],
    "with a blank in it": [("X-Api-Key", "KEY x")],
    "twice in one value": [("X-Api-Key", "KEY, KEY")],
    "with an unknown one behind": [("X-Api-Key", "KEY"), ("X-Api-Key", UNKNOWN)],
    "with an unknown one before": [("X-Api-Key", UNKNOWN), ("X-Api-Key", "KEY")],
    "with another bearer": [("X-Api-Key", "KEY"), ("Authorization", f"Bearer {UNKNOWN}")],
    "as the bearer beside another": [("X-Api-Key", UNKNOWN), ("Authorization", "Bearer KEY")],
    "two bearers": [("Authorization", "Bearer KEY"), ("Authorization", f"Bearer {UNKNOWN}")],
    "in lower case": [("X-Api-Key", "LOWER")],
    "cut off": [("X-Api-Key", "SHORT")],
}


@pytest.mark.parametrize("headers", WITHOUT_A_KEY.values(), ids=WITHOUT_A_KEY.keys())
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_without_a_key_nothing_is_answered(
    headers: list[tuple[str, str]], request_: tuple[str, str, dict[str, Any]], served: Served
) -> None:
    version, method, params = request_
    with served.caller(None, version=version) as stranger:
        answer = stranger.post(stranger.message(method, params), headers)
        assert refused(answer)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "mine" not in answer.text


def placed(headers: list[tuple[str, str]], key: str) -> list[tuple[str, str]]:
    basic = base64.b64encode(f"{key}:{key}".encode()).decode()
    fills = {"KEY": key, "BASIC": basic, "LOWER": key.lower(), "SHORT": key[:-1]}
    found = []
    for name, value in headers:
        for mark, text in fills.items():
            if (
                mark
                in value.split() + value.replace(",", " ").replace("=", " ").replace(";", " ").replace(":", " ").split()
            ):
                value = value.replace(mark, text)
        found.append((name, value))
    return found


@pytest.mark.parametrize("headers", MISPLACED.values(), ids=MISPLACED.keys())
def test_a_key_counts_in_its_header_alone_and_only_when_it_is_the_only_one(
    headers: list[tuple[str, str]], served: Served, sandbox: SandboxInfo
) -> None:
    with served.caller(None) as stranger:
        assert refused(stranger.tool("get_status", placed(headers, sandbox.keys["full"])), 400, 401)


PLACED: dict[str, list[tuple[str, str]]] = {
    "X-Api-Key": [("X-Api-Key", "KEY")],
    "in lower case": [("x-api-key", "KEY")],
    "in upper case": [("X-API-KEY", "KEY")],
    "blanks around it": [("X-Api-Key", "  KEY ")],
    "bearer": [("Authorization", "Bearer KEY")],
    "bearer in lower case": [("authorization", "bearer KEY")],
    "bearer in upper case": [("Authorization", "BEARER KEY")],
    "the same in both": [("X-Api-Key", "KEY"), ("Authorization", "Bearer KEY")],
}


@pytest.mark.parametrize("headers", PLACED.values(), ids=PLACED.keys())
def test_a_key_is_taken_from_either_header(
    headers: list[tuple[str, str]], served: Served, sandbox: SandboxInfo
) -> None:
    with served.caller(None) as caller:
        assert caller.tool("get_status", placed(headers, sandbox.keys["full"])).good


@pytest.mark.parametrize("name", ["key", "api_key", "x-api-key", "apikey", "access_token", "token"])
def test_a_key_in_the_url_or_the_body_is_none(name: str, served: Served, sandbox: SandboxInfo) -> None:
    key = sandbox.keys["full"]
    with served.caller(None) as stranger:
        message = stranger.message("tools/call", {"name": "get_status", "arguments": {name: key}, "_meta": {name: key}})
        assert refused(stranger.post(message | {name: key}, path=f"/mcp?{name}={key}"))
    assert key not in served.log()


# Keys that WAHA knows, and that are no App's


def test_an_admin_key_gets_nowhere(served: Served, opened: Served, sandbox: SandboxInfo, tmp_path: Path) -> None:
    with served.caller(sandbox.admin_key) as admin:
        assert refused(admin.ask("tools/list"), 401, 403)
    with opened.caller(sandbox.admin_key) as admin:
        for version, method, params in REQUESTS.values():
            admin.version = version
            assert refused(admin.post(admin.message(method, params)), 403)
    write_app(tmp_path, "chief", sandbox, sandbox.admin_key)
    with http_server("--apps", str(tmp_path)) as server, server.caller(sandbox.admin_key) as admin:
        assert refused(admin.tool("list_chats"), 403)
        assert refused(admin.ask("tools/list"), 403)


def test_an_app_that_allows_its_admin_key_does_so_for_programs_at_hand_alone(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    write_app(tmp_path, "chief", sandbox, sandbox.admin_key, allow_admin_key=True)
    with http_server("--apps", str(tmp_path)) as server, server.caller(sandbox.admin_key) as admin:
        assert refused(admin.tool("list_chats"), 403)


def test_a_valid_key_of_waha_without_an_app_is_unknown_and_waha_is_not_asked(
    served: Served, sandbox: SandboxInfo, judge: Judge
) -> None:
    judge.forget()
    with served.caller(sandbox.keys["read"]) as other:
        assert refused(other.ask("tools/list"))
    assert judge.requests() == []


def test_a_server_with_a_key_of_its_own_in_the_environment_uses_it_for_nobody(
    sandbox: SandboxInfo, tmp_path: Path, judge: Judge
) -> None:
    own: dict[str, Any] = {
        "WAHA_API_KEY": sandbox.keys["full"],
        "WAHA_URL": sandbox.url,
        "WAHA_SESSION": "default",
    }
    write_app(tmp_path, "reads", sandbox, sandbox.keys["read"])
    judge.forget()
    with http_server("--apps", str(tmp_path), **own) as server:
        with server.caller(None) as stranger, server.caller(sandbox.keys["full"]) as full:
            assert refused(stranger.ask("tools/list"))
            assert refused(full.ask("tools/list"))
        with server.caller(sandbox.keys["read"]) as reader:
            assert "send_text" not in reader.tools()
            assert reader.tool("list_chats").good
    assert {each["key"] for each in judge.requests()} == {"read"}


# Revoked


def test_a_key_that_waha_no_longer_knows_gets_in_nowhere_after_its_own_call_was_refused(
    sandbox: SandboxInfo, opened: Served, tmp_path: Path, judge: Judge
) -> None:
    key = minted(judge)
    write_app(tmp_path, "brief", sandbox, key["key"])
    with http_server("--apps", str(tmp_path)) as server:
        for each in (server, opened):
            with each.caller(key["key"]) as caller:
                assert caller.tool("list_chats").good
        revoke(judge, key)
        for each in (server, opened):
            with each.caller(key["key"]) as caller:
                assert not caller.tool("list_chats").good
                for version, method, params in REQUESTS.values():
                    caller.version = version
                    assert refused(caller.post(caller.message(method, params)))


def test_a_key_that_waha_has_revoked_asks_waha_no_more_however_often_it_comes(
    sandbox: SandboxInfo, tmp_path: Path, judge: Judge
) -> None:
    key = minted(judge)
    write_app(tmp_path, "brief", sandbox, key["key"])
    revoke(judge, key)
    judge.forget()
    with http_server("--apps", str(tmp_path)) as server, server.caller(key["key"]) as caller:
        for _ in range(50):
            assert refused(caller.ask("tools/list"))
    assert len(judge.requests()) <= 5


def test_a_key_that_is_revoked_while_it_is_in_use_is_refused_once_it_is_time_to_ask_again(
    sandbox: SandboxInfo, tmp_path: Path, judge: Judge
) -> None:
    key = minted(judge)
    write_app(tmp_path, "brief", sandbox, key["key"])
    sooner = "import waha_mcp.bridges as bridges\nbridges.RECHECK = 1.0\n"
    with http_server("--apps", str(tmp_path), first=sooner) as server, server.caller(key["key"]) as caller:
        assert caller.ask("tools/list").status == 200
        revoke(judge, key)
        until(lambda: refused(caller.ask("tools/list")), 5)


# A flood of keys


def flood(server: Served, count: int, local: str = "", keys: Any = None) -> list[int]:
    with server.caller(None, local=local) as stranger:
        made = keys or (f"key_{os.urandom(16).hex()}" for _ in range(count))
        return [stranger.ask("tools/list", {"X-Api-Key": key}).status for key in made]


def test_a_flood_of_unknown_keys_from_one_address_does_not_reach_waha(
    sandbox: SandboxInfo, judge: Judge, tmp_path: Path
) -> None:
    with http_server("--open", "--url", sandbox.url, state=tmp_path) as server:
        judge.forget()
        statuses = flood(server, 100)
        asked = len(judge.requests())
        assert set(statuses) <= {401, 429}
        assert asked <= 40
        with server.caller(None) as stranger:
            answer = stranger.ask("tools/list", {"X-Api-Key": f"key_{os.urandom(16).hex()}"})
            assert answer.status == 429
            assert 1 <= int(answer.headers["retry-after"]) <= WINDOW
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: flood(server, 15), range(4)))
        assert len(judge.requests()) <= asked + 20
        # A known client at the same address is not affected.
        with server.caller(sandbox.keys["read"], local="127.0.0.2") as reader:
            assert reader.tool("get_status").good


def test_a_flood_of_unknown_keys_from_many_addresses_is_bounded_as_a_whole(
    sandbox: SandboxInfo, judge: Judge, tmp_path: Path
) -> None:
    with http_server("--open", "--url", sandbox.url, state=tmp_path) as server:
        judge.forget()
        with server.caller(sandbox.keys["read"]) as reader:
            assert reader.tool("get_status").good
            before = len(judge.requests())
            for host in range(2, 42):
                flood(server, 5, local=f"127.0.1.{host}")
            assert len(judge.requests()) - before <= 200
            assert reader.tool("get_status").good


def test_one_unknown_key_is_asked_about_once(opened: Served, judge: Judge) -> None:
    judge.forget()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: flood(opened, 5, local=f"127.0.2.{n + 1}", keys=[UNKNOWN] * 5), range(8)))
    assert len(judge.requests()) <= 2


def test_a_forwarded_address_is_believed_of_no_stranger(sandbox: SandboxInfo, judge: Judge, tmp_path: Path) -> None:
    with (
        http_server("--open", "--url", sandbox.url, state=tmp_path) as server,
        server.caller(None, local="127.0.0.9") as stranger,
    ):
        judge.forget()
        for n in range(60):
            address = f"203.0.113.{n}"
            where = {"X-Forwarded-For": address, "Forwarded": f"for={address}", "X-Real-IP": address}
            stranger.ask("tools/list", where | {"X-Api-Key": f"key_{os.urandom(16).hex()}"})
        assert len(judge.requests()) <= 40


# WAHA away


def test_while_waha_does_not_answer_nobody_unknown_is_let_in(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with (
        http_server("--open", "--url", "http://127.0.0.1:1", state=tmp_path) as server,
        server.caller(sandbox.keys["read"]) as caller,
    ):
        assert refused(caller.ask("tools/list"), 401, 503)


FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 404},
    {"drop": True},
    {"malformed": True},
    {"body": "[]"},
    {"body": "null"},
    {"body": '"<html>"', "content_type": "text/html"},
    {"body": '[{"name": "default"}, {"name": "work"}]'},
)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_waha_answers_oddly_about_a_key_opens_nothing(fault: dict[str, Any], opened: Served, judge: Judge) -> None:
    judge.fault("*", count=200, **fault)
    address = f"127.0.3.{FAULTS.index(fault) + 1}"
    with opened.caller(f"key_{os.urandom(16).hex()}", local=address) as caller:
        answer = caller.ask("tools/list")
        if answer.status == 200:
            assert [each["name"] for each in answer.result["tools"]] == ["get_status"]
        else:
            assert answer.status in (401, 403, 503)
        judge.no_faults()
        judge.forget()
        assert not caller.tool("send_text", chat="+12025550123", text="odd").good
        assert judge.effects() == []


# Definitions


def test_a_definition_that_is_disabled_removed_or_broken_ends_its_key_at_once(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    key = sandbox.keys["full"]
    path = write_app(tmp_path, "mine", sandbox, key)
    with http_server("--apps", str(tmp_path)) as server, server.caller(key) as caller:
        assert caller.tool("list_chats").good
        for how in (
            lambda: write_app(tmp_path, "mine", sandbox, key, enabled=False),
            path.unlink,
            lambda: write_app(tmp_path, "mine", sandbox, key, NO_PACE_TEXT + "[chats]\nsend = { alow = [] }\n"),
            lambda: write_app(tmp_path, "mine", sandbox, key, NO_PACE_TEXT + "this is no TOML"),
            lambda: write_app(tmp_path, "mine", sandbox, sandbox.keys["read"]),
        ):
            how()
            until(lambda: refused(caller.ask("tools/list")), 10)
            assert refused(caller.tool("send_text", chat="+12025550123", text="after the end"))
            write_app(tmp_path, "mine", sandbox, key)
            until(lambda: caller.ask("tools/list").status == 200, 10)


def test_a_definition_that_takes_rights_away_does_so_for_who_is_at_work(sandbox: SandboxInfo, tmp_path: Path) -> None:
    key = sandbox.keys["full"]
    write_app(tmp_path, "mine", sandbox, key)
    with http_server("--apps", str(tmp_path)) as server, server.caller(key) as caller:
        assert "send_text" in caller.tools()
        write_app(tmp_path, "mine", sandbox, key, actions=["read"])
        until(lambda: "send_text" not in caller.tools(), 10)
        assert not caller.tool("send_text", chat="+12025550123", text="no more").good
        write_app(tmp_path, "mine", sandbox, key, NO_PACE_TEXT + '[chats]\nread = { allow = ["+12025550123"] }\n')
        until(lambda: "Maya" not in caller.tool("list_chats").words, 10)


def test_of_two_definitions_with_one_key_neither_serves(sandbox: SandboxInfo, tmp_path: Path) -> None:
    key, other = sandbox.keys["full"], sandbox.keys["read"]
    write_app(tmp_path, "strict", sandbox, key, actions=["read"])
    write_app(tmp_path, "third", sandbox, other)
    with http_server("--apps", str(tmp_path)) as server, server.caller(key) as caller:
        assert "send_text" not in caller.tools()
        write_app(tmp_path, "loose", sandbox, key)
        until(lambda: refused(caller.ask("tools/list")), 10)
        (tmp_path / "loose.toml").unlink()
        until(lambda: caller.ask("tools/list").status == 200, 10)
        assert "send_text" not in caller.tools()
        assert key not in server.log()


def test_of_two_definitions_with_one_id_neither_serves(sandbox: SandboxInfo, tmp_path: Path) -> None:
    one, two = sandbox.keys["full"], sandbox.keys["read_send"]
    write_app(tmp_path, "one", sandbox, one, id="same")
    write_app(tmp_path, "two", sandbox, two, id="same")
    write_app(tmp_path, "three", sandbox, sandbox.keys["read"])
    with http_server("--apps", str(tmp_path)) as server:
        for key in (one, two):
            with server.caller(key) as caller:
                assert refused(caller.ask("tools/list"))
        with server.caller(sandbox.keys["read"]) as caller:
            assert caller.tools()


@pytest.mark.parametrize("spoiled", ["disabled", "broken", "its key is gone", "twice"])
def test_the_key_of_a_definition_that_is_not_served_does_not_get_the_template(
    spoiled: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    apps, key = tmp_path / "apps", sandbox.keys["full"]
    apps.mkdir()
    path = write_app(apps, "strict", sandbox, key, actions=["read"])
    with (
        http_server("--open", "--url", sandbox.url, "--apps", str(apps), state=tmp_path / "state") as server,
        server.caller(key) as caller,
        server.caller(sandbox.keys["send"]) as other,
    ):
        assert "send_text" not in caller.tools()
        assert "send_text" in other.tools()
        if spoiled == "disabled":
            write_app(apps, "strict", sandbox, key, enabled=False)
        elif spoiled == "broken":
            write_app(apps, "strict", sandbox, key, "[chats]\nread = { alow = [] }\n")
        elif spoiled == "its key is gone":
            path.write_text('key = { file = "nowhere" }\n')
        else:
            write_app(apps, "again", sandbox, key)
        until(lambda: refused(caller.ask("tools/list")), 10)
        # Others' keys are served by the template: the broken definition does not name them.
        assert "send_text" in other.tools()
        path.unlink()
        (apps / "again.toml").unlink(missing_ok=True)


def test_while_the_key_of_a_definition_cannot_be_read_no_other_gets_the_template(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    (apps / "broken.toml").write_text("this is no TOML")
    with (
        http_server("--open", "--url", sandbox.url, "--apps", str(apps), state=tmp_path / "state") as server,
        server.caller(sandbox.keys["full"]) as caller,
    ):
        assert refused(caller.ask("tools/list"))
        (apps / "broken.toml").unlink()
        until(lambda: caller.ask("tools/list").status == 200, 10)


def test_a_template_that_changes_holds_for_who_is_at_work(sandbox: SandboxInfo, tmp_path: Path) -> None:
    template = tmp_path / "template.toml"
    template.write_text(NO_PACE_TEXT)
    with (
        http_server("--open", "--url", sandbox.url, "--template", str(template), state=tmp_path / "state") as server,
        server.caller(sandbox.keys["full"]) as caller,
    ):
        assert "send_text" in caller.tools()
        template.write_text('actions = ["read"]\n')
        assert "send_text" not in caller.tools()
        template.write_text("this is no TOML")
        assert refused(caller.ask("tools/list"))


# What a stranger finds out


def test_health_and_readiness_say_nothing_of_apps_and_accounts(served: Served, sandbox: SandboxInfo) -> None:
    with served.caller(sandbox.keys["full"]) as caller:
        assert caller.tool("list_chats").good
        for path in ("/healthz", "/readyz"):
            answer = caller.send("GET", path)
            assert answer.status == 200
            for word in ("mine", "2025550", "Alex", "default", sandbox.url, "sqlite", "/"):
                assert word not in answer.text


def test_a_key_stands_in_no_log(sandbox: SandboxInfo, tmp_path: Path, judge: Judge) -> None:
    key = sandbox.keys["full"]
    write_app(tmp_path, "mine", sandbox, key)
    stranger_key = f"key_{os.urandom(20).hex()}"
    with http_server("--apps", str(tmp_path), "--log-level", "debug") as server:
        with server.caller(key) as caller:
            assert caller.tool("list_chats").good
            judge.fault("/api/*", count=3, status=500, body=f"trouble with {key}")
            caller.tool("list_chats")
            caller.post(b"{" + key.encode())
            caller.tool("send_text", chat=key, text=key)
        with server.caller(stranger_key) as stranger:
            stranger.ask("tools/list")
            stranger.ask(key)
        server.raw(
            f"GET /{key} HTTP/1.1\r\nHost: {server.address[0]}\r\nX-Api-Key: {key}\r\n\r\n".encode(), seconds=0.3
        )
        server.raw(f"POST /mcp?x-api-key={key} HTTP/1.1\r\nX-Api-Key {key}\r\n\r\n".encode(), seconds=0.3)
        assert server.log()
        assert key not in server.log()
        assert stranger_key not in server.log()
