"""How often WAHA is called before the first call of an App with lists, in an account of thousands of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with, lid_of
from waha_mcp.people.filling import FEW
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.sandbox.scale import AREAS

pytestmark = pytest.mark.anyio

CONTACTS, LIDS = "/api/contacts/all", "/api/default/lids"
#: Distinguishes requests for people from those that probe the key.
PEOPLE = ("/contacts", "/lids", "/chats", "/groups")
#: People of the large account.
ADDED = [f"1{AREAS[0]}55501{number:02}@c.us" for number in range(40)]


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    async with running(reply_after=0.05, contacts=3000) as info:
        yield info


async def asked(sandbox: SandboxInfo, admin: Admin, **chats: Any) -> Counter[str]:
    """The requests up to the end of the first call that needs names."""
    await admin.clear()
    async with bridge_with(sandbox, chats=chats) as bridge:
        await bridge.call("find_chats", {"query": "maya"})
        return Counter(r["path"] for r in await admin.requests() if any(each in r["path"] for each in PEOPLE))


@pytest.mark.parametrize(
    "chats",
    [
        {"send": {"allow": ["Sam Okafor"]}},
        {"send": {"allow": ADDED, "deny": ["Sam Okafor"]}},
        {"read": {"allow": ["Sam Okafor", *ADDED]}},
        {"send": {"deny": ADDED}, "read": {"deny": ADDED}},
    ],
    ids=["one name", "many numbers", "many to read", "many denied"],
)
async def test_no_person_costs_a_request_of_their_own(chats: Any, sandbox: SandboxInfo, admin: Admin) -> None:
    found = await asked(sandbox, admin, **chats)
    single = sum(count for path, count in found.items() if path.startswith(f"{LIDS}/"))
    assert single <= FEW
    # Each list once, in pages of 2,000; a page that is not full may have been capped, so that one more is asked for.
    assert dict(found) | {CONTACTS: 3, LIDS: 3} == dict(found)
    assert found.total() - single == 3 + 3 + 2


async def test_many_on_a_list_are_the_same_under_both_ids(sandbox: SandboxInfo, admin: Admin) -> None:
    hidden = [await lid_of(admin, chat) for chat in ADDED]
    async with bridge_with(
        sandbox, chats={"send": {"allow": ["*"], "deny": ADDED}, "read": {"deny": hidden}}
    ) as bridge:
        await bridge.call("find_chats", {"query": "maya"})
        policy = bridge.policy
        assert not any(map(policy.readable, (*ADDED, *hidden)))
        assert policy.readable(SAM)
