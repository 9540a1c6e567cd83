"""Long lists, page by page, against servers with every way of paging."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import respx
from pydantic import SecretStr

from waha_mcp.waha import rows as rows_module
from waha_mcp.waha.client import Waha
from waha_mcp.waha.rows import TOO_LARGE, Rows, WholeList

pytestmark = pytest.mark.anyio

BASE = "http://waha.test:3000"
GROUPS = "GET /api/{session}/groups"
UNSUPPORTED = {"statusCode": 501, "message": "The method is not implemented by 'WEBJS' engine."}

#: A server's answer to a limit and an offset.
Serve = Callable[[int, int], Any]


class Server:
    """Answers with the result of `serve` as JSON, and records the requests."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.asked: list[tuple[int, int]] = []
        self.serve: Serve = lambda limit, offset: []
        router.get("/api/default/groups").mock(side_effect=self._answer)
        router.get("/api/server/version").respond(json={"version": "2026.2.1"})

    def _answer(self, request: httpx.Request) -> httpx.Response:
        limit, offset = (int(request.url.params[name]) for name in ("limit", "offset"))
        self.asked.append((limit, offset))
        answer = self.serve(limit, offset)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose answers may be at most 20,000 bytes long."""
    monkeypatch.setattr("waha_mcp.waha.responses.MAX_JSON", 20_000)
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        yield Server(router)


def group(number: int, size: int = 0) -> dict[str, Any]:
    return {"id": f"{number}@g.us", "subject": "x" * size}


def paged(rows: list[Any]) -> Serve:
    return lambda limit, offset: rows[offset : offset + limit]


async def read() -> Rows:
    async with Waha(BASE, SecretStr("key"), "default") as waha:
        return await WholeList(waha, GROUPS, "groups").read()


async def test_a_list_comes_whole_and_a_short_page_is_its_end(server: Server) -> None:
    everything = [group(number) for number in range(30)]
    server.serve = paged(everything)
    assert await read() == Rows(everything)
    assert server.asked == [(rows_module.PAGE, 0)]


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones_and_nothing_twice(server: Server) -> None:
    everything = [group(number, 100) for number in range(400)]
    server.serve = paged(everything)
    found = await read()
    assert (found.rows, found.gap, found.error) == (everything, None, None)
    sizes = [limit for limit, _ in server.asked]
    assert sizes[:3] == [2000, 500, 125]
    good = [(limit, offset) for limit, offset in server.asked if limit <= 125]
    assert [offset for _, offset in good] == [sum(limit for limit, _ in good[:at]) for at in range(len(good))]


async def test_a_row_that_is_too_large_is_left_out_and_counted(server: Server) -> None:
    everything = [group(number, 30_000 if number in (0, 17, 39) else 0) for number in range(40)]
    server.serve = paged(everything)
    found = await read()
    assert found.rows == [row for row in everything if len(row["subject"]) < 30_000]
    assert found.gap == f"3 left out: {TOO_LARGE}"
    assert found.error is None


async def test_pages_grow_again_behind_a_row_that_was_too_large(server: Server) -> None:
    server.serve = paged([group(number, 30_000 if number == 0 else 0) for number in range(300)])
    found = await read()
    assert len(found.rows) == 299
    assert len(server.asked) < 60


async def test_a_server_that_always_gives_too_much_is_given_up(server: Server) -> None:
    everything = [group(number, 1000) for number in range(100)]
    server.serve = lambda limit, offset: everything
    found = await read()
    assert (found.rows, found.gap) == ([], TOO_LARGE)
    assert found.error is not None
    assert len(server.asked) == rows_module.TOO_LARGE_MOST + 1


async def test_a_server_that_ignores_the_limit_gives_each_row_once(server: Server) -> None:
    everything = [group(number) for number in range(250)]
    server.serve = lambda limit, offset: everything[offset:]
    assert await read() == Rows(everything)


async def test_a_server_that_ignores_the_offset_ends_the_walk(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "PAGE", 150)
    everything = [group(number) for number in range(400)]
    server.serve = lambda limit, offset: everything[:limit]
    found = await read()
    assert found.rows == everything[:150]
    assert found.gap == "WAHA gave the same page again"
    assert len(server.asked) == 2


async def test_a_server_that_ignores_both_has_given_all(server: Server) -> None:
    everything = [group(number) for number in range(250)]
    server.serve = lambda limit, offset: everything
    assert await read() == Rows(everything)


async def test_a_server_that_caps_its_pages_gives_all(server: Server) -> None:
    everything = [group(number) for number in range(420)]
    server.serve = lambda limit, offset: everything[offset : offset + min(limit, 100)]
    assert await read() == Rows(everything)


async def test_a_list_keyed_by_id_is_paged_like_any_other(server: Server) -> None:
    everything = [group(number, 100) for number in range(400)]
    server.serve = lambda limit, offset: {row["id"]: row for row in everything[offset : offset + limit]}
    assert (await read()).rows == everything


async def test_more_than_is_fetched_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MOST", 40)
    server.serve = paged([group(number) for number in range(41)])
    found = await read()
    assert (len(found.rows), found.gap) == (40, "only the first 40 of them were read")
    server.serve = paged([group(number) for number in range(40)])
    assert (await read()).gap is None


async def test_what_fails_half_way_keeps_what_came_before(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "PAGE", 150)
    everything = [group(number) for number in range(300)]
    server.serve = lambda limit, offset: httpx.Response(500) if offset else everything[:limit]
    found = await read()
    assert (found.rows, found.gap) == (everything[:150], "WAHA or a proxy in front of it had an internal error (500)")


async def test_one_row_in_no_known_form_costs_only_itself(server: Server) -> None:
    server.serve = paged([group(1), None, group(2), "text"])
    found = await read()
    assert (found.rows, found.gap) == ([group(1), group(2)], "2 left out: not in a form that this version reads")


@pytest.mark.parametrize(
    ("answer", "gap"),
    [
        (httpx.Response(200), "WAHA's answer is not a list of groups"),
        (httpx.Response(200, json=None), "WAHA's answer is not a list of groups"),
        ({"error": {"code": 500}}, "WAHA's answer is not a list of groups"),
        ({"groups": [group(1)]}, "WAHA's answer is not a list of groups"),
        ([{"name": "no id"}, {"name": "none either"}], "WAHA's list of groups has none that this version can read"),
        (httpx.Response(501, json=UNSUPPORTED), "this engine cannot list them"),
        (
            httpx.Response(404, json={"message": "Cannot GET /api/x"}),
            "This WAHA (2026.2.1) does not know the operation (404)",
        ),
    ],
)
async def test_what_is_no_list_is_not_an_empty_one(server: Server, answer: Any, gap: str) -> None:
    server.serve = lambda limit, offset: answer
    found = await read()
    assert (found.rows, found.gap) == ([], gap)
    assert found.error is not None
    assert found.lacking == ("engine" in gap)


@pytest.mark.parametrize("empty", [[], {}])
async def test_an_empty_list_is_empty_and_nothing_is_missing(server: Server, empty: Any) -> None:
    server.serve = lambda limit, offset: empty
    assert await read() == Rows([])


# Continuing


@pytest.fixture
async def pages(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WholeList]:
    """A list that is read in pages of 150 rows."""
    monkeypatch.setattr(rows_module, "PAGE", 150)
    async with Waha(BASE, SecretStr("key"), "default") as waha:
        yield WholeList(waha, GROUPS, "groups")


def failing_after(rows: list[Any], most: int) -> Serve:
    return lambda limit, offset: httpx.Response(500) if offset >= most else rows[offset : offset + limit]


async def test_a_list_is_read_on_behind_what_was_read(server: Server, pages: WholeList) -> None:
    everything = [group(number) for number in range(310)]
    server.serve = failing_after(everything, 300)
    assert (await pages.read()).rows == everything[:300]
    server.serve = lambda limit, offset: httpx.Response(500)
    for _ in range(2):
        found = await pages.read()
        assert (found.rows, found.error is None) == (everything[:300], False)
    server.serve = paged(everything)
    server.asked.clear()
    assert await pages.read() == Rows(everything)
    assert server.asked == [(150, 299)]


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[1:], lambda rows: [group(999), *rows], lambda rows: rows[:9]],
    ids=["less", "more", "few"],
)
async def test_a_list_that_has_changed_meanwhile_is_read_anew(change: Any, server: Server, pages: WholeList) -> None:
    everything = [group(number) for number in range(310)]
    server.serve = failing_after(everything, 150)
    await pages.read()
    server.serve = paged(change(everything))
    assert await pages.read() == Rows(change(everything))


async def test_what_could_not_be_read_is_counted_once(server: Server, pages: WholeList) -> None:
    everything = [*(group(number) for number in range(149)), None, *(group(number) for number in range(200, 210))]
    server.serve = failing_after(everything, 150)
    assert (await pages.read()).error is not None
    server.serve = paged(everything)
    found = await pages.read()
    assert len(found.rows) == 159
    assert found.gap == "1 left out: not in a form that this version reads"
