"""A URL that passes the gate: what WAHA gets and what a person is shown are what was judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with, effects
from tests.policy.test_fetching import resolver
from waha_mcp.policy import Refusal
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.client import Waha

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("state")]

WRITTEN, READ = " HTTP:\\\\FILES.ex%61mple.com\\@10.0.0.5/a b.png", "http://files.example.com/@10.0.0.5/a%20b.png"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names lead to a public address."""
    monkeypatch.setattr(anyio, "getaddrinfo", resolver("8.8.8.8"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies of what is asked of WAHA, in order."""
    bodies: list[dict[str, Any]] = []
    call = Waha.call

    async def noting(self: Waha, operation: str, **given: Any) -> Any:
        if operation.startswith("POST /api/send"):
            bodies.append(given["body"])
        return await call(self, operation, **given)

    monkeypatch.setattr(Waha, "call", noting)
    return bodies


@pytest.mark.usefixtures("public")
async def test_waha_and_the_person_get_the_url_that_was_judged(
    sandbox: SandboxInfo, sent: list[dict[str, Any]]
) -> None:
    shown: list[str] = []

    async def yes(question: Question) -> bool:
        shown.append(str(question))
        return True

    async with bridge_with(sandbox, approval="send") as bridge:
        await bridge.call("send_media", {"chat": SAM, "kind": "image", "url": WRITTEN}, ask=yes)
        with pytest.raises(Refusal) as again:
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "url": READ}, ask=yes)
    assert again.value.decision == "repeat refused"
    assert sent[0]["file"]["url"] == READ
    assert sent[0]["file"]["filename"] == "a b.png"
    assert len(shown) == 1
    assert READ in shown[0]
    assert WRITTEN.strip() not in shown[0]


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("send_media", {"kind": "image", "url": "http://127.0.0.1\\@example.com/"}, "is an address of this machine"),
        ("send_media", {"kind": "image", "url": "http://127%2e1/"}, "url: '127.0.0.1' is an address of this machine"),
        ("send_text", {"text": "see redis:6379/x", "link_preview": True}, "'redis' is a name of a private network"),
        ("send_text", {"text": "http://ok.example.com\\@x/", "link_preview": True}, "not every program reads alike"),
        ("send_text", {"text": "[::1]:3000/", "link_preview": True}, "text: '[::1]' is an address of this machine"),
    ],
)  # fmt: skip
async def test_a_url_that_leads_inside_is_refused_for_what_it_is(
    tool: str, arguments: dict[str, Any], says: str, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        with pytest.raises(Refusal) as refusal:
            await bridge.call(tool, {"chat": SAM, **arguments})
    assert refusal.value.decision == "url refused"
    assert says in str(refusal.value)
    assert await effects(admin) == []


async def test_a_listed_host_is_allowed_in_any_writing_of_the_list(sandbox: SandboxInfo, admin: Admin) -> None:
    media = {"chat": SAM, "kind": "image"}
    async with bridge_with(sandbox, media_hosts=["FILES.lan.", "10.5"]) as bridge:
        await admin.clear()
        for url in ("http://files.lan/a.png", "http://10.0.0.5/a.png"):
            await bridge.call("send_media", media | {"url": url})
        with pytest.raises(Refusal, match="is an address of a private network"):
            await bridge.call("send_media", media | {"url": "http://10.0.0.6/a.png"})
    assert await effects(admin) == ["/api/sendImage"] * 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:pw@example.com/", "url: must not hold a user name or password"),
        ("http://a,b.example.com/", "url: 'a,b.example.com' is not a plain host name"),
        ("blob:http://example.com/", "url: must be an http:// or https:// URL"),
    ],
)
async def test_what_is_no_url_to_fetch_is_a_wrong_argument(url: str, says: str, sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        with pytest.raises(ArgumentError) as error:
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "url": url})
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "link", "says"),
    [
        ("See https://example.com/a, please", "https://example.com/a", None),
        ("(*https://example.com*)", "https://example.com", None),
        ("https://example.com.evil.example.net", "https://example.com", "must stand in the text"),
        ("nothing", "https://example.com", "must stand in the text"),
        ("http://example.com\\@10.0.0.5/", "http://example.com\\@10.0.0.5/", "with a plain host"),
        ("https://me@example.com", "https://me@example.com", "must not hold a user name"),
        ("ftp://example.com", "ftp://example.com", "must be an http:// or https:// URL"),
    ],
)
async def test_the_link_of_a_preview_is_the_one_that_people_tap(
    text: str, link: str, says: str | None, sandbox: SandboxInfo, sent: list[dict[str, Any]]
) -> None:
    async with bridge_with(sandbox) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        given = {"chat": SAM, "text": text, "link": link, "title": "x"}
        if says is not None:
            with pytest.raises(ArgumentError) as error:
                await bridge.call("send_link_preview", given)
            assert f"link: {says}" in str(error.value) or says in str(error.value)
        else:
            await bridge.call("send_link_preview", given)
    assert [body["preview"]["url"] for body in sent] == ([] if says else [link])
