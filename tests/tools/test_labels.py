"""Labels: a change leaves the other fields as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import bridge_with, effects
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError

pytestmark = pytest.mark.anyio

TOOLS = frozenset({"save_label", "list_labels"})
LABELS = "/api/default/labels"


async def label(admin: Admin, color: int) -> str:
    made = await admin.request("POST", LABELS, {"name": "Suppliers", "color": color})
    await admin.clear()
    return str(made["id"])


async def kept(admin: Admin, label_id: str) -> dict[str, Any]:
    (found,) = [each for each in await admin.request("GET", LABELS) if each["id"] == label_id]
    return {"name": found["name"], "color": found["color"]}


@pytest.mark.parametrize(("given", "color"), [({}, 7), ({"color": None}, 7), ({"color": 0}, 0), ({"color": 3}, 3)])
async def test_a_label_keeps_its_color_where_only_its_name_is_given(
    given: dict[str, Any], color: int, sandbox: SandboxInfo, admin: Admin
) -> None:
    label_id = await label(admin, 7)
    async with bridge_with(sandbox, include=TOOLS) as bridge:
        result = await bridge.call("save_label", {"name": "Vendors", "label_id": label_id} | given)
    assert result.model_dump()["color"] == color
    assert await kept(admin, label_id) == {"name": "Vendors", "color": color}


async def test_a_new_label_has_the_first_color(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, include=TOOLS) as bridge:
        result = await bridge.call("save_label", {"name": "Vendors"})
    assert result.model_dump()["color"] == 0
    assert [r["path"] for r in await admin.requests() if r["path"] == LABELS] == [LABELS]


async def test_a_label_that_is_not_there_is_not_changed(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, include=TOOLS) as bridge:
        with pytest.raises(ArgumentError, match="label_id"):
            await bridge.call("save_label", {"name": "Vendors", "label_id": "99"})
    assert await effects(admin) == []


async def test_without_read_the_color_must_be_given(sandbox: SandboxInfo, admin: Admin) -> None:
    label_id = await label(admin, 7)
    async with bridge_with(sandbox, "send", include=TOOLS) as bridge:
        with pytest.raises(ArgumentError, match="color"):
            await bridge.call("save_label", {"name": "Vendors", "label_id": label_id})
        assert await effects(admin) == []
        await bridge.call("save_label", {"name": "Vendors", "label_id": label_id, "color": 7})
    assert await kept(admin, label_id) == {"name": "Vendors", "color": 7}


@pytest.mark.parametrize(("row", "sent"), [({"colorHex": "#64c4ff"}, {"colorHex": "#64c4ff"}), ({}, None)])
async def test_a_color_without_a_number_is_kept_by_its_shade(
    row: dict[str, Any], sent: dict[str, Any] | None, sandbox: SandboxInfo, admin: Admin
) -> None:
    label_id = await label(admin, 7)
    await admin.fault(LABELS, method="GET", body=json.dumps([{"id": label_id, "name": "Suppliers"} | row]))
    async with bridge_with(sandbox, include=TOOLS) as bridge:
        change = {"name": "Vendors", "label_id": label_id}
        if sent is None:
            with pytest.raises(ArgumentError, match="color"):
                await bridge.call("save_label", change)
            assert await effects(admin) == []
        else:
            await bridge.call("save_label", change)
            (body,) = [r["body"] for r in await admin.requests() if r["method"] == "PUT"]
            assert body == {"name": "Vendors"} | sent
