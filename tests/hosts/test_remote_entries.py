"""Entries for a server over HTTP: every host's form, the place of the key, and the requests to the server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.harness import run
from tests.platforms import posix
from tests.serving import serving
from waha_mcp.cli.common import Failure
from waha_mcp.cli.remote_server import server_url
from waha_mcp.hosts import edit
from waha_mcp.hosts.installation import backup_of, free_name, install, uninstall
from waha_mcp.hosts.launch import headers_of, is_ours, key_of, link_for, target_of, url_of
from waha_mcp.hosts.table import HOSTS, OURS, Launch, Remote

KEY = "key_sample_0000"
URL = "https://waha.example.com/mcp"
#: The hosts whose file cannot refer to a variable, so that the key itself stands in it.
LITERAL = {"claude-desktop", "zed", "lm-studio"}
SHAPES: dict[str, dict[str, Any]] = {
    "claude-desktop": {
        "command": "npx",
        "args": [
            *("-y", "mcp-remote@0.15.1", URL, "--transport", "http-only", "--protocol", "auto"),
            *("--header", "X-Installed-By:waha-mcp", "--header", "Authorization:${WAHA_MCP_AUTHORIZATION}"),
        ],
        "env": {"WAHA_MCP_AUTHORIZATION": f"Bearer {KEY}"},
    },
    "claude-code": {"type": "http", "url": URL, "headers": OURS | {"Authorization": "Bearer ${WAHA_API_KEY}"}},
    "goose": {
        "type": "streamable_http",
        "name": "whatsapp",
        "description": "WhatsApp through WAHA",
        "enabled": True,
        "uri": URL,
        "headers": OURS | {"Authorization": "Bearer ${WAHA_API_KEY}"},
        "env_keys": ["WAHA_API_KEY"],
        "timeout": 300,
    },
    "cursor": {"url": URL, "headers": OURS | {"Authorization": "Bearer ${env:WAHA_API_KEY}"}},
    "vscode": {"type": "http", "url": URL, "headers": OURS | {"Authorization": "Bearer ${env:WAHA_API_KEY}"}},
    "windsurf": {"serverUrl": URL, "headers": OURS | {"Authorization": "Bearer ${env:WAHA_API_KEY}"}},
    "zed": {"url": URL, "headers": OURS | {"Authorization": f"Bearer {KEY}"}},
    "openclaw": {
        "transport": "streamable-http",
        "url": URL,
        "headers": OURS | {"Authorization": "Bearer ${WAHA_API_KEY}"},
    },
    "gemini-cli": {"httpUrl": URL, "headers": OURS | {"Authorization": "Bearer $WAHA_API_KEY"}},
    "qwen-code": {"httpUrl": URL, "headers": OURS | {"Authorization": "Bearer $WAHA_API_KEY"}},
    "copilot-cli": {
        "type": "http",
        "url": URL,
        "headers": OURS | {"Authorization": "Bearer ${WAHA_API_KEY}"},
        "tools": ["*"],
    },
    "lm-studio": {"url": URL, "headers": OURS | {"Authorization": f"Bearer {KEY}"}},
    "opencode": {
        "type": "remote",
        "url": URL,
        "headers": OURS | {"Authorization": "Bearer {env:WAHA_API_KEY}"},
        "oauth": False,
    },
    "codex": {"url": URL, "bearer_token_env_var": "WAHA_API_KEY", "http_headers": OURS},
}


def remote(name: str, url: str = URL, **headers: str) -> Remote:
    """A server as `install` writes it into a host's file, with the key in the file if it has to be."""
    key = {"key": KEY} if name in LITERAL else {"key_variable": "WAHA_API_KEY"}
    return Remote(url, OURS | headers, **key)


@pytest.mark.parametrize("name", HOSTS)
def test_every_host_has_its_own_form(name: str) -> None:
    assert HOSTS[name].entry("whatsapp", remote(name)) == SHAPES[name]


@pytest.mark.parametrize("name", HOSTS)
def test_what_an_entry_says_is_read_back_from_every_form(name: str) -> None:
    entry = HOSTS[name].entry("whatsapp", remote(name, **{"X-Read-Only": "true"}))
    assert is_ours(entry)
    assert url_of(entry) == URL
    assert headers_of(entry)["X-Read-Only"] == "true"
    assert key_of(entry) == ((None, KEY) if name in LITERAL else ("WAHA_API_KEY", None))
    without = HOSTS[name].entry("whatsapp", Remote(URL, OURS))
    assert is_ours(without)
    assert key_of(without) == (None, None)
    assert "Bearer" not in json.dumps(without)


@pytest.mark.parametrize("name", HOSTS)
def test_it_takes_the_place_of_one_that_launches_and_goes_without_a_trace(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "config"
    launch = Launch("/opt/waha-mcp", ("serve", "--app", "/home/sam/a.toml"), {"WAHA_URL": "x"}, "WAHA_API_KEY")
    install(host, "whatsapp", host.entry("whatsapp", launch), path)
    assert install(host, "whatsapp", host.entry("whatsapp", remote(name)), path).what == "replaced"
    assert edit.entry_at(edit.read(path.read_text(), host.format), host.place, "whatsapp") == SHAPES[name]
    assert install(host, "whatsapp", host.entry("whatsapp", remote(name)), path).what == "unchanged"
    assert install(host, "whatsapp", host.entry("whatsapp", launch), path).what == "replaced"
    found = edit.entry_at(edit.read(path.read_text(), host.format), host.place, "whatsapp")
    assert found == host.entry("whatsapp", launch)
    uninstall(host, "whatsapp", path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", HOSTS)
def test_a_server_of_somebody_else_is_never_taken_for_ours(name: str) -> None:
    entry = HOSTS[name].entry("whatsapp", Remote(URL, {}, key_variable="WAHA_API_KEY"))
    assert not is_ours(entry)


@posix
@pytest.mark.parametrize("name", sorted(LITERAL))
def test_a_file_with_a_key_is_its_owners_alone_and_so_is_the_copy(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "config"
    path.write_text("{}\n")
    path.chmod(0o644)
    change = install(host, "whatsapp", host.entry("whatsapp", remote(name)), path)
    assert change.private
    assert path.stat().st_mode & 0o777 == backup_of(path).stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)  # as by the host itself
    assert install(host, "whatsapp", host.entry("whatsapp", remote(name)), path).private
    assert path.stat().st_mode & 0o777 == 0o600
    uninstall(host, "whatsapp", path)
    assert path.read_text() == "{}\n"


@posix
def test_a_file_without_the_key_keeps_who_may_read_it(tmp_path: Path) -> None:
    host, path = HOSTS["cursor"], tmp_path / "config"
    path.write_text("{}\n")
    path.chmod(0o644)
    assert not install(host, "whatsapp", host.entry("whatsapp", remote("cursor")), path).private
    assert path.stat().st_mode & 0o777 == 0o644


def test_two_apps_of_one_server_are_told_apart_by_their_variables(tmp_path: Path) -> None:
    host, path = HOSTS["cursor"], tmp_path / "config"
    one, two = (Remote(URL, OURS, key_variable=name) for name in ("WAHA_API_KEY", "SALES_KEY"))
    install(host, free_name(host, one, path), host.entry("whatsapp", one), path)
    assert free_name(host, two, path) == "whatsapp-waha-example-com"
    again = Remote(URL, OURS | {"X-Read-Only": "true"}, key_variable="WAHA_API_KEY")
    assert free_name(host, again, path) == "whatsapp"
    assert target_of(host.entry("whatsapp", one)) != target_of(host.entry("whatsapp", two))


def test_no_link_holds_a_key() -> None:
    assert link_for(HOSTS["lm-studio"], "whatsapp", remote("lm-studio")) is None
    assert link_for(HOSTS["cursor"], "whatsapp", Remote(URL, OURS, key=KEY)) is None
    assert link_for(HOSTS["cursor"], "whatsapp", remote("cursor")) is not None


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://waha.example.com", URL),
        ("https://waha.example.com/", URL),
        ("https://WAHA.example.com/mcp", URL),
        ("https://example.com/whatsapp/mcp", "https://example.com/whatsapp/mcp"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/mcp"),
        ("http://[::1]:8080", "http://[::1]:8080/mcp"),
        ("http://bridge:8080/mcp", "http://bridge:8080/mcp"),
        ("http://192.168.1.7/mcp", "http://192.168.1.7/mcp"),
    ],
)
def test_a_url_is_completed(given: str, url: str) -> None:
    assert server_url(given) == url


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("http://waha.example.com/mcp", "unencrypted"),
        ("http://203.0.113.7/mcp", "unencrypted"),
        ("https://sam:secret@waha.example.com/mcp", "user name or password"),
        ("https://waha.example.com/mcp?key=secret", "without"),
        ("https://waha.example.com/mcp#x", "without"),
        ("ftp://waha.example.com", "http"),
        ("waha.example.com", "http"),
    ],
)
def test_a_url_that_would_give_something_away_is_refused(given: str, says: str) -> None:
    with pytest.raises(Failure, match=says) as error:
        server_url(given)
    assert "secret" not in str(error.value)


class Server(BaseHTTPRequestHandler):
    """A server that answers an opening as the test wants, and records the requests."""

    answer: tuple[int, dict[str, str], str]
    seen: list[tuple[dict[str, str], Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
        status, headers, text = self.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def opened(name: str = "waha-mcp") -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"serverInfo": {"name": name, "version": "1"}}})


@pytest.fixture
def server() -> type[Server]:
    return type("Own", (Server,), {"answer": (200, {}, opened()), "seen": []})


@pytest.fixture
def url(server: type[Server]) -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), server)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "key").write_text(f"{KEY}\n")
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}


def done(env: dict[str, str], *arguments: str, code: int = 0, stdin: str = "") -> str:
    finished = run(*arguments, env=env, stdin=stdin)
    assert finished.returncode == code, finished.stdout + finished.stderr
    assert KEY not in finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def entry_of(host: str, env: dict[str, str], name: str = "whatsapp") -> Any:
    record = HOSTS[host]
    file = record.file("linux", env)
    return edit.entry_at(edit.read(file.read_text(), record.format), record.place, name) if file.exists() else None


@pytest.mark.parametrize("name", HOSTS)
def test_install_asks_the_server_with_the_key_and_writes_the_entry(
    name: str, home: dict[str, str], url: str, server: type[Server]
) -> None:
    said = done(home, "install", name, "--url", url, "--key-file", f"{home['HOME']}/key")
    [(headers, body)] = server.seen
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body["method"] == "initialize"
    assert HOSTS[name].entry("whatsapp", remote(name, f"{url}/mcp")).items() <= entry_of(name, home).items()
    if name in LITERAL:
        assert "nobody but you can read" in said
        assert HOSTS[name].file("linux", home).stat().st_mode & 0o777 == 0o600
    else:
        assert "takes it from WAHA_API_KEY" in said
        assert KEY not in HOSTS[name].file("linux", home).read_text()
    done(home, "uninstall", name)
    assert entry_of(name, home) is None


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((401, {}, ""), "does not know the key"),
        ((403, {}, ""), "not WAHA's admin key"),
        ((404, {}, ""), "the path, which is /mcp"),
        ((421, {}, ""), "--allowed-host"),
        ((307, {"Location": "https://elsewhere.example/mcp"}, ""), "https://elsewhere.example/mcp"),
        ((200, {}, opened("other")), "'other', not waha-mcp"),
        ((200, {}, "<html>"), "does not speak MCP"),
    ],
)
def test_a_server_that_does_not_take_the_key_leaves_the_file_as_it_is(
    answer: Any, says: str, home: dict[str, str], url: str, server: type[Server]
) -> None:
    server.answer = answer
    said = done(home, "install", "cursor", "--url", url, "--key-file", f"{home['HOME']}/key", code=1)
    assert says in said
    assert "--no-check" in said
    assert entry_of("cursor", home) is None
    assert len(server.seen) == 1  # a redirect is not followed with the key
    done(home, "install", "cursor", "--url", url, "--no-check")
    assert entry_of("cursor", home) is not None


def test_a_server_that_is_not_there_is_told(home: dict[str, str]) -> None:
    said = done(home, "install", "cursor", "--url", "http://127.0.0.1:9", "--key-file", f"{home['HOME']}/key", code=1)
    assert "cannot be reached" in said


def test_an_answer_as_an_event_is_understood(home: dict[str, str], url: str, server: type[Server]) -> None:
    server.answer = (200, {"Content-Type": "text/event-stream"}, f"event: message\ndata: {opened()}\n\n")
    done(home, "install", "cursor", "--url", url, "--key-file", f"{home['HOME']}/key")


def test_the_key_comes_from_stdin_or_the_variable_that_the_client_takes_it_from(
    home: dict[str, str], url: str, server: type[Server]
) -> None:
    done(home, "install", "cursor", "--url", url, "--key-file", "-", stdin=f"{KEY}\n")
    done(home | {"SALES_KEY": KEY}, "install", "zed", "--url", url, "--write-key", "--key-file", f"{home['HOME']}/key")
    done(home | {"SALES_KEY": KEY}, "install", "vscode", "--url", url, "--key-env", "SALES_KEY")
    assert [headers["authorization"] for headers, _ in server.seen] == [f"Bearer {KEY}"] * 3
    assert entry_of("vscode", home)["headers"]["Authorization"] == "Bearer ${env:SALES_KEY}"
    assert "no key: set WAHA_API_KEY" in done(home, "install", "cursor", "--url", url, code=2)


def test_the_key_itself_goes_into_the_file_where_that_is_asked_for(home: dict[str, str], url: str) -> None:
    said = done(home, "install", "cursor", "--url", url, "--write-key", "--key-file", f"{home['HOME']}/key")
    assert entry_of("cursor", home)["headers"]["Authorization"] == f"Bearer {KEY}"
    assert "nobody but you can read" in said
    assert HOSTS["cursor"].file("linux", home).stat().st_mode & 0o777 == 0o600


def test_headers_narrow_what_the_agent_gets(home: dict[str, str], url: str) -> None:
    narrow = ("--read-only", "--toolsets", "core, contacts")
    done(home, "install", "cursor", "--url", url, "--key-file", f"{home['HOME']}/key", *narrow)
    headers = entry_of("cursor", home)["headers"]
    assert (headers["X-Read-Only"], headers["X-Toolsets"]) == ("true", "core,contacts")
    assert "no toolset 'cor'" in done(home, "install", "cursor", "--url", url, "--toolsets", "cor", code=2)


def test_with_oauth_no_key_is_asked_for_and_the_user_learns_how_to_log_in(
    home: dict[str, str], url: str, server: type[Server]
) -> None:
    where = 'Bearer resource_metadata="https://waha.example.com/.well-known/oauth-protected-resource/mcp"'
    server.answer = (401, {"WWW-Authenticate": where}, "")
    said = done(home, "install", "codex", "--url", url, "--oauth")
    assert "codex mcp login" in said
    assert entry_of("codex", home) == {"url": f"{url}/mcp", "http_headers": OURS, "startup_timeout_sec": 60}
    assert "authorization" not in server.seen[0][0]
    assert "leave --oauth out" in done(home, "install", "lm-studio", "--url", url, "--oauth", code=2)
    server.answer = (401, {"WWW-Authenticate": "Bearer"}, "")
    assert "offers no log-in" in done(home, "install", "cursor", "--url", url, "--oauth", code=1)
    server.answer = (200, {}, opened())
    assert "does not ask for a log-in" in done(home, "install", "cursor", "--url", url, "--oauth", code=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--read-only"], "need --url"),
        (["--oauth"], "need --url"),
        (["--url", URL, "--app", "assistant"], "--url or --app"),
        (["--url", URL, "--oauth", "--write-key"], "leave the key out"),
        (["--url", URL, "--key-env", "a b"], "not the name of a variable"),
        (["--url", URL, "--write-key", "--key-env", "OTHER"], "goes into the file"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(arguments: list[str], says: str, home: dict[str, str]) -> None:
    said = done(home, "install", "cursor", *arguments, code=2)
    assert says in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", HOSTS)
def test_print_asks_nobody_and_shows_no_key(name: str, home: dict[str, str]) -> None:
    said = done(home, "install", name, "--url", "https://nobody.example", "--print")
    assert "https://nobody.example/mcp" in said
    assert ("THE-KEY" in said) == (name in LITERAL)
    assert entry_of(name, home) is None


def test_several_entries_are_named_by_what_they_reach(home: dict[str, str], url: str) -> None:
    for variable in ("WAHA_API_KEY", "SALES_KEY"):
        done(home | {variable: KEY}, "install", "cursor", "--url", url, "--key-env", variable)
    said = done(home, "uninstall", "cursor", code=2)
    assert re.findall(r"--name (\S+)`", said) == ["whatsapp", "whatsapp-127-0-0-1"]
    assert said.count(f"({url}/mcp)") == 2


def test_doctor_asks_the_server_of_each_entry(home: dict[str, str], url: str, server: type[Server]) -> None:
    def found(**env: str) -> list[dict[str, str]]:
        finished = run("doctor", "--json", env=home | env)
        assert KEY not in finished.stdout + finished.stderr
        return [each for each in json.loads(finished.stdout) if each["about"] in ("Cursor", "Zed")]

    for host in ("cursor", "zed"):
        done(home, "install", host, "--url", url, "--key-file", f"{home['HOME']}/key")
    assert [each["state"] for each in found(WAHA_API_KEY=KEY)] == ["ok", "ok"]
    [cursor, _] = found()
    assert "not set here" in cursor["says"]
    HOSTS["zed"].file("linux", home).chmod(0o644)
    [_, zed] = found()
    assert zed["state"] == "warning"
    assert "chmod 600" in zed["fix"]
    server.answer = (401, {}, "")
    assert ["does not know the key" in each["says"] for each in found(WAHA_API_KEY=KEY)] == [True, True]
    server.answer = (502, {}, "")
    assert [each["state"] for each in found(WAHA_API_KEY=KEY)] == ["problem", "problem"]
