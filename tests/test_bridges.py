"""Bridges lent to requests: when one is made, shared, replaced, evicted and closed, and which races must not matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp import bridges as module
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App, AppError
from waha_mcp.bridge import Bridge
from waha_mcp.bridges import MOST_OF_ONE, AdminKey, Bridges, KeyRefused, TooMany, Unconfirmed
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.waha.errors import Unauthorized

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def at_work(**options: Any) -> AsyncIterator[Bridges]:
    bridges = Bridges(**options)
    async with bridges.run():
        yield bridges


def narrow(app: App, number: int) -> App:
    """The App with one tool less, as a request narrows it."""
    return app.model_copy(update={"exclude": frozenset({sorted(CATALOG)[number]})})


class Closed:
    """Records which bridges are closed."""

    def __init__(self, bridges: Bridges) -> None:
        self.bridges: list[Bridge] = []
        self._more = anyio.Event()
        bridges.closed.add(self._note)

    def _note(self, bridge: Bridge) -> None:
        self.bridges.append(bridge)
        self._more.set()
        self._more = anyio.Event()

    async def until(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self.bridges) < count:
                await self._more.wait()


async def test_requests_of_one_key_share_a_bridge_that_is_made_once(sandbox: SandboxInfo, admin: Admin) -> None:
    app = app_for(sandbox, sandbox.keys["read"], id="one")
    found: list[Bridge] = []

    async def ask(bridges: Bridges) -> None:
        async with bridges.lease(app) as bridge:
            found.append(bridge)

    async with at_work() as bridges:
        await admin.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask, bridges)
        assert len(set(map(id, found))) == 1
        assert len(bridges) == 1
        assert len([each for each in await admin.requests() if each["path"] == "/api/server/environment"]) == 1


async def test_a_definition_that_has_changed_gets_a_bridge_of_its_own_and_the_old_one_ends_its_work_first(
    sandbox: SandboxInfo,
) -> None:
    before = app_for(sandbox, sandbox.keys["read"], id="one")
    after = before.model_copy(update={"budget": 5_000})
    async with at_work() as bridges:
        closed = Closed(bridges)
        async with bridges.lease(before) as old, bridges.lease(after) as new:
            assert new is not old
            assert new.app.budget == 5_000
            # The request that it was lent to continues.
            await old.key.settle()
            assert old.key.identified
            assert closed.bridges == []
        await closed.until(1)
        assert closed.bridges == [old]
        assert len(bridges) == 1


async def test_what_outlasts_its_request_keeps_the_bridge_open(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], id="one")
    async with at_work() as bridges:
        closed = Closed(bridges)
        async with AsyncExitStack() as call:
            async with bridges.lease(app) as bridge:
                call.enter_context(bridges.using(bridge))
            async with bridges.lease(app.model_copy(update={"budget": 5_000})):
                pass
            await anyio.wait_all_tasks_blocked()
            assert closed.bridges == []
        await closed.until(1)
        with bridges.using(bridge):  # closed by now: nothing to keep open
            pass


async def test_a_bridge_is_not_closed_at_the_end_before_what_was_cut_off_has_ended(sandbox: SandboxInfo) -> None:
    app, happened, begun = app_for(sandbox, sandbox.keys["read"], id="one"), list[str](), anyio.Event()

    async def request() -> None:
        async with bridges.lease(app):
            try:
                begun.set()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.2)
                    happened.append("written")

    async with at_work() as bridges:
        bridges.closed.add(lambda _: happened.append("closed"))
        # Like uvicorn, which does not wait any longer.
        cut_off = asyncio.create_task(request())
        await begun.wait()
        cut_off.cancel()
    assert happened == ["written", "closed"]


@pytest.mark.slow
async def test_a_request_that_gives_up_while_its_bridge_is_made_leaves_none_behind(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], id="one")
    async with at_work() as bridges:
        for turns in range(12):
            with anyio.CancelScope() as scope:

                async def give_up(scope: anyio.CancelScope = scope, turns: int = turns) -> None:
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(give_up)
                    async with bridges.lease(app):
                        pass
            # Every remaining bridge is open and in use.
            with anyio.fail_after(10):
                async with bridges.lease(app) as bridge:
                    assert await bridge.key.settle(5)
                    assert bridge.key.identified
                    assert "list_chats" in {each.name for each in bridge.tools()}
            async with bridges.lease(app.model_copy(update={"budget": 5_000 + turns})):
                pass


@pytest.mark.slow
async def test_what_requests_narrow_takes_room_from_its_own_app_alone(sandbox: SandboxInfo) -> None:
    greedy = app_for(sandbox, sandbox.keys["read"], id="greedy")
    modest = app_for(sandbox, sandbox.keys["send"], id="modest")
    async with at_work(most=MOST_OF_ONE + 2) as bridges:
        async with bridges.lease(modest) as kept:
            pass
        for number in range(3 * MOST_OF_ONE):
            async with bridges.lease(narrow(greedy, number), greedy):
                pass
        assert len(bridges) == MOST_OF_ONE + 1
        async with bridges.lease(modest) as again:
            assert again is kept
        async with AsyncExitStack() as in_use:
            for number in range(MOST_OF_ONE):
                await in_use.enter_async_context(bridges.lease(narrow(greedy, number), greedy))
            with pytest.raises(TooMany):
                await in_use.enter_async_context(bridges.lease(greedy))
            async with bridges.lease(modest) as again:
                assert again is kept


@pytest.mark.slow
async def test_a_bridge_in_use_is_not_evicted(sandbox: SandboxInfo) -> None:
    one, two, three = (app_for(sandbox, sandbox.keys["read"], id=each) for each in ("one", "two", "three"))
    async with at_work(most=2) as bridges:
        closed = Closed(bridges)
        async with bridges.lease(one) as used, bridges.lease(two):
            with pytest.raises(TooMany):
                async with bridges.lease(three):
                    pass
        async with bridges.lease(one) as again:
            assert again is used
            async with bridges.lease(three):
                await closed.until(1)
                assert used not in closed.bridges


@pytest.mark.slow
@pytest.mark.parametrize("used", [True, False], ids=["in use", "idle"])
async def test_a_bridge_whose_definition_does_not_stand_any_more_is_retired(
    used: bool, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND", 0.05)
    app = app_for(sandbox, sandbox.keys["read"], id="one")
    stands = True
    asked: list[App] = []

    async def still(whole: App) -> bool:
        asked.append(whole)
        return stands

    async with at_work(stands=still) as bridges:
        closed, retired = Closed(bridges), anyio.Event()

        async def note(_: Bridge) -> None:
            retired.set()

        bridges.retiring.add(note)
        async with AsyncExitStack() as request:
            await request.enter_async_context(bridges.lease(narrow(app, 1), app))
            if not used:
                await request.aclose()
            stands = False
            with anyio.fail_after(10):
                await retired.wait()
            assert len(bridges) == 0
        await closed.until(1)
    # The whole App is checked, not what a request has narrowed it to.
    assert set(map(id, asked)) == {id(app)}


async def test_a_client_that_does_not_listen_holds_up_no_request(sandbox: SandboxInfo) -> None:
    one, two = (app_for(sandbox, sandbox.keys["read"], id=each) for each in ("one", "two"))
    telling, listens, told = anyio.Event(), anyio.Event(), list[Bridge]()

    async def tell(bridge: Bridge) -> None:
        telling.set()
        await listens.wait()
        told.append(bridge)

    async with at_work() as bridges:
        bridges.retiring.add(tell)
        async with bridges.lease(one) as old:
            pass
        async with bridges.lease(one.model_copy(update={"budget": 5_000})), bridges.lease(two):
            await telling.wait()
            assert told == []
        listens.set()
    assert told == [old]


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "broken"])
async def test_the_bridge_of_a_client_that_cannot_be_told_is_closed_all_the_same(
    silent: bool, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TELLING", 0.05)
    app = app_for(sandbox, sandbox.keys["read"], id="one")

    async def tell(_: Bridge) -> None:
        if silent:
            await anyio.sleep_forever()
        raise RuntimeError("a client's connection broke")

    async with at_work() as bridges:
        closed = Closed(bridges)
        bridges.retiring.add(tell)
        async with bridges.lease(app) as old:
            pass
        async with bridges.lease(app.model_copy(update={"budget": 5_000})):
            await closed.until(1)
        assert closed.bridges == [old]


# Keys


async def test_a_key_that_waha_does_not_know_gets_no_bridge_and_leaves_none(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, "key_sample_0000", id="one")
    async with at_work() as bridges:
        told: list[App] = []

        async def tell(each: App) -> None:
            told.append(each)

        bridges.changed.add(tell)
        with pytest.raises(KeyRefused):
            async with bridges.lease(app):
                pass
        assert len(bridges) == 0
        assert app in told


async def test_an_admin_key_gets_no_bridge_and_costs_waha_one_look(sandbox: SandboxInfo, admin: Admin) -> None:
    app = app_for(sandbox, sandbox.admin_key, id="one")
    async with at_work() as bridges:
        await admin.clear()
        for _ in range(5):
            with pytest.raises(AdminKey):
                async with bridges.lease(app):
                    pass
        looks = [each for each in await admin.requests() if each["path"] == "/api/server/environment"]
        assert len(looks) <= 2


async def test_a_key_that_waha_knows_gets_a_bridge_without_a_definition(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], id="one")
    async with at_work() as bridges, bridges.lease(app, vouched=False) as bridge:
        assert bridge.key.identified


@pytest.mark.slow
async def test_without_waha_only_a_key_that_a_definition_names_gets_a_bridge(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], id="one").model_copy(update={"url": "http://127.0.0.1:1"})
    async with at_work() as bridges:
        with pytest.raises(Unconfirmed):
            async with bridges.lease(app, vouched=False):
                pass
        async with bridges.lease(app) as bridge:
            assert [each.name for each in bridge.tools()] == ["get_status"]


async def test_a_key_whose_own_call_is_refused_is_dropped_with_that_call(sandbox: SandboxInfo, admin: Admin) -> None:
    key = await admin.mint({Action.READ})
    app = app_for(sandbox, key["key"], id="one")
    async with at_work() as bridges:
        async with bridges.lease(app) as bridge:
            await bridge.key.settle()
            await admin.change_key(key, isActive=False)
            with pytest.raises(Unauthorized):
                await bridge.call("list_chats", {})
        assert len(bridges) == 0
        with pytest.raises(KeyRefused):
            async with bridges.lease(app):
                pass


async def test_an_app_that_cannot_be_made_fails_alone(sandbox: SandboxInfo) -> None:
    bad = app_for(sandbox, sandbox.keys["read"], id="bad", include=["no_such_tool"])
    good = app_for(sandbox, sandbox.keys["read"], id="good")
    async with at_work() as bridges:
        for _ in range(3):
            with pytest.raises(AppError):
                async with bridges.lease(bad):
                    pass
        async with bridges.lease(good):
            assert len(bridges) == 1


async def test_at_the_end_all_bridges_are_closed_and_none_is_lent(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], id="one")
    bridges = Bridges()
    closed = Closed(bridges)
    async with bridges.run(), bridges.lease(app), bridges.lease(narrow(app, 1), app):
        pass
    assert len(closed.bridges) == 2
    assert len(bridges) == 0
    with pytest.raises(TooMany):
        async with bridges.lease(app):
            pass
