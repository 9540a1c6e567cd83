"""`python -m tests.bench`: what waha-mcp costs, compared with direct REST and with other servers, in one run.

Times are medians of alternating repetitions on this machine, so read the ratios. A missed aim is marked; the exit code
stays 0, because a busy machine is not a defect.

`--peer NAME=COMMAND` measures another server as well, with `{url}` and `{key}` in its command, and `--calls NAME=FILE`
says how its tools are called: as for tests.bench.tokens. `--table docs/performance.md` writes the page, and leaves the
generated sections of others in it. `--small` takes about a minute. `--mixed N` makes N mixed calls, `--only NAME`
measures only one section.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.bench.calls import calls, policy
from tests.bench.hear import hear
from tests.bench.lookup import lookup
from tests.bench.many_apps import apps
from tests.bench.many_clients import http
from tests.bench.scale import many, scale
from tests.bench.servers import FULL, SMALL, Bench
from tests.bench.sizes import sizes
from tests.bench.start import start
from tests.bench.table import Section, page
from tests.bench.tokens import Peer, add_peers, peers_of
from tests.bench.weight import weight
from tests.harness import sandbox_server
from tests.tables import made_on
from tests.tables import sections as sections_of

MEASURES: dict[str, Callable[[Bench], Section]] = {
    "start": start,
    "weight": weight,
    "calls": calls,
    "policy": policy,
    "hear": hear,
    "sizes": sizes,
    "scale": scale,
    "many": many,
    "lookup": lookup,
    "apps": apps,
    "http": http,
}


def skipped(given: Mapping[str, Peer], gone: Mapping[str, str]) -> Iterator[str]:
    """A line for each peer that is not measured, or one if there are none."""
    if not given:
        yield "SKIPPED: other servers, of which none is given; see --peer."
    for name, reason in gone.items():
        yield f"SKIPPED: {name} does not start: {reason}."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--table", type=Path)
    add_peers(parser)
    parser.add_argument("--mixed", type=int, metavar="N")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", action="append", choices=MEASURES, help="measure this alone")
    return parser.parse_args()


def main() -> None:
    chosen = _arguments()
    given = {peer.name: peer for peer in peers_of(chosen)}
    amounts = SMALL if chosen.small else FULL
    if chosen.mixed:
        amounts = dataclasses.replace(amounts, mixed=chosen.mixed)
    sections: list[Section] = []
    print(f"{made_on()}.")
    with ExitStack() as stack:
        bench = Bench(stack.enter_context(sandbox_server()), amounts, given, stack)
        lines = list(skipped(given, bench.drop_absent()))
        print("\n".join(lines))
        for name in chosen.only or MEASURES:
            sections.append(MEASURES[name](bench))
            print(f"\n{sections[-1].text()}", flush=True)
    if chosen.table:
        others = sections_of(chosen.table.read_text(encoding="utf-8")) if chosen.table.exists() else ""
        written = "\n".join(filter(None, [page(sections, made_on()), others]))
        chosen.table.write_text(f"{written.rstrip()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
