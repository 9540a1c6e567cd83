"""Faults on demand, the request log, and serving itself."""

from __future__ import annotations

import time
from typing import Any

import anyio
import httpx
import pytest

from tests.sandbox.box import SAM, Box
from waha_mcp.sandbox import running
from waha_mcp.sandbox.state import Sandbox

pytestmark = pytest.mark.anyio

TEXT = {"session": "default", "chatId": SAM, "text": "only once"}


async def test_a_fault_strikes_as_often_as_asked_and_only_what_matches(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/default/chats", method="GET", count=2, status=503)
    assert (await gows.ask("GET", "/api/sessions")).status_code == 200
    found = [(await gows.ask("GET", "/api/default/chats")).status_code for _ in range(3)]
    assert found == [503, 503, 200]


async def test_a_fault_answers_in_wahas_place(gows: Box) -> None:
    await gows.control(
        "POST", "faults", path="/api/*/groups", status=502, body="<html>Bad Gateway</html>",
        content_type="text/html", headers={"Retry-After": "1"},
    )  # fmt: skip
    answer = await gows.ask("GET", "/api/default/groups")
    assert (answer.status_code, answer.text) == (502, "<html>Bad Gateway</html>")
    assert (answer.headers["content-type"], answer.headers["retry-after"]) == ("text/html", "1")


async def test_a_fault_can_cut_or_swell_an_answer(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sessions", malformed=True)
    await gows.control("POST", "faults", path="/api/sessions", oversize=3_000_000)
    with pytest.raises(ValueError, match="Unterminated"):
        (await gows.ask("GET", "/api/sessions")).json()
    assert len((await gows.ask("GET", "/api/sessions")).content) == 3_000_000


async def test_a_fault_can_strike_only_large_pages(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/default/groups", above=2, status=500, count=9)
    found = [
        (await gows.ask("GET", f"/api/default/groups{query}")).status_code for query in ("?limit=3", "?limit=2", "")
    ]
    assert found == [500, 200, 200]


async def test_a_dropped_request_has_no_effect_unless_it_is_dropped_after(gows: Box) -> None:
    before = len(await gows.messages(SAM, limit=-1))
    await gows.control("POST", "faults", path="/api/sendText", drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await gows.ask("POST", "/api/sendText", TEXT)
    assert len(await gows.messages(SAM, limit=-1)) == before
    await gows.control("POST", "faults", path="/api/sendText", drop=True, after=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await gows.ask("POST", "/api/sendText", TEXT)
    sent = [each for each in await gows.messages(SAM, limit=-1) if each["body"] == "only once"]
    assert len(sent) == 1


async def test_a_delayed_answer_keeps_nobody_else_waiting(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sessions", delay=30)
    with pytest.raises(httpx.ReadTimeout):
        await gows.ask("GET", "/api/sessions", timeout=0.1)
    assert (await gows.ask("GET", "/api/sessions")).status_code == 200


async def arrived(gows: Box, count: int = 1) -> None:
    """Wait until so many requests have reached the server."""
    with anyio.fail_after(5):
        while len(await gows.control("GET", "requests")) < count:
            await anyio.lowlevel.checkpoint()


async def texts_of(gows: Box) -> int:
    return sum(each["body"] == "only once" for each in await gows.messages(SAM, limit=-1))


async def test_late_work_is_done_after_the_client_has_hung_up_and_the_log_says_when(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sendText", late=60)
    with pytest.raises(httpx.ReadTimeout):
        await gows.ask("POST", "/api/sendText", TEXT, timeout=0.1)
    [entry] = await gows.control("GET", "requests")
    assert (entry["body"], entry["performed"], await texts_of(gows)) == (TEXT, None, 0)
    assert (await gows.control("POST", "settle"))["settled"] >= 1
    entry = (await gows.control("GET", "requests"))[0]
    assert (entry["body"], entry["status"], await texts_of(gows)) == (TEXT, None, 1)
    assert entry["time"] < entry["performed"] <= time.time()


async def test_late_work_comes_by_itself_and_a_client_that_waits_gets_its_answer(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sendText", late=0.2)
    answer = await gows.ask("POST", "/api/sendText", TEXT)
    [entry] = await gows.control("GET", "requests")
    assert (answer.status_code, entry["status"], await texts_of(gows)) == (201, 201, 1)
    assert entry["performed"] - entry["time"] >= 0.2


@pytest.mark.parametrize("what", [{"drop": True}, {"status": 504, "body": "<html>Gateway Time-out</html>"}])
async def test_a_proxy_gives_up_at_once_while_waha_goes_on(gows: Box, what: dict[str, Any]) -> None:
    await gows.control("POST", "faults", path="/api/sendText", late=60, **what)
    if "drop" in what:
        with pytest.raises(httpx.RemoteProtocolError):
            await gows.ask("POST", "/api/sendText", TEXT)
    else:
        assert (await gows.ask("POST", "/api/sendText", TEXT)).status_code == 504
    assert await texts_of(gows) == 0
    await gows.control("POST", "settle")
    entry = (await gows.control("GET", "requests"))[0]
    assert (entry["status"], await texts_of(gows)) == (what.get("status"), 1)
    assert entry["performed"] is not None


async def test_late_work_that_waha_refuses_is_not_performed(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sendText", late=60, status=502)
    await gows.ask("POST", "/api/sendText", TEXT, key="read")
    await gows.control("POST", "settle")
    [entry] = await gows.control("GET", "requests")
    assert (entry["performed"], entry["status"], await texts_of(gows)) == (None, 502, 0)


async def test_a_request_that_fails_in_its_handler_is_not_performed(gows: Box) -> None:
    answer = await gows.ask("PUT", "/api/default/groups/1@g.us/subject", {"subject": "Hikers"})
    [entry] = await gows.control("GET", "requests")
    assert (answer.is_success, entry["operation"], entry["performed"]) == (False, "GroupsController_setSubject", None)


async def test_settling_waits_until_late_work_is_done() -> None:
    sandbox = Sandbox()
    done = anyio.Event()

    async def work() -> None:
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        done.set()

    sandbox.in_background(60, work)
    assert (await sandbox.settle(), done.is_set(), await sandbox.settle()) == (1, True, 0)


async def test_a_request_whose_body_never_came_is_not_performed_late(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sendText", late=0)
    host, _, port = gows.info.url.removeprefix("http://").partition(":")
    async with await anyio.connect_tcp(host, int(port)) as raw:
        head = f"POST /api/sendText HTTP/1.1\r\nHost: x\r\nX-Api-Key: {gows.info.keys['full']}\r\n"
        await raw.send(f"{head}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{{".encode())
        await arrived(gows)
    await gows.control("POST", "settle")
    assert [each["performed"] for each in await gows.control("GET", "requests")] == [None]


async def test_faults_can_be_called_off_and_must_make_sense(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sessions", status=500, count=5)
    await gows.control("DELETE", "faults")
    assert (await gows.ask("GET", "/api/sessions")).status_code == 200
    await gows.control("POST", "faults", path="/api/sessions", status=500, count=5)
    await gows.control("PUT", "faults", faults=[{"path": "/api/sessions", "status": 502}, {"path": "/", "status": 503}])
    assert [(await gows.ask("GET", "/api/sessions")).status_code for _ in range(3)] == [502, 503, 200]
    answer = await gows.ask("POST", "/sandbox/faults", {"path": "/", "explode": True}, key="admin")
    assert (answer.status_code, "explode" in answer.text) == (400, True)
    for wrong in ({"late": -1}, {"late": "soon"}, {"delay": True}):
        answer = await gows.ask("POST", "/sandbox/faults", wrong, key="admin")
        assert (answer.status_code, "number of seconds" in answer.text) == (400, True)


@pytest.mark.parametrize("key", [None, "full"])
async def test_the_sandboxs_own_routes_need_the_admin_key(gows: Box, key: str | None) -> None:
    assert (await gows.ask("GET", "/sandbox/requests", key=key)).status_code == 401


async def test_the_log_names_keys_and_headers_and_shows_neither(gows: Box) -> None:
    await gows.ask("POST", "/api/sendText?note=1", TEXT, key="send", headers={"X-Note": "value"})
    await gows.ask("GET", "/api/default/chats", key="none")
    await gows.ask("GET", "/nowhere", key=None)
    sent, refused, lost = await gows.control("GET", "requests")
    assert (sent["method"], sent["path"], sent["query"], sent["status"]) == ("POST", "/api/sendText", "note=1", 201)
    assert (sent["operation"], sent["key"], sent["body"]) == ("ChattingController_sendText", "send", TEXT)
    assert {"x-api-key", "x-note"} <= set(sent["headers"])
    assert sent["time"] <= sent["performed"] <= time.time()
    assert not any(secret in str(sent) for secret in gows.info.keys.values())
    assert (refused["key"], refused["status"], refused["performed"]) == ("none", 403, None)
    assert (lost["operation"], lost["key"], lost["status"]) == (None, None, 404)
    await gows.control("DELETE", "requests")
    assert await gows.control("GET", "requests") == []


async def test_a_dropped_request_stands_in_the_log_without_a_status(gows: Box) -> None:
    await gows.control("POST", "faults", path="/api/sessions", drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        await gows.ask("GET", "/api/sessions")
    [entry] = await gows.control("GET", "requests")
    assert (entry["status"], entry["performed"]) == (None, None)


async def test_a_taken_port_is_an_oserror_before_anything_runs() -> None:
    async with running() as first:
        with pytest.raises(OSError, match="in use"):
            async with running(port=int(first.url.rpartition(":")[2])):
                pytest.fail("it must not start")


async def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="gows, noweb, webjs, wpp"):
        async with running(engine="venom"):
            pytest.fail("it must not start")


async def test_it_ends_at_once_with_requests_open_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with httpx.AsyncClient(timeout=20) as http, anyio.create_task_group() as tasks:
        async with running() as info:
            headers = {"X-Api-Key": info.admin_key}
            await http.post(f"{info.url}/sandbox/faults", json={"path": "/ping", "delay": 60}, headers=headers)
            failed = anyio.Event()

            async def wait() -> None:
                with pytest.raises(httpx.HTTPError):
                    await http.get(f"{info.url}/ping", headers=headers)
                failed.set()

            tasks.start_soon(wait)
            while len((await http.get(f"{info.url}/sandbox/requests", headers=headers)).json()) < 1:
                await anyio.lowlevel.checkpoint()
            leaving = time.perf_counter()
        assert time.perf_counter() - leaving < 1
        with anyio.fail_after(5):
            await failed.wait()
    assert capfd.readouterr() == ("", "")


async def test_keys_are_new_at_every_start_and_kept_out_of_the_repr() -> None:
    async with running() as one, running() as two:
        assert one.admin_key != two.admin_key
        assert not set(one.keys.values()) & set(two.keys.values())
        assert list(one.keys) == ["none", "read", "send", "read_send", "full"]
        assert one.admin_key not in repr(one)
        assert one.as_dict() == {"url": one.url, "session": "default", "admin_key": one.admin_key, "keys": one.keys}
