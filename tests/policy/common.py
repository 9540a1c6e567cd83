"""What the policy's tests share: people of the sandbox's account, and a bridge with a policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from tests.harness import Admin, app_for
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import PolicyFields
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo

SAM, MAYA, DAD = "12025550123@c.us", "447700900142@c.us", "12025550101@c.us"
#: Nobody has ever written to or from this number.
STRANGER = "12025550199@c.us"

#: Requests that change nothing in WhatsApp.
HARMLESS = ("GET", "HEAD")


@asynccontextmanager
async def bridge_with(sandbox: SandboxInfo, key: str = "read_send", **fields: Any) -> AsyncIterator[Bridge]:
    """A bridge whose App has these policy fields, written as in a TOML file."""
    parsed = PolicyFields.model_validate(fields)
    given = {name: getattr(parsed, name) for name in fields}
    app: App = app_for(sandbox, sandbox.keys[key], session="default", **given)
    async with Bridge(app) as bridge:
        await bridge.settle()
        yield bridge


def send(allow: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """`[chats]` with this rule for sending."""
    rule = more | ({} if allow is None else {"allow": allow})
    return {"chats": {"send": rule}}


def good_until(expires: float) -> str:
    """The line of a question that says until when it is good."""
    local = datetime.fromtimestamp(expires).astimezone()
    hours, minutes = f"{local:%z}"[:3], f"{local:%z}"[3:5]
    return f"good until: {local:%H:%M} (UTC{hours}:{minutes})"


async def effects(admin: Admin) -> list[str]:
    """The paths of the requests since the log was cleared that could have changed something."""
    return [r["path"] for r in await admin.requests() if r["method"] not in HARMLESS]


async def lid_of(admin: Admin, chat: str) -> str:
    """The hidden id of a person."""
    answer = await admin.request("GET", f"/api/default/lids/pn/{chat.partition('@')[0]}")
    lid: str = answer["lid"]
    return lid
