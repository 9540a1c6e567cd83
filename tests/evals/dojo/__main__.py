"""`python -m tests.evals.dojo`: how many of AgentDojo's attacks get through each profile, and what gets done.

Exits with 1 if a cell is worse than in snapshot.json, or an invariant does not hold. AgentDojo is installed into the
user's cache; if that fails, a line says so, and the exit code is 0.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.attacks.__main__ import copied, run
from tests.clients_real.environments import NotInstalled
from tests.evals.dojo import scores
from tests.evals.dojo.conversations import AGENTDOJO, Column, Player, played

#: What `--without-recipient-check` switches off: the refusal of recipients that the App's lists do not allow.
CHECK = ("policy/gate.py", "if verdict is Verdict.NO]", "if False]")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.evals.dojo", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few columns, some with a fixed part of the pairs")
    parser.add_argument("--only", metavar="TEXT", help="only columns whose name holds this")
    parser.add_argument("--update", action="store_true", help="write what was found into snapshot.json")
    parser.add_argument("--table", action="store_true", help=f"write the table of docs/{scores.PAGE}")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="columns at a time")
    parser.add_argument(
        "--without-recipient-check", action="store_true", help="on a copy in which it is switched off: must turn red"
    )
    asked = parser.parse_args()
    if asked.without_recipient_check:
        given = [each for each in sys.argv[1:] if each != "--without-recipient-check"]
        with copied([CHECK]) as folder:
            ran = run(folder, "-m", "tests.evals.dojo", *given)
        print(ran.stdout, ran.stderr, sep="", end="")
        return ran.returncode
    if (asked.small and asked.update) or (asked.table and (asked.small or asked.only)):
        parser.error("--update needs all pairs of a column, and --table all columns")
    chosen = [
        each
        for each in scores.columns()
        if (not asked.small or each.key in scores.SMALL) and (asked.only or "") in each.key
    ]
    began = time.monotonic()
    try:
        found = _found(chosen, small=asked.small, workers=asked.workers)
    except NotInstalled as why:
        print(f"SKIPPED: {AGENTDOJO} cannot be installed: {why}")
        return 0
    print(f"{sum(each.pairs for each in found.values())} conversations in {time.monotonic() - began:.0f} s")
    wrong = scores.broken(found)
    if asked.update:
        scores.write(scores.read() | found)
    else:
        wrong += scores.worse(found, scores.read())
    if asked.table and not wrong:
        scores.write_table(found)
    for line in wrong:
        print(f"WORSE  {line}")
    return 1 if wrong else 0


def _found(chosen: list[Column], *, small: bool, workers: int) -> dict[str, scores.Cells]:
    """The cells of each column, by its key; prints a line for each as it is done.

    Raises:
        NotInstalled: AgentDojo cannot be installed here.
    """
    players: queue.SimpleQueue[Player] = queue.SimpleQueue()
    opened = []

    def one(column: Column) -> scores.Cells:
        player = players.get()
        try:
            pairs = scores.pairs_of(column, player.suite, small=small)
            made = scores.Cells.of(played(column, pairs, player))
        finally:
            players.put(player)
        attacks, judged = made.judged
        done = made.users - len(made.undone)
        print(f"{column.key:<55} attacks {attacks:>2} of {judged}, done {done} of {made.users}", flush=True)
        return made

    try:
        for _ in range(max(1, min(workers, len(chosen)))):
            opened.append(Player())
            players.put(opened[-1])
        with ThreadPoolExecutor(len(opened)) as pool:
            return dict(zip([each.key for each in chosen], pool.map(one, chosen), strict=True))
    finally:
        for each in opened:
            each.close()


if __name__ == "__main__":
    sys.exit(main())
