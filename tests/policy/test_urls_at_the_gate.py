"""A URL that passes the gate: the URL fetched and the one shown to a person are the one that was checked."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, bridge_with, effects
from tests.policy.test_fetching import resolver
from tests.policy.test_gate import sample
from tests.web import PNG, Does, Web, answer, redirect, web
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal, kill_switch, url_checks
from waha_mcp.policy.question import Question
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store.folders import user_store
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Tool
from waha_mcp.waha.client import Waha

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("state")]

WRITTEN, READ = " HTTP:\\\\FILES.ex%61mple.com\\@10.0.0.5/a b.png", "http://files.example.com/@10.0.0.5/a%20b.png"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names resolve to a public address."""
    monkeypatch.setattr(anyio, "getaddrinfo", resolver("8.8.8.8"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies of the requests to WAHA, in order."""
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

    async with bridge_with(sandbox, approval="send", media_fetch="waha") as bridge:
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
        ("send_text", {"text": "http://ok.example.com\\@x/", "link_preview": True}, "programs read differently"),
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
    async with bridge_with(sandbox, media_hosts=["FILES.lan.", "10.5"], media_fetch="waha") as bridge:
        await admin.clear()
        for url in ("http://files.lan/a.png", "http://10.0.0.5/a.png"):
            await bridge.call("send_media", media | {"url": url})
        with pytest.raises(Refusal, match="is an address of a private network"):
            await bridge.call("send_media", media | {"url": "http://10.0.0.6/a.png"})
    assert await effects(admin) == ["/api/sendImage"] * 2


# What this bridge fetches


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture
async def fetching(sandbox: SandboxInfo, server: Web) -> AsyncIterator[Bridge]:
    async with bridge_with(sandbox, media_hosts=["127.0.0.1"]) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        yield bridge


BY_URL = {name: tool for name, tool in CATALOG.items() if tool.fetched}


@pytest.mark.parametrize("tool", BY_URL.values(), ids=BY_URL)
async def test_every_tool_that_takes_a_url_hands_on_its_bytes(
    tool: Tool, server: Web, sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    groups = await admin.request("GET", "/api/default/groups?limit=1")
    group = (groups if isinstance(groups, list) else list(groups.values()))[0]
    chats = {"person": SAM, "group": group.get("id") or group["JID"]}
    (parameter,) = tool.fetched
    given = sample(tool, chats) | {parameter: server.url("/a.png?private")}
    if tool.name == "send_link_preview":
        given |= {"text": "https://example.com", "link": "https://example.com"}
    content = b"OggS" if tool.name == "convert_media" else PNG
    server.files["/a.png"] = (content, "application/octet-stream")
    policy: dict[str, Any] = {"media_hosts": ["127.0.0.1"]}
    async with bridge_with(sandbox, "full", **policy) as bridge:
        bridge.app = bridge.app.model_copy(
            update={"toolsets": frozenset({"all"}), "outbox": tmp_path, "actions": frozenset(Action)}
        )
        await admin.clear()
        await bridge.call(tool.name, {k: v for k, v in given.items() if v is not None})
    bodies = [each["body"] for each in await admin.requests() if each["method"] != "GET"]
    assert any(base64.b64encode(content).decode() in json.dumps(body) for body in bodies)
    assert not any("private" in json.dumps(body) for body in bodies)
    assert server.asked == ["/a.png?private"]


@pytest.mark.parametrize(
    ("policy", "arguments", "decision"),
    [
        ({"chats": {"send": {"allow": [MAYA]}}}, {}, "recipient refused"),
        ({"pace": {"chat": "1/hour"}}, {}, "too fast"),
        ({"links": {"others": "refuse"}}, {}, "link refused"),
        ({"approval": "send"}, {}, "waiting for approval"),
        ({}, {"reply_to": f"false_{SAM}_NOTHERE"}, "not found"),
        ({}, {"caption": "sent already"}, "repeat refused"),
        ({"links": {"others": "ask"}}, {}, "waiting for approval"),
    ],
)
async def test_nothing_is_fetched_for_what_is_not_done(
    policy: dict[str, Any], arguments: dict[str, Any], decision: str, server: Web, sandbox: SandboxInfo, admin: Admin
) -> None:
    call = {"chat": SAM, "kind": "image", "url": server.url()} | arguments
    async with bridge_with(sandbox, media_hosts=["127.0.0.1"], **policy) as bridge:
        if decision == "too fast":
            await bridge.call("send_text", {"chat": SAM, "text": "the only one"})
        if decision == "repeat refused":
            await bridge.call("send_media", call)
        await admin.clear()
        server.forget()
        with pytest.raises(Refusal) as refusal:
            await bridge.call("send_media", call)
    assert refusal.value.decision == decision
    assert server.connections == 0
    assert await effects(admin) == []


async def test_no_name_is_looked_up_before_a_person_has_said_yes(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    calls: list[tuple[str, dict[str, Any]]] = [
        ("send_media", {"chat": SAM, "kind": "image", "url": "https://private-text.example.com/"}),
        ("send_text", {"chat": SAM, "text": "see private-text.example.com", "link_preview": True}),
    ]
    async with bridge_with(sandbox, approval="send") as bridge:
        await bridge.policy.prepare(bridge.key.grant)

        async def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
            looked_up.append(host)
            return []

        monkeypatch.setattr(anyio, "getaddrinfo", look_up)
        for tool, arguments in calls:
            with pytest.raises(Refusal, match="waiting for approval"):
                await bridge.call(tool, arguments)
            assert looked_up == []

            async def yes(question: Question) -> bool:
                return True

            with pytest.raises(Refusal, match="cannot be resolved to an address"):
                await bridge.call(tool, arguments, ask=yes)
            assert looked_up == ["private-text.example.com"]
            looked_up.clear()


async def test_the_question_shows_the_whole_url_and_that_its_content_is_not_known(
    server: Web, sandbox: SandboxInfo, admin: Admin
) -> None:
    url = server.url("/a.png?" + "q" * 3_000 + "END")
    asked: list[str] = []

    async def yes(question: Question) -> bool:
        assert server.connections == 0
        asked.append(question.text())
        return True

    async with bridge_with(sandbox, approval="send", media_hosts=["127.0.0.1"]) as bridge:
        call = {"chat": SAM, "kind": "image", "url": url, "caption": "c" * 4_000}
        await bridge.call("send_media", call, ask=yes)
    (text,) = asked
    assert f"\nurl: {url}\nwhat url holds: not known yet: fetched after approval" in text
    assert text.index("url: ") < text.index("caption: ")
    assert server.asked == [url.partition(str(server.port))[2]]


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (answer(b"", status=404), "'127.0.0.1' answered 404: there is no such file, so nothing was sent"),
        (answer(b"<html>", "text/html"), "it returned a web page, not image"),
        (answer(b"x" * (2**20 + 1)), "the file is over 1 MiB, so nothing was sent"),
        (redirect("http://127.0.0.2/"), "'127.0.0.2' is an address of this machine, so it is not fetched"),
        (redirect("/a.png"), None),
    ],
)
async def test_what_could_not_be_fetched_is_not_sent_and_spends_nothing(
    does: Does, says: str | None, server: Web, sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_checks, "MAX_FILE", 2**20)
    asked: list[Question] = []

    async def yes(question: Question) -> bool:
        asked.append(question)
        return True

    policy: dict[str, Any] = {
        "approval": "send",
        "pace": {"chat": "1/hour", "gap": [0, 0]},
        "media_hosts": ["127.0.0.1"],
    }
    call = {"chat": SAM, "kind": "image", "url": server.url("/b.png")}
    server.files["/b.png"] = does
    async with bridge_with(sandbox, **policy) as bridge:
        if says is not None:
            await admin.clear()
            for _ in range(2):
                with pytest.raises((Refusal, ArgumentError)) as error:
                    await bridge.call("send_media", call, ask=yes)
                assert says in str(error.value)
            assert await effects(admin) == []
            server.files["/b.png"] = (PNG, "image/png")
        await bridge.call("send_media", call, ask=yes)
    assert await effects(admin) == ["/api/sendImage"] * (1 if says else len(await effects(admin)))
    assert len(asked) == 1


async def test_a_server_that_the_list_of_links_refuses_is_not_asked_after_a_redirect(
    server: Web, sandbox: SandboxInfo, admin: Admin
) -> None:
    with web() as other:
        server.files["/first"] = redirect(other.url(host="localhost"))
        hosts = ["127.0.0.1", "localhost"]
        call = {"chat": SAM, "kind": "image", "url": server.url("/first")}

        async def yes(question: Question) -> bool:
            assert question.why == ("the App's list of links does not cover 127.0.0.1",)
            return True

        for links in ({"allow": ["127.0.0.1"], "others": "refuse"}, {"others": "ask"}):
            async with bridge_with(sandbox, media_hosts=hosts, links=links) as bridge:
                await admin.clear()
                with pytest.raises(Refusal, match="does not allow 'localhost', so it is not fetched"):
                    await bridge.call("send_media", call, ask=yes)
                assert await effects(admin) == []
            assert other.connections == 0
        for links in ({"allow": hosts, "others": "refuse"}, {"others": "allow"}):
            async with bridge_with(sandbox, media_hosts=hosts, links=links) as bridge:
                await bridge.call("send_media", call | {"caption": str(links)})
        assert len(other.asked) == 2


async def test_nothing_is_fetched_once_the_user_has_paused_the_app(
    server: Web, sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, approval="send", media_hosts=["127.0.0.1"]) as bridge:

        async def yes(question: Question) -> bool:
            kill_switch.pause(user_store(), bridge.app.id)
            return True

        await admin.clear()
        with pytest.raises(Refusal) as refusal:
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "url": server.url()}, ask=yes)
    assert refusal.value.decision == "paused"
    assert server.connections == 0
    assert await effects(admin) == []


async def test_a_url_in_a_message_reaches_those_who_get_the_message(server: Web, sandbox: SandboxInfo) -> None:
    call = {"chat": SAM, "kind": "image", "url": server.url("/a.png")}
    async with bridge_with(sandbox, media_hosts=["127.0.0.1"], chats={"send": {"allow": [SAM]}}) as bridge:
        await bridge.call("send_media", call)
    assert server.connections == 1


async def test_a_conversion_by_url_counts_as_reaching_everyone(
    server: Web, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    call = {"kind": "voice", "save_as": "a", "url": server.url("/a?private")}
    limits: list[tuple[dict[str, Any], str]] = [
        ({"chats": {"send": {"allow": [SAM]}}}, "recipient refused"),
        ({"approval": "send"}, "waiting for approval"),
        ({"links": {"others": "refuse"}}, "link refused"),
    ]
    for policy, decision in limits:
        async with bridge_with(sandbox, media_hosts=["127.0.0.1"], **policy) as bridge:
            bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"}), "outbox": tmp_path})
            with pytest.raises(Refusal) as refusal:
                await bridge.call("convert_media", call)
            assert refusal.value.decision == decision
    assert server.connections == 0


# What the list of links says


async def test_a_link_that_the_list_refuses_is_named_and_does_not_go_out(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, links={"allow": ["example.com"], "others": "refuse"}) as bridge:
        await admin.clear()
        with pytest.raises(Refusal) as refusal:
            await bridge.call("send_text", {"chat": SAM, "text": "https://\u0430pple.com and https://evil.test"})
        assert refusal.value.decision == "link refused"
        assert "does not cover \u0430pple.com (xn--pple-43d.com), evil.test." in str(refusal.value)
        assert await effects(admin) == []
        await bridge.call("send_text", {"chat": SAM, "text": "https://docs.example.com/a"})
        assert await effects(admin) == ["/api/sendText"]
        assert "; links to: example.com, others: refuse" in bridge.policy.summary()


async def test_a_person_is_asked_about_other_hosts_even_where_nothing_else_is_asked(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    asked: list[Question] = []

    async def yes(question: Question) -> bool:
        asked.append(question)
        return True

    async with bridge_with(sandbox, links={"allow": ["example.com"], "others": "ask"}) as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": SAM, "text": "https://example.com"}, ask=yes)
        assert asked == []
        text = "https://\u0430pple.com"
        with pytest.raises(Refusal, match="waiting for approval"):
            await bridge.call("send_text", {"chat": SAM, "text": text})
        await bridge.call("send_text", {"chat": SAM, "text": text}, ask=yes)
        assert await effects(admin) == ["/api/sendText"] * 2
    assert asked[0].why == ("the App's list of links does not cover \u0430pple.com (xn--pple-43d.com)",)
    assert "\nlinks lead to: \u0430pple.com (xn--pple-43d.com)\n" in asked[0].text()


async def test_without_a_list_any_link_goes_out(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", {"chat": SAM, "text": "https://\u0430pple.com"})
        assert "links" not in bridge.policy.summary()


# What is no URL


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
        ("https://example.com.evil.example.net", "https://example.com", "must be in the text"),
        ("nothing", "https://example.com", "must be in the text"),
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
