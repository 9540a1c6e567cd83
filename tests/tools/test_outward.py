"""Tools that could carry messages or rights out of the account: session settings and apps inside WAHA."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.harness import Admin, app_for
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.settings import Webhook, _settings_from, _webhook

pytestmark = pytest.mark.anyio

SECRETS = ("proxy-user", "proxy-secret", "hmac-secret", "header-secret")


@asynccontextmanager
async def bridge_on(
    sandbox: SandboxInfo, actions: frozenset[Action] = frozenset(Action), **fields: Any
) -> AsyncIterator[Bridge]:
    fields = {"session": "default", "toolsets": frozenset({"all"}), "actions": actions} | fields
    async with Bridge(app_for(sandbox, sandbox.keys["full"], **fields)) as bridge:
        await bridge.key.settle()
        yield bridge


async def changes(admin: Admin) -> list[dict[str, Any]]:
    """The requests to WAHA that were no GETs."""
    return [each for each in await admin.requests() if each["method"] != "GET" and each["key"] == "full"]


@pytest.mark.parametrize("hosts", [frozenset[str](), frozenset({"hooks.example.org"})], ids=["none listed", "another"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"webhooks": [{"url": "https://evil.example.net/in", "events": ["message"]}]},
        {"webhooks": [{"url": "https://hooks.example.org@evil.example.net/in", "events": ["message"]}]},
        {"webhooks": [{"url": "https://hooks.example.org.evil.example.net/", "events": ["message"]}]},
        {"webhooks": [{"url": "ftp://hooks.example.org/in", "events": ["message"]}]},
        # It exists already, with fewer events.
        {"webhooks": [{"url": "https://hooks.example.com/waha", "events": ["message", "message.any"]}]},
        {"proxy": "evil.example.net:3128"},
        {"proxy": "user:word@hooks.example.org:3128"},
        {"proxy": "hooks.example.org:3128/x"},
        {"proxy": "evil.example.net:3128\\\\@hooks.example.org"},
        {"webhooks": [{"url": "https://evil.example.net\\\\@hooks.example.org/", "events": ["message"]}]},
        {"webhooks": [{"url": "https://hooks.example.org:x@evil.example.net/", "events": ["message"]}]},
    ],
    ids=str,
)
async def test_events_and_traffic_go_to_no_host_that_the_app_does_not_list(
    arguments: dict[str, Any], hosts: frozenset[str], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_on(sandbox, outbound_hosts=hosts) as bridge:
        with pytest.raises(ArgumentError):
            await bridge.call("update_session_settings", arguments)
    assert await changes(admin) == []


async def test_new_settings_keep_what_is_not_given_and_the_secrets_of_a_webhook_that_stays(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    before = (await admin.request("GET", "/api/sessions/default"))["config"]
    async with bridge_on(sandbox, outbound_hosts=frozenset({"hooks.example.org"})) as bridge:
        hooks = [
            {"url": before["webhooks"][0]["url"], "events": ["message"]},
            {"url": "https://hooks.example.org/new", "events": ["message"]},
        ]
        shown = await bridge.call("update_session_settings", {"ignored": ["groups"], "webhooks": hooks})
    after = (await admin.request("GET", "/api/sessions/default"))["config"]
    assert after["ignore"] == {"status": False, "groups": True, "channels": False, "broadcast": False}
    assert after["webhooks"] == [before["webhooks"][0] | {"events": ["message"]}, hooks[1]]
    assert {name: after[name] for name in ("proxy", "noweb", "metadata", "debug")} == {
        name: before[name] for name in ("proxy", "noweb", "metadata", "debug")
    }
    told = shown.model_dump(mode="json", exclude_none=True)
    assert told["webhooks"][1] == {"host": "hooks.example.org", "events": ["message"]}
    assert not any(secret in str(told) for secret in SECRETS)


async def test_hosts_are_compared_and_kept_in_one_form(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_on(sandbox, outbound_hosts=frozenset({"hooks.example.org"})) as bridge:
        hooks = [{"url": "HTTPS:\\\\Hooks.ex%61mple.org.\\in", "events": ["message"]}]
        for proxy, kept in (
            ("HOOKS.example.org:080", "hooks.example.org:80"),
            ("hooks.example.org", "hooks.example.org"),
        ):
            await bridge.call("update_session_settings", {"proxy": proxy, "webhooks": hooks})
            config = (await admin.request("GET", "/api/sessions/default"))["config"]
            assert config["proxy"] == {"server": kept}
            assert config["webhooks"] == [{"url": "https://hooks.example.org/in", "events": ["message"]}]


async def test_a_proxy_is_a_host_and_a_port_and_nothing_else(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_on(sandbox, outbound_hosts=frozenset({"hooks.example.org"})) as bridge:
        for proxy in ("hooks.example.org:80/x", "hooks.example.org?x", "hooks.example.org#x"):
            with pytest.raises(ArgumentError, match="must be host:port, without a path"):
                await bridge.call("update_session_settings", {"proxy": proxy})
    assert await changes(admin) == []


def test_a_webhook_that_is_there_in_another_writing_is_the_same_one() -> None:
    known = [{"url": "https://Hooks.example.com:443/in", "events": ["message"], "hmac": {"key": "hmac-secret"}}]
    hook = Webhook(url="https://hooks.example.com/in", events=["message"])
    context: Any = None  # the host is not asked about, since nothing is new
    assert _webhook(hook, known, context) == known[0]


def test_a_host_is_shown_without_the_password_before_it() -> None:
    config = {
        "proxy": {"server": "http://proxy-user:proxy-secret@proxy.example.com:3128"},
        "webhooks": [{"url": "https://u:header-secret@hooks.example.com/in"}, {"url": "nonsense"}],
    }
    shown = _settings_from(config)
    assert shown.proxy_host == "proxy.example.com"
    assert [hook.host for hook in shown.webhooks or []] == ["hooks.example.com", "unknown"]


async def test_an_mcp_app_gets_no_action_that_our_own_key_lacks(sandbox: SandboxInfo, admin: Admin) -> None:
    ours = frozenset({Action.APP, Action.READ})
    app = {"id": "app_wide", "session": "default", "app": "mcp", "enabled": False}
    await admin.request("POST", "/api/apps", app | {"config": {"actions": {"read": True, "send": True}}})
    async with bridge_on(sandbox, ours) as bridge:
        refused: list[tuple[str, dict[str, Any]]] = [
            ("create_waha_app", {"kind": "mcp", "actions": ["read", "send"]}),
            ("create_waha_app", {"kind": "mcp"}),
            ("update_waha_app", {"app_id": "app_wide", "actions": ["read", "delete"]}),
            # Enabling it would revive a key that may do more than ours.
            ("update_waha_app", {"app_id": "app_wide", "enabled": True}),
        ]
        for name, arguments in refused:
            with pytest.raises(ArgumentError):
                await bridge.call(name, arguments)
        assert await changes(admin) == []
        made = await bridge.call("create_waha_app", {"kind": "mcp", "actions": ["read"]})
        await bridge.call("update_waha_app", {"app_id": "app_wide", "actions": ["read"], "enabled": True})
    created = await admin.request("GET", f"/api/apps/{made.model_dump()['id']}")
    granted = {name for name, on in created["config"]["actions"].items() if on}
    assert granted == {"read"}
    assert created["config"]["key"] not in str(made.model_dump())
    changed = await admin.request("GET", "/api/apps/app_wide")
    assert {name for name, on in changed["config"]["actions"].items() if on} == {"read"}


async def test_a_change_of_an_app_keeps_its_secrets_inside_and_as_they_were(sandbox: SandboxInfo, admin: Admin) -> None:
    config = {"url": "https://chat.example.com", "accountToken": "chatwoot-secret"}
    app = {"id": "app_chat", "session": "default", "app": "chatwoot", "enabled": True, "config": config}
    await admin.request("POST", "/api/apps", app)
    async with bridge_on(sandbox) as bridge:
        shown = await bridge.call("update_waha_app", {"app_id": "app_chat", "enabled": False})
    assert shown.model_dump(exclude_none=True) == {"id": "app_chat", "kind": "chatwoot", "enabled": False}
    assert await admin.request("GET", "/api/apps/app_chat") == app | {"enabled": False}
