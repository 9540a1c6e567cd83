"""`python -m tests.evals.tasks`: 40 everyday tasks, played by scripts or by a model; fails below the aims.

`--table` writes the result into docs/performance.md. `--only ID` plays these tasks alone.

`--peer NAME=COMMAND` plays them on another server as well, with `{url}`, `{key}` and `{outbox}` in its command; NAME
begins with the name of a file in `peers/`. Both that are there are public, and built so (Node 20 or newer):

    git clone https://github.com/seejux/waha-mcp peers/seejux && git -C peers/seejux checkout bf6123f
    git clone https://github.com/dudu1111685/waha-mcp peers/dudu && git -C peers/dudu checkout d0d5148
    for each in seejux dudu; do (cd peers/$each && npm ci && npm run build); done
    python -m tests.evals.tasks --table \\
      --peer "seejux/waha-mcp 1.0.0 (bf6123f)=env WAHA_BASE_URL={url} WAHA_API_KEY={key} \\
              WAHA_DEFAULT_SESSION=default WAHA_SESSION=default node peers/seejux/dist/index.js" \\
      --peer "dudu1111685/waha-mcp 1.1.0 (d0d5148)=env WAHA_URL={url} WAHA_API_KEY={key} \\
              WAHA_DEFAULT_SESSION=default WAHA_THROTTLE_DISABLED=1 WAHA_THROTTLE=off node peers/dudu/dist/index.js"

`--model NAME --base-url URL` lets a model play instead, as `model_player.py` says, and prints what it has done:
`--api openai` (chat completions, the default; the URL ends before /chat/completions) or `--api anthropic` (messages).
The key is taken from OPENAI_API_KEY or ANTHROPIC_API_KEY, or from the variable that `--key-env` names.
"""

from __future__ import annotations

import argparse
import os
import shlex
from functools import partial

from tests.evals.tasks import report
from tests.evals.tasks.clumsy import clumsy
from tests.evals.tasks.model_player import APIS, ModelPlayer
from tests.evals.tasks.peer_players import PeerPlayer, peer_tasks
from tests.evals.tasks.players import Player, ideal
from tests.evals.tasks.run import EXACT, LENIENT, PEERS, Score, Terms, played
from tests.evals.tasks.stage import Stage, ours, peers
from tests.evals.tasks.task import worlds
from tests.tables import put

OURS, CLUMSY = "waha-mcp, ideal", "waha-mcp, clumsy"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.evals.tasks")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="ID")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--base-url", metavar="URL")
    parser.add_argument("--api", choices=APIS, default="openai")
    parser.add_argument("--key-env", metavar="VARIABLE")
    chosen = parser.parse_args()
    if bool(chosen.model) != bool(chosen.base_url):
        parser.error("--model and --base-url belong together")
    if unknown := {*chosen.only} - {task.id for world in worlds() for task in world.task}:
        parser.error(f"no task {', '.join(sorted(unknown))}")
    return chosen


def main() -> None:
    chosen = _arguments()
    if chosen.model:
        _play_model(chosen)
        return
    columns: dict[str, list[Score]] = {}
    lists: dict[str, int] = {}
    for name, player, terms in ((OURS, ideal, EXACT), (CLUMSY, clumsy, LENIENT)):
        columns[name] = _ours(name, player, terms, chosen.only, lists)
    cannot = {}
    for given in chosen.peer:
        name, command = given.split("=", 1)
        tasks = cannot[name] = peer_tasks(name)

        def player_on(stage: Stage, name: str = name) -> Player:
            lists[name] = max(lists.get(name, 0), stage.listing)
            return PeerPlayer(cannot[name], stage.outbox)

        columns[name] = played(
            partial(peers, command=shlex.split(command)),
            player_on,
            PEERS,
            only=chosen.only,
            leave_out=lambda task, tasks=tasks: bool(tasks[task.id].cannot),  # type: ignore[misc]
        )
    print(report.text(columns))
    if chosen.table:
        put("performance.md", report.section(columns, lists, cannot), report.BEGIN, report.END)
    if not chosen.only and (wrong := report.below(columns[OURS], columns[CLUMSY])):
        raise SystemExit("\n".join(wrong))


def _ours(name: str, player: Player, terms: Terms, only: list[str], lists: dict[str, int]) -> list[Score]:
    def player_on(stage: Stage) -> Player:
        lists[name] = max(lists.get(name, 0), stage.listing)
        return player

    return played(ours, player_on, terms, only=only)


def _play_model(chosen: argparse.Namespace) -> None:
    api = APIS[chosen.api]
    key = os.environ.get(chosen.key_env or api.key_variable)
    player = ModelPlayer(api, chosen.model, chosen.base_url, key)

    def player_on(stage: Stage) -> Player:
        player.instructions = stage.pipe.greeting.get("instructions", "")
        return player

    try:
        scores = played(ours, player_on, LENIENT, only=chosen.only, at_once=1)
    finally:
        player.close()
    print(report.text({chosen.model: scores}))
    print(f"by the service's count: {player.spent.read:,} tokens read, {player.spent.written:,} written")


if __name__ == "__main__":
    main()
