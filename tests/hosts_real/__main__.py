"""`python -m tests.hosts_real`: real hosts, and what their models see."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.hosts_real.hosts import HOSTS
from tests.hosts_real.world import desk


def show(name: str, bodies: Path | None) -> None:
    """Print what the model of one host sees, step by step."""
    with tempfile.TemporaryDirectory() as home, desk(HOSTS[name], Path(home)) as made:
        day = made.day()
    print(f"{day.listing}\n{day.said}\n")
    for step, shown in day.results.items():
        print(f"--- {step}{' (error)' if shown and shown.error else ''}\n{shown.text if shown else None}")
    print("---", [f"{each.type}, {len(each.data)} bytes" for each in day.attachments])
    print("offered:", *day.offered)
    print("offered last:", *day.offered_last)
    print("missing:", *day.missing)
    print("aside:", *day.aside)
    print("outward:", *day.outward)
    print("delivered:", dict(day.delivered), f"{day.seconds:.1f} s")
    if bodies:
        bodies.write_text(json.dumps(day.requests, indent=1, ensure_ascii=False), encoding="utf-8")


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
