"""What a large account costs: each core tool cold and warm, and a long run of calls."""

from __future__ import annotations

import base64
import random
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import httpx

from tests.bench.calls import CHATS
from tests.bench.clockwork import milliseconds
from tests.bench.counting import Counter, counting
from tests.bench.pipe import Pipe
from tests.bench.servers import Bench, Call, succeeded
from tests.bench.table import Row, Section, times
from tests.bench.weight import megabytes, memory_of
from tests.harness import sandbox_server
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.sample_files import jpeg

TIMES = 10
MEMBERS = 30
#: The most milliseconds for a search for a name, and the factor that ten times the account may add to a page of
#: messages.
SEARCH, PAGE = 50, 1.5

#: The core tools, with placeholders for ids.
TOOLS: dict[str, dict[str, Any]] = {
    "get_status": {},
    "list_chats": {"limit": 20},
    "get_unread": {},
    "find_chats": {"query": "maya"},
    "get_messages": {"chat": "{chat}", "limit": 20},
    "get_message": {"message_id": "{message}"},
    "search_messages": {"query": "friday"},
    "get_media": {"message_id": "{picture}"},
    "get_contacts": {"limit": 50},
    "check_number": {"phone": "+12025550123"},
    "list_groups": {},
    "send_text": {"chat": "{chat}", "text": "See you on Friday!", "allow_repeat": True},
    "send_media": {
        "chat": "{chat}",
        "kind": "image",
        "data": base64.b64encode(jpeg()).decode(),
        "mimetype": "image/jpeg",
        "allow_repeat": True,
    },
    "react": {"message_id": "{message}", "emoji": "👍"},
    "mark_read": {"chat": "{chat}"},
}


@dataclass(frozen=True)
class Seen:
    """The cost of a call: requests and bytes of WAHA, and time."""

    requests: int
    bytes: int
    ms: float

    def __str__(self) -> str:
        return f"{self.requests} · {self.bytes / 1000:,.0f} kB · {self.ms:,.0f} ms"


@contextmanager
def large(bench: Bench, account: tuple[int, int, int, int]) -> Iterator[Bench]:
    """A bench on a sandbox with this many contacts, chats, groups and messages."""
    contacts, chats, groups, messages = account
    with sandbox_server("--contacts", str(contacts), "--messages", str(messages)) as info:
        # The ids are taken while their chat is among the newest.
        there = bench.on(info)
        grow(info, chats, groups)
        yield there


def grow(info: SandboxInfo, chats: int, groups: int) -> None:
    """Create groups, then chats with contacts without one, up to these numbers; unread chats stay on top."""
    with httpx.Client(base_url=info.url, headers={"X-Api-Key": info.admin_key}, timeout=60) as http:

        def got(path: str) -> list[dict[str, Any]]:
            return list(http.get(path, params={"session": "default", "limit": 1_000_000}).raise_for_status().json())

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            return dict(http.post(path, json=body).raise_for_status().json())

        def text(chat: str) -> None:
            post("/api/sendText", {"session": "default", "chatId": chat, "text": "Hello"})

        unread = [chat["id"] for chat in got(CHATS) if chat["_chat"].get("unreadCount")]
        known = [each["id"] for each in got("/api/contacts/all") if each["id"].endswith("@c.us")]
        members = cycle(known)
        for number in range(groups - len(got("/api/default/groups"))):
            participants = [{"id": each} for each in islice(members, MEMBERS)]
            made = post("/api/default/groups", {"name": f"Group {number}", "participants": participants})
            text(made["JID"])
        there = {chat["id"] for chat in got(CHATS)}
        for contact in islice((each for each in known if each not in there), max(0, chats - len(there))):
            text(contact)
        for chat in unread:
            http.post("/sandbox/messages", json={"chatId": chat, "text": "Are you there?"}).raise_for_status()


def scale(bench: Bench) -> Section:
    """The core tools on a large account, and on one of ten times its size."""
    contacts, chats, groups, messages = bench.sizes.account
    section = Section(
        "Scale",
        [
            f"1x: {contacts:,} contacts, {chats:,} chats, {groups:,} groups and {messages:,} messages; {TIMES}x: ten "
            "times that. Requests, bytes of WAHA's answers and milliseconds of each core tool: cold, a process's first "
            "call; warm, the same again.",
        ],
    )
    tenfold = (contacts * TIMES, chats * TIMES, groups * TIMES, messages * TIMES)
    with large(bench, bench.sizes.account) as once, large(bench, tenfold) as ten:
        for tool in islice(TOOLS, bench.sizes.tools):
            section.rows.append(_row(once, ten, tool))
    return section


def _row(once: Bench, ten: Bench, tool: str) -> Row:
    cold: list[list[Seen]] = [[], []]
    warm: list[list[Seen]] = [[], []]
    for _ in range(once.sizes.colds):
        for size, bench in enumerate((once, ten)):
            first, *later = _seen(bench, tool)
            cold[size].append(first)
            warm[size] += later
    cells: dict[str, str] = {}
    for name, sizes in {"cold": cold, "warm": warm}.items():
        cells |= {f"{name}, {factor}x": str(median(seen)) for factor, seen in zip((1, TIMES), sizes, strict=True)}
    small, big = (median(seen).ms for seen in warm)
    cells[f"warm, {TIMES}x : 1x"] = times(big, small)
    return Row(tool, cells, once.sizes.colds, *verdict(tool, small, big))


def verdict(tool: str, once: float, ten: float) -> tuple[str, bool | None]:
    """The aim of a warm call, and whether it is met."""
    if tool == "find_chats":
        return f"< {SEARCH} ms warm", ten < SEARCH
    if tool == "get_messages":
        return f"<= {PAGE}x warm", ten <= PAGE * once
    return "", None


def _seen(bench: Bench, tool: str) -> list[Seen]:
    """The first call of a process, and the same again."""
    call = {"name": tool, "arguments": bench.filled(TOOLS[tool])}
    with counting(bench.info.url) as counter:
        pipe = bench.waha_mcp(url=counter.url)
        pipe.ask("tools/list")
        seen = [_counted(pipe, call, counter) for _ in range(1 + bench.sizes.warms)]
        pipe.close()
    return seen


def _counted(pipe: Pipe, call: Call, counter: Counter) -> Seen:
    before = counter.seen()
    taken = milliseconds(lambda: succeeded(pipe.ask("tools/call", **call)))
    requests, size = (now - then for now, then in zip(counter.seen(), before, strict=True))
    return Seen(requests, size, taken)


def median(seen: list[Seen]) -> Seen:
    """Of each figure."""
    return Seen(
        statistics.median_high(each.requests for each in seen),
        statistics.median_high(each.bytes for each in seen),
        statistics.median(each.ms for each in seen),
    )


# A long run of calls

BLOCK = 1_000
#: How much slower calls may be, and how much larger memory, than after the first 1,000.
SLOWER, HEAVIER = 1.2, 2_000_000


def many(bench: Bench) -> Section:
    """Mixed calls on a large account: whether time and memory are the same after thousands of calls as after one."""
    section = Section(
        f"{bench.sizes.mixed:,} mixed calls",
        [
            "On the 1x account, in one process: the median call of each thousand, that of direct REST (one page "
            "of chats, every tenth call), and memory (RSS) after it. The aim: both flat from the 1,000th on, the "
            "median beside direct. Lists of people are read again after 5 minutes, which once adds some megabytes.",
        ],
    )
    blocks: list[tuple[float, int]] = []
    with large(bench, bench.sizes.account) as there:
        headers = {"X-Api-Key": there.info.keys["full"]}
        with httpx.Client(base_url=there.info.url, headers=headers) as http:
            get = partial(http.get, CHATS, params={"limit": 21, "offset": 0})
            pipe = there.waha_mcp()
            pipe.ask("tools/list")
            chats = [chat["id"] for chat in http.get(CHATS, params={"limit": 200}).json()]
            # The account may not write into channels and some groups.
            calls = mixed([each for each in chats if each.endswith("@c.us")])
            for start in range(0, there.sizes.mixed, BLOCK):
                ours, direct = [], []
                for number, call in enumerate(islice(calls, min(BLOCK, there.sizes.mixed - start))):
                    ours.append(milliseconds(partial(_answered, pipe, call)))
                    if number % 10 == 0:
                        direct.append(milliseconds(get))
                p50, beside = statistics.median(ours), statistics.median(direct)
                held = memory_of(pipe.pid).get("RSS", 0)
                blocks.append((p50 / beside, held))
                cells = {
                    "p50": f"{p50:.1f} ms",
                    "direct": f"{beside:.1f} ms",
                    "beside direct": times(p50, beside),
                    "memory": megabytes(held) if held else "unknown",
                }
                aim, met = flat(blocks) if start + BLOCK >= there.sizes.mixed else ("", None)
                section.rows.append(Row(f"to {start + len(ours):,}", cells, len(ours), aim, met))
            pipe.close()
    return section


def flat(blocks: list[tuple[float, int]]) -> tuple[str, bool | None]:
    """From (median relative to direct, memory afterwards) of each thousand: time by the second, memory by the first."""
    if len(blocks) < 3:
        return "", None
    (p50, _), (last, held) = blocks[1], blocks[-1]
    first = blocks[0][1]
    told = f"{times(last, p50)}, {(held - first) / 1_000_000:+.1f} MB"
    aim = f"<= {SLOWER}x, +{HEAVIER // 1_000_000} MB ({told})"
    return aim, last <= SLOWER * p50 and held <= first + HEAVIER


def _answered(pipe: Pipe, call: Call) -> None:
    succeeded(pipe.ask("tools/call", **call))


def mixed(chats: list[str], seed: int = 1) -> Iterator[Call]:
    """Calls in an agent's mix: more reads than writes, mostly in a few chats."""
    rng = random.Random(seed)
    weights = [1 / (place + 1) for place in range(len(chats))]
    kinds = {
        "get_messages": 35,
        "list_chats": 20,
        "find_chats": 15,
        "get_unread": 10,
        "send_text": 10,
        "get_contacts": 5,
        "list_groups": 5,
    }
    names = ("maya", "greta brandt", "hugo", "santos", "дмитрий", "nobody of this name")
    while True:
        chat = rng.choices(chats, weights)[0]
        arguments: dict[str, dict[str, Any]] = {
            "get_messages": {"chat": chat, "limit": rng.choice((10, 20, 50))},
            "find_chats": {"query": rng.choice(names)},
            "send_text": {"chat": chat, "text": "See you on Friday!", "allow_repeat": True},
        }
        tool = rng.choices(list(kinds), list(kinds.values()))[0]
        yield {"name": tool, "arguments": arguments.get(tool, {"limit": 20})}
