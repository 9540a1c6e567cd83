"""The probe of a key's actions, and the message for an unusable key."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest

from tests.canned import (
    ADMIN,
    FORBIDDEN,
    READ,
    SEND,
    SESSIONS,
    TEXT,
    UNAUTHORIZED,
    VERSION,
    Server,
    answering,
    app,
    names,
    of_action,
    settled,
    until,
    waits_for,
)
from tests.harness import Admin, app_for
from waha_mcp import bridge as bridge_module
from waha_mcp.app.actions import Action, Evidence, Grant
from waha_mcp.bridge import Bridge, UnknownTool
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha import key_probe
from waha_mcp.waha.errors import BadAnswer, WahaError
from waha_mcp.waha.key_probe import KeyProbe, examine

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Server]:
    with answering() as found:
        yield found


@pytest.mark.parametrize("actions", [{Action.READ, Action.SEND}, {Action.APP}], ids=["read and send", "app"])
async def test_a_key_of_another_session_is_told_so_and_not_that_the_action_is_refused(
    actions: set[Action], sandbox: SandboxInfo
) -> None:
    mine = app_for(sandbox, sandbox.keys["full"], session="work", actions=frozenset(actions))
    async with Bridge(mine) as bridge:
        await bridge.key.identify()
        await bridge.key.probe()
        assert "This key is for session 'default', and the App names 'work'" in str(bridge.key.grant.problem)


async def test_a_403_to_an_action_without_a_probe_leads_to_the_session_too(sandbox: SandboxInfo) -> None:
    mine = app_for(sandbox, sandbox.keys["full"], session="work", actions=frozenset({Action.CONTROL}))
    async with Bridge(mine) as bridge:
        await bridge.key.identify()
        await bridge.key.doubt(Action.CONTROL)
        assert "This key is for session 'default'" in str(bridge.key.grant.problem)


async def test_a_key_that_is_good_costs_no_look_at_the_sessions(sandbox: SandboxInfo, admin: Admin) -> None:
    mine = app_for(sandbox, sandbox.keys["full"], session="default", actions=frozenset({Action.READ, Action.SEND}))
    async with Bridge(mine) as bridge:
        await bridge.key.identify()
        await bridge.key.probe()
        assert bridge.key.grant.problem is None
    assert [r["path"] for r in await admin.requests() if r["path"] == "/api/sessions"] == []


async def test_probes_run_at_the_same_time(server: Server) -> None:
    waiting: set[str] = set()
    both = anyio.Event()

    async def meet(request: httpx.Request) -> httpx.Response:
        waiting.add(request.url.path)
        if waiting == {READ, SEND}:
            both.set()
        await both.wait()
        return httpx.Response(200, json={})

    server.answers |= {READ: meet, SEND: meet}
    async with settled(app()) as (bridge, _):
        assert names(bridge) == of_action(Action.READ, Action.SEND)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(501, json={"message": "The method is not implemented by 'NOWEB' engine..."}),
        httpx.Response(422, json={"error": "Session status...", "session": "default", "status": "STOPPED"}),
        httpx.Response(404, json={"message": "Session not found", "statusCode": 404}),
        httpx.Response(400, json={"message": "Bad Request", "statusCode": 400}),
    ],
)
async def test_what_waha_answers_behind_its_guard_confirms_the_action(server: Server, answer: httpx.Response) -> None:
    server.answers[SEND] = answer
    async with settled(app()) as (bridge, _):
        assert bridge.key.grant.evidence[Action.SEND] is Evidence.PROBED


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={}),
        httpx.Response(503),
        httpx.Response(403, html="<html>Blocked</html>"),
        httpx.Response(302, headers={"location": "/login"}),
        httpx.ReadTimeout(""),
        httpx.Response(404, json={"message": "Cannot GET /x"}),
    ],
    ids=repr,
)
async def test_what_cannot_be_found_out_is_off_and_asked_again(
    server: Server, answer: httpx.Response | Exception
) -> None:
    server.answers[SEND] = answer
    async with settled(app()) as (bridge, announced):
        assert names(bridge) == of_action(Action.READ)
        assert bridge.key.grant.evidence[Action.SEND] is Evidence.UNKNOWN
        del server.answers[SEND]
        await until(lambda: bool(announced))
        assert announced == [of_action(Action.READ, Action.SEND)]


async def test_declared_actions_that_waha_refuses_are_off(server: Server) -> None:
    server.answers |= {SEND: FORBIDDEN, "/api/apps": FORBIDDEN}
    async with settled(app(actions=frozenset({Action.READ, Action.SEND, Action.APP}))) as (bridge, _):
        assert bridge.key.grant.actions == {Action.READ}
        assert bridge.key.grant.evidence[Action.READ] is Evidence.PROBED


async def test_declared_actions_stay_when_waha_does_not_say(server: Server) -> None:
    server.answers[SEND] = httpx.Response(500, json={})
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        assert bridge.key.grant.actions == {Action.SEND}


async def test_an_action_that_is_not_declared_is_not_even_asked_for(server: Server) -> None:
    async with settled(app(actions=frozenset({Action.READ}))):
        pass
    assert SEND not in server.requests


async def test_a_key_that_waha_does_not_know_offers_nothing(server: Server) -> None:
    server.answers[ADMIN] = UNAUTHORIZED
    async with settled(app(actions=frozenset(Action))) as (bridge, _):
        assert names(bridge) == of_action()
        assert "401" in (bridge.key.grant.problem or "")
    assert server.requests == [ADMIN]


async def test_a_key_that_is_revoked_between_two_probes_offers_nothing(server: Server) -> None:
    server.answers[READ] = UNAUTHORIZED
    async with settled(app()) as (bridge, _):
        assert names(bridge) == of_action()


@pytest.mark.parametrize("status", [200, 204])
async def test_an_admin_key_is_refused_with_how_to_make_a_scoped_one(server: Server, status: int) -> None:
    server.answers[ADMIN] = httpx.Response(status, json={"WAHA_API_KEY": "x"})
    async with settled(app(actions=frozenset(Action))) as (bridge, _):
        assert names(bridge) == of_action()
        assert "scoped" in (bridge.key.grant.problem or "")
        assert "allow_admin_key" in (bridge.key.grant.problem or "")
        with pytest.raises(UnknownTool):
            await bridge.call("send_text", TEXT)
    assert server.requests == [ADMIN, VERSION]


async def test_an_admin_key_is_taken_where_the_app_says_so(server: Server) -> None:
    server.answers[ADMIN] = httpx.Response(200, json={})
    async with settled(app(allow_admin_key=True)) as (bridge, _):
        assert names(bridge) == of_action(Action.READ, Action.SEND)


async def test_a_waha_without_scoped_keys_is_refused_unless_the_app_allows_it(server: Server) -> None:
    server.answers[ADMIN] = httpx.Response(404, json={"message": "Cannot GET /api/server/environment"})
    async with settled(app()) as (bridge, _):
        assert names(bridge) == of_action()
        assert "2026.4" in (bridge.key.grant.problem or "")
    async with settled(app(allow_admin_key=True)) as (bridge, _):
        assert names(bridge) == of_action(Action.READ, Action.SEND)


async def test_calls_that_come_while_another_looks_share_what_it_finds(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyProbe.settle, "__defaults__", (0.0,))
    let = anyio.Event()

    async def slow(_: httpx.Request) -> httpx.Response:
        await let.wait()
        return httpx.Response(500, json={})

    server.answers[ADMIN] = slow
    bridge = Bridge(app(actions=frozenset({Action.SEND})))
    failures: list[WahaError] = []

    async def call() -> None:
        try:
            await bridge.call("send_text", TEXT)
        except WahaError as error:
            failures.append(error)

    with anyio.fail_after(10):
        async with bridge.waha, anyio.create_task_group() as calls:
            for _ in range(20):
                calls.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            let.set()
    assert len(failures) == 20
    assert all(isinstance(failure, BadAnswer) for failure in failures)
    assert server.requests == [ADMIN]


async def test_a_look_that_is_cancelled_leaves_the_next_one_to_look_itself(server: Server) -> None:
    arrived = anyio.Event()

    async def stuck(_: httpx.Request) -> httpx.Response:
        arrived.set()
        await anyio.sleep_forever()
        raise AssertionError

    server.answers[ADMIN] = stuck
    bridge = Bridge(app())
    with anyio.fail_after(10):
        async with bridge.waha, anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def cancelled() -> None:
                with first:
                    await bridge.key.identify()

            tasks.start_soon(cancelled)
            await arrived.wait()
            tasks.start_soon(bridge.key.identify)
            await anyio.wait_all_tasks_blocked()
            server.answers.clear()
            first.cancel()
    assert bridge.key.grant.problem is None
    assert server.requests == [ADMIN, ADMIN]


async def test_the_keys_only_session_is_taken(server: Server) -> None:
    async with settled(app(session=None)) as (bridge, _):
        assert bridge.waha.session == "default"
        assert names(bridge) == of_action(Action.READ, Action.SEND)


@pytest.mark.parametrize(
    ("answer", "words"),
    [([], ["no session"]), ([{"name": "work"}, {"name": "home"}], ["home, work", "session"])],
)
async def test_no_session_or_several_is_a_problem_that_says_what_to_do(
    server: Server, answer: Any, words: list[str]
) -> None:
    server.answers[SESSIONS] = httpx.Response(200, json=answer)
    async with settled(app(session=None)) as (bridge, _):
        assert names(bridge) == of_action()
        for word in [*words, "ask the user"]:
            assert word in (bridge.key.grant.problem or "")


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(200), httpx.Response(200, json={"error": {"code": 1}}), httpx.Response(200, json=[{"id": 1}])],
)
async def test_an_answer_that_is_no_list_does_not_say_that_there_is_no_session(
    server: Server, answer: httpx.Response
) -> None:
    server.answers[SESSIONS] = answer
    async with settled(app(session=None)) as (bridge, _):
        assert names(bridge) == of_action()
        assert bridge.key.grant.problem is None
        step = (await bridge.call("get_status", {})).model_dump()["next_step"]
        assert "not a list of sessions" in step


async def test_settling_takes_no_longer_than_its_budget(server: Server) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    server.answers[ADMIN] = never
    with anyio.fail_after(5):
        async with Bridge(app()) as bridge:
            assert not await bridge.key.settle(0.01)
            assert names(bridge) == of_action()


@pytest.mark.parametrize("declared", [None, frozenset({Action.READ})])
@pytest.mark.parametrize("answer", [FORBIDDEN, UNAUTHORIZED, httpx.Response(200, json={})])
async def test_looking_ends_once_all_is_known(
    server: Server, answer: httpx.Response, declared: frozenset[Action] | None
) -> None:
    server.answers[ADMIN] = answer
    bridge = Bridge(app(actions=declared))
    with anyio.fail_after(2):
        async with bridge.waha:
            await bridge.key.watch(bridge._get_ready)
    assert await bridge.key.settle(0)


async def test_a_waha_that_is_down_is_looked_for_less_and_less_often(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            server.answers.clear()

    monkeypatch.setattr(key_probe, "RETRY_FIRST", 2.0)
    monkeypatch.setattr(key_probe, "RETRY_MOST", 60.0)
    for module in (key_probe, bridge_module):
        monkeypatch.setattr(module, "anyio", SimpleNamespace(**{**vars(anyio), "sleep": sleep}))
    server.answers[ADMIN] = httpx.ConnectError("")
    # With declared actions, the only open question is whose key this is.
    bridge = Bridge(app(actions=frozenset({Action.READ})))
    with anyio.fail_after(10):
        async with bridge.waha:
            await bridge.key.watch(bridge._get_ready)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, bridge_module.LISTING_FIRST]
    assert bridge.key.grant.evidence[Action.READ] is Evidence.PROBED


@pytest.mark.parametrize(("declared", "waits"), [(None, True), (frozenset({Action.READ}), False)])
async def test_a_listing_waits_for_what_the_app_does_not_declare(
    server: Server, monkeypatch: pytest.MonkeyPatch, declared: frozenset[Action] | None, waits: bool
) -> None:
    monkeypatch.setattr(key_probe, "SETTLE_BUDGET", 30)
    let = anyio.Event()
    server.answers[ADMIN] = waits_for(let, FORBIDDEN)
    found: list[bool] = []
    with anyio.fail_after(10):
        async with Bridge(app(actions=declared)) as bridge:

            async def listable() -> None:
                found.append(await bridge.key.listable())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listable)
                await anyio.wait_all_tasks_blocked()
                assert found == ([] if waits else [False])
                let.set()
            assert found == [waits]
            await bridge.key.settle(5)
            assert await bridge.key.listable()


async def test_an_admin_key_is_known_by_the_status_of_the_answer_whatever_its_body(server: Server) -> None:
    server.answers[ADMIN] = httpx.Response(
        200, content=b"WAHA_API_KEY=s3cr3t", headers={"content-type": "application/json"}
    )
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        assert "allow_admin_key" in (bridge.key.grant.problem or "")


async def test_what_is_no_json_comes_from_no_waha_and_says_nothing_of_the_key(server: Server) -> None:
    server.answers[ADMIN] = httpx.Response(200, content=b"\x89PNG", headers={"content-type": "image/png"})
    async with settled(app(actions=frozenset({Action.SEND}))) as (bridge, _):
        assert not bridge.key.identified
        with pytest.raises(WahaError, match="something that is not JSON"):
            await bridge.call("send_text", {"chat": "12025550123@c.us", "text": "hi"})


async def test_the_session_that_the_app_names_is_kept(server: Server) -> None:
    server.answers[SESSIONS] = httpx.Response(200, json=[{"name": "other", "status": "WORKING"}])
    async with settled(app()) as (bridge, _):
        assert bridge.waha.session == "default"
    assert SESSIONS not in server.requests


async def test_the_list_of_sessions_is_asked_for_without_naming_one(server: Server) -> None:
    queries: list[dict[str, str]] = []

    async def sessions(request: httpx.Request) -> httpx.Response:
        queries.append(dict(request.url.params))
        return httpx.Response(200, json=[{"name": "default"}])

    server.answers[SESSIONS] = sessions
    async with settled(app(session=None)) as (bridge, _):
        await bridge.directory.load()
    assert queries == [{"all": "true"}] * 2


async def test_no_session_is_looked_for_with_a_key_that_is_no_good(server: Server) -> None:
    server.answers |= {ADMIN: UNAUTHORIZED, SESSIONS: httpx.Response(200, json=[])}
    async with settled(app(session=None)) as (bridge, _):
        assert "401" in (bridge.key.grant.problem or "")
    assert server.requests == [ADMIN]


async def test_examining_asks_for_every_action_whatever_the_app_names(server: Server) -> None:
    server.answers["/api/apps"] = FORBIDDEN
    with anyio.fail_after(10):
        grant = await examine(app(actions=frozenset({Action.READ})))
    assert grant.evidence == {
        Action.READ: Evidence.PROBED,
        Action.SEND: Evidence.PROBED,
        Action.APP: Evidence.REFUSED,
        Action.CONTROL: Evidence.DECLARED,
        Action.SETTING: Evidence.DECLARED,
        Action.DELETE: Evidence.DECLARED,
    }


async def test_a_program_that_answers_everything_is_not_taken_for_waha_with_an_admin_key(server: Server) -> None:
    server.answers |= {ADMIN: httpx.Response(200, json={}), VERSION: httpx.Response(200, json={})}
    async with settled(app(actions=frozenset(Action))) as (bridge, _):
        assert names(bridge) == of_action()
        assert "A program other than WAHA" in (bridge.key.grant.problem or "")


async def test_examining_says_what_is_wrong_with_the_key_as_a_whole(server: Server) -> None:
    server.answers[ADMIN] = httpx.Response(200, json={})
    with anyio.fail_after(10):
        grant = await examine(app())
    assert "allow_admin_key" in (grant.problem or "")
    assert server.requests == [ADMIN, VERSION]


async def test_a_grant_starts_from_what_the_app_says() -> None:
    assert Bridge(app(actions=None)).key.grant == Grant.initial(None)
