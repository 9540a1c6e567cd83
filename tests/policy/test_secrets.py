"""The key, planted wherever WAHA could echo it, never appears in any output."""

from __future__ import annotations

import json
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
import respx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import MCPError
from pydantic import SecretStr

from tests.harness import ERAS, NO_PACE, Era, memory_client, own_logging, run
from tests.platforms import posix
from tests.policy.common import SAM, bridge_with
from waha_mcp.app.definition import App, AppError, load_app
from waha_mcp.bridge import Bridge
from waha_mcp.log import configure_logging, hide, redact
from waha_mcp.policy.audit import trail_path
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server.protocol import Protocol

BASE = "http://waha.test:3000"
#: With a letter that JSON and URLs both encode.
KEY = 'key_"5f/9a+1c77d2e84b0f'
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_status", {}),
    ("list_chats", {}),
    ("get_messages", {"chat": "12025550123@c.us"}),
    ("send_text", {"chat": "12025550123@c.us", "text": "hi", "allow_repeat": True}),
    ("get_contacts", {}),
]

#: An answer that contains KEY somewhere: status, headers, and JSON or text around it.
PLACES = st.sampled_from(
    ["body", "name", "error", "message list", "exception", "html", "location", "retry-after", "content-type", "broken"]
)


@pytest.fixture
def captured(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with own_logging():
        yield


def planted(place: str, status: int) -> httpx.Response:
    """Answers of WAHA that contain the key."""
    row = {"id": "12025550123@c.us", "name": f"call me {KEY}", "timestamp": 1_790_000_000, "body": KEY, "from": KEY}
    match place:
        case "body" | "name":
            return httpx.Response(status, json=[row])
        case "error":
            return httpx.Response(status, json={"error": f"bad key {KEY}", "session": KEY, "status": KEY})
        case "message list":
            return httpx.Response(status, json={"message": [f"header x-api-key {KEY}", KEY], "statusCode": status})
        case "exception":
            return httpx.Response(
                status,
                json={"exception": {"message": KEY, "stack": KEY}, "request": {"path": f"/?x-api-key={quote(KEY)}"}},
            )
        case "html":
            return httpx.Response(status, html=f"<html>{KEY}</html>")
        case "location":
            return httpx.Response(302, headers={"location": f"http://{quote(KEY, safe='')}.example/?k={quote(KEY)}"})
        case "retry-after":
            return httpx.Response(429, headers={"retry-after": KEY}, json={"message": KEY})
        case "content-type":
            return httpx.Response(status, headers={"content-type": f"text/{KEY}"}, content=KEY.encode())
    return httpx.Response(status, content=f'{{"key": "{KEY}'.encode(), headers={"content-type": "application/json"})


@given(place=PLACES, status=st.sampled_from([200, 201, 400, 401, 403, 404, 422, 429, 500, 501, 503]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_wherever_waha_echoes_the_key_no_result_log_or_trail_has_it(
    place: str, status: int, captured: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.waha.client.TRIES", 1)
    monkeypatch.setattr("waha_mcp.policy.delivery.LOOK_AGAIN", (0.0,))
    hide(SecretStr(KEY))
    configure_logging("debug")
    said = anyio.run(_say_everything, planted(place, status))
    out, err = capsys.readouterr()
    everything = said + out + err + trail_path("default").read_text()
    for form in (KEY, json.dumps(KEY)[1:-1], quote(KEY, safe=""), quote(KEY), KEY[5:]):
        assert form not in everything


async def _say_everything(answer: httpx.Response, key: str = KEY) -> str:
    """Everything that a client gets while WAHA answers every call but the first with `answer`."""
    said: list[str] = []
    app = App(url=BASE, key=SecretStr(key), session="default", pace=NO_PACE, audit="text")
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        router.get("/api/server/environment").respond(403, json={"message": "Forbidden", "statusCode": 403})
        router.get("/api/sessions/default").respond(json={})
        router.get("/api/default/status/new-message-id").respond(json={"id": "A"})
        router.route().mock(return_value=answer)
        bridge = Bridge(app)
        async with bridge, memory_client(Protocol(lambda _: bridge).server, ERAS[0]) as client:
            for name, arguments in CALLS:
                try:
                    result = await client.call_tool(name, arguments)
                except Exception as error:
                    said.append(repr(error))
                else:
                    said.append(result.model_dump_json())
    return "\n".join(said)


@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
@pytest.mark.slow
def test_a_key_is_found_however_it_is_written(key: str, before: str, after: str) -> None:
    secret = SecretStr(key)
    for form in (key, json.dumps(key)[1:-1], quote(key, safe=""), quote(key)):
        assert form not in redact(f"{before} {form} {after}", secret)


ROW = {"id": "12025550123@c.us", "name": "admin 123", "timestamp": 1_790_000_000, "body": "123 true a {admin}"}


@pytest.mark.parametrize("key", ["123", "admin", "a", "true", "12025550123", "chats", '"', "{"])
def test_a_key_that_is_a_word_or_a_number_leaves_answers_and_trail_whole(
    key: str, captured: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide(SecretStr(key))
    configure_logging("info")
    whole = anyio.run(_say_everything, httpx.Response(200, json=[ROW]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "weak"))
    weak = anyio.run(partial(_say_everything, httpx.Response(200, json=[ROW]), key))
    times = re.compile(r'"ms":[\d.]+|"time":"[^"]+"|[0-9a-f]{64}|\d+ s\b|[mgnpc]\d{9}')
    assert times.sub("", weak) == times.sub("", whole)
    assert "admin 123" in weak
    for line in trail_path("default").read_text().splitlines():
        assert json.loads(line)["tool"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "refused"))
    refused = httpx.Response(400, json={"message": f"Wrong key: {key}.", "statusCode": 400})
    said = anyio.run(partial(_say_everything, refused, key))
    assert "Wrong key: [key]" in said


def test_a_crash_is_told_without_the_key(capsys: pytest.CaptureFixture[str], captured: None) -> None:
    before = sys.excepthook
    try:
        hide(SecretStr(KEY))
        configure_logging("warning")
        try:
            raise RuntimeError(f"crashed over {KEY}")
        except RuntimeError as error:
            sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.excepthook = before
    err = capsys.readouterr().err
    assert "RuntimeError: crashed over [key]" in err
    assert KEY not in err


# Where keys and connections are set up


@posix
def test_a_file_with_a_key_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "app.toml"
    file.write_text('key = "key_0000000000"\nurl = "http://127.0.0.1:9"\n')
    file.chmod(0o644)
    done = run("tools", "--app", str(file))
    assert "chmod 600" in done.stderr
    assert "key_0000000000" not in done.stderr
    file.chmod(0o600)
    assert "chmod 600" not in run("tools", "--app", str(file)).stderr


@pytest.mark.parametrize(
    ("url", "loads"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:3000", True),
        ("http://[::1]:3000", True),
        ("http://192.168.1.20:3000", True),
        ("http://waha:3000", True),
        ("http://host.docker.internal:3000", True),
        ("https://waha.example.com", True),
        ("http://waha.example.com", False),
        ("HTTP://waha.example.com:3000", False),
        ("http://8.8.8.8:3000", False),
    ],
)
def test_plain_http_is_for_private_hosts(url: str, loads: bool) -> None:
    given: dict[str, Any] = {"url": url, "key": SecretStr("key_0000")}
    if loads:
        assert App(**given)
    else:
        with pytest.raises(ValueError, match="allow_insecure_http"):
            App(**given)
        assert App(**given, allow_insecure_http=True)


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), ("no certificate", "PEM")])
def test_a_bad_ca_file_does_not_start(content: str | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    (tmp_path / "app.toml").write_text('url = "https://waha.example.com"\nca_file = "ca.pem"\n')
    with pytest.raises(AppError, match=says):
        load_app(str(tmp_path / "app.toml"), environ={"WAHA_API_KEY": "key_0000"})


def test_a_ca_file_is_what_https_is_checked_against(tmp_path: Path) -> None:
    import certifi

    app = App(url="https://waha.example.com", key=SecretStr("key_0000"), ca_file=Path(certifi.where()))
    bridge = Bridge(app)
    for client in bridge.waha._clients():
        transport: Any = client._transport
        context = transport._pool._ssl_context
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


@pytest.mark.parametrize("field", ["verify", "insecure", "tls_verify"])
def test_there_is_no_switch_that_turns_the_check_off(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        App(url="https://waha.example.com", key=SecretStr("key_0000"), **{field: False})  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_what_a_client_asks_for_with_the_key_in_it_is_not_repeated_to_it(era: Era, sandbox: SandboxInfo) -> None:
    key = sandbox.keys["read_send"]
    async with bridge_with(sandbox) as bridge, memory_client(Protocol(lambda _: bridge).server, era) as client:
        asks: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.call_tool(key, {}),
            lambda: client.call_tool("send_text", {"chat": key, "text": "hi"}),
            lambda: client.call_tool("send_text", {"chat": SAM, "text": "hi", key: 1}),
            lambda: client.read_resource(f"waha://{key}"),
            lambda: client.read_resource(f"waha://chats/{key}"),
            lambda: client.get_prompt(key, {}),
            lambda: client.get_prompt("catch_up", {key: "x"}),
        ]
        for ask in asks:
            try:
                said = (await ask()).model_dump_json()
            except MCPError as error:
                said = f"{error.message} {error.data}"
            assert said
            assert key not in said
