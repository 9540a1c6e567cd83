"""The local index: the cost of building, keeping and searching it, compared with searching over WAHA's API."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.counting import Counter, counting
from tests.bench.sayings import Sayings
from tests.bench.scale import large
from tests.bench.servers import Bench, homes, succeeded
from tests.bench.table import Row, Section
from tests.harness import COMMAND, NO_PACE_TEXT, environment
from waha_mcp.history.index import Index
from waha_mcp.history.index_records import BATCH
from waha_mcp.history.matching import Sought
from waha_mcp.history.query import parse
from waha_mcp.waha.messages import NOBODY

#: The aims: milliseconds of a search (median and 99th percentile), and bytes of a million messages.
MEDIAN, SLOWEST, SIZE = 5.0, 50.0, 150_000_000
#: Hits of one search, as search_messages gives them; messages of one transaction.
HITS, PAGE = 20, 1_000
#: A word that nobody wrote.
ABSENT = "zyzzogeton"


def lookup(bench: Bench) -> Section:
    """An index of made-up messages in several scripts; and a large account's index compared with the API."""
    messages, searches = bench.sizes.indexed, bench.sizes.searches
    section = Section(
        f"Search in {messages:,} messages",
        [
            f"Messages in Latin, Cyrillic, Arabic, Devanagari, Thai and Chinese script, whose words follow Zipf's law. "
            f"Milliseconds until the {HITS} newest hits of a query are known, `p50` and `p99` of n different queries. "
            "As in search_messages, each message that the index returns is checked.",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        index = Index(Path(folder) / "index.sqlite")
        section.rows += [_built(index, messages), *_searched(index, searches)]
        index.close()
    section.notes.append(
        f"Below, an account of {bench.sizes.account[3]:,} messages on the sandbox: what it takes the tool to find that "
        "nobody wrote a word, with the index and without it: calls, requests to WAHA, bytes of its answers."
    )
    section.rows += _beside_the_walk(bench)
    return section


# A million messages


def _built(index: Index, count: int) -> Row:
    """The row of building it."""
    records = Sayings().records(count)
    taken, size = 0.0, 0
    while page := list(itertools.islice(records, PAGE)):
        size += sum(len(record.text.encode()) for record in page)
        started = time.perf_counter()
        index.add(page, backwards=True)
        taken += time.perf_counter() - started
    started = time.perf_counter()
    index.optimize()
    taken += time.perf_counter() - started
    held = index.size()
    aim = SIZE * count // 1_000_000
    cells = {"built": f"{count / taken:,.0f} messages/s", "on the disk": f"{held / 1e6:,.0f} MB", "texts": _mb(size)}
    return Row("the index", cells, None, f"<= {_mb(aim)}", held <= aim)


def _searched(index: Index, n: int) -> Iterator[Row]:
    """The rows of its searches."""
    said, rng = Sayings(), random.Random(7)
    texts = [record.text for record in itertools.islice(said.records(50_000), 0, None, 50)]
    words = said.words
    any_script = list(words)
    chinese = [word for word in words["chinese"] if len(word) == 2]
    sentences = [text for text in texts if len(text.split()) > 3]
    made: dict[str, list[str]] = {
        "a rare word": [
            rng.choice(words[script][len(words[script]) // 2 :]) for script in rng.choices(any_script, k=n)
        ],
        "a common word": [rng.choice(words[script][:50]) for script in rng.choices(any_script, k=n)],
        "two words": [" ".join(rng.sample(rng.choice(sentences).split(), 2)) for _ in range(n)],
        "two Chinese characters": [rng.choice(chinese) for _ in range(n)],
        "an Arabic word": [rng.choice(words["arabic"]) for _ in range(n)],
        "two letters": ["".join(rng.choices("etaoinsrldu", k=2)) for _ in range(n)],
        "an absent word": ["".join(rng.choices("etaoinsrldu", k=9)) for _ in range(n)],
    }
    for what, queries in made.items():
        taken, hits = list[float](), 0
        for text in queries:
            started = time.perf_counter()
            hits += _hits(index, f'"{text}"' if " " not in text else text)
            taken.append((time.perf_counter() - started) * 1000)
        taken.sort()
        p50, p99 = taken[len(taken) // 2], taken[math.ceil(len(taken) * 0.99) - 1]
        cells = {"p50": f"{p50:.1f} ms", "p99": f"{p99:.1f} ms", "hits": f"{hits / n:.1f}"}
        yield Row(what, cells, n, f"<= {MEDIAN:.0f} and {SLOWEST:.0f} ms", p50 <= MEDIAN and p99 <= SLOWEST)


def _hits(index: Index, text: str) -> int:
    """How many of the newest hits there are, found as the tool finds them."""
    sought = Sought(parse(text, None))
    sieve, before, found = sought.sieve(lambda each: [each]), None, 0
    while True:
        given = index.search(sieve, before=before, most=BATCH)
        for number, record in given:
            before = number
            found += sought.match(record, NOBODY) is not None
            if found == HITS:
                return found
        if len(given) < BATCH:
            return found


# Compared with reading over the API


def _beside_the_walk(bench: Bench) -> Iterator[Row]:
    with large(bench, bench.sizes.account) as there, counting(there.info.url) as counter:
        folder, policy = there.folder(), f"index = true\n{NO_PACE_TEXT}"
        indexed = there.waha_mcp(policy, url=counter.url, folder=folder)
        indexed.close()
        before, started = counter.seen(), time.perf_counter()
        built = _build(folder, there.info.keys["full"])
        cells = {"calls": "–", **_since(counter, before), "ms": f"{(time.perf_counter() - started) * 1000:,.0f}"}
        yield Row(f"waha-mcp index build, {built:,} messages", cells, 1)
        indexed, plain = there.waha_mcp(policy, url=counter.url, folder=folder), there.waha_mcp(url=counter.url)
        for what, pipe in {"search_messages, index": indexed, "search_messages": plain}.items():
            _ask(pipe, {"query": "friday", "limit": 1})  # the names are read, and the index is brought up to date
            before, started, calls = counter.seen(), time.perf_counter(), 0
            cursor: str | None = None
            while calls == 0 or cursor is not None:
                more = {} if cursor is None else {"cursor": cursor}
                answer = _ask(pipe, {"query": ABSENT, **more})
                cursor, calls = answer.get("cursor"), calls + 1
            cells = {"calls": str(calls), **_since(counter, before)}
            cells["ms"] = f"{(time.perf_counter() - started) * 1000:,.0f}"
            yield Row(f"{what}, an absent word", cells, 1)
            pipe.close()


def _ask(pipe: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = pipe.ask("tools/call", name="search_messages", arguments=arguments)
    succeeded(answer)
    return dict(json.loads(answer["content"][0]["text"]))


def _build(folder: str, key: str) -> int:
    """Run `waha-mcp index build`; returns how many messages it reports."""
    command = [*COMMAND, "index", "build", "--app", f"{folder}/bench.toml", "--json"]
    env = environment(WAHA_API_KEY=key, **homes(folder))
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"the index could not be built: {done.stderr}")
    return int(json.loads(done.stdout)["messages"])


def _since(counter: Counter, before: tuple[int, int]) -> dict[str, str]:
    requests, size = (now - then for now, then in zip(counter.seen(), before, strict=True))
    return {"requests": f"{requests:,}", "bytes": _mb(size)}


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"
