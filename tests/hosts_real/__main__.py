"""`python -m tests.hosts_real`: real hosts, and what their models see."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.hosts_real.hosts import HOSTS
from tests.hosts_real.lines import LINES
from tests.hosts_real.world import desk


def show(name: str, bodies: Path | None) -> None:
    """Print what the model of one host sees, step by step."""
    with tempfile.TemporaryDirectory() as home, desk(HOSTS[name], Path(home)) as made:
        day = made.day()
    print(f"{day.listing}\n--- tools\n{day.tools}\n")
    for session in (day.console, day.main):
        print(f"--- what the host printed (exit code {session.code}, {session.seconds:.1f} s)\n{session.said}")
        for step, shown in session.results.items():
            print(f"--- {step}{' (error)' if shown and shown.error else ''}\n{shown.text if shown else None}")
        print("--- attachments:", *(f"{each.type}, {len(each.data)} bytes" for each in session.attachments))
        print("missing:", *session.missing)
        print("aside:", *session.aside)
        print("outward:", *session.outward)
    print("delivered:", dict(day.delivered))
    for line, (_, check) in LINES.items():
        try:
            check(day)
        except AssertionError as error:
            print(f"{line} fails{' as known' if line in HOSTS[name].limits else ''}: {error}")
    if bodies:
        requests = [turn.body for turn in day.main.turns]
        bodies.write_text(json.dumps(requests, indent=1, ensure_ascii=False), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts_real", description=__doc__)
    parser.add_argument("--show", metavar="HOST", choices=HOSTS, help="one host's session, as its model sees it")
    parser.add_argument("--bodies", metavar="FILE", type=Path, help="with --show: write the requests to a file")
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show, arguments.bodies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
