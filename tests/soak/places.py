"""A place: a WAHA, a store, Apps, servers and clients, and the records for the judge."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import struct
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from random import Random
from typing import Any, Self

import httpx

from tests.attacks.judge import Judge
from tests.harness import command_after, environment
from tests.http_server import LEGACY, MODERN, Served, until, write_app
from tests.redis_server import RedisServer
from tests.serving import free_port
from tests.soak.clients import Client, Shared
from tests.soak.servers import FIRST, Stdio, Way, Web, memory_of
from tests.soak.verdict import Growth, Run
from tests.soak.verdict import Place as Known
from tests.soak.waha import Waha
from tests.soak.world import FORMED, KINDS, MARK, OTHERS, Chats, Rules, apps_of, marks, rules_of

#: The most seconds for a call: the reads before a change and the change itself have 45 each, the look-up of the outcome
#: 12 (docs/safety.md), plus a margin for a busy machine.
PATIENCE = 110.0
#: What a short run shortens: seconds without an answer, seconds of an operation, and seconds between look-ups.
SHORTER = (
    "import waha_mcp.waha.client as client, waha_mcp.policy.delivery as delivery\n"
    "client.READ_TIMEOUT, client.DEADLINE, delivery.LOOK_AGAIN = 3.0, 6.0, (0.0, 0.2)\n"
)
#: A run of at least this many seconds uses the product's own time-outs.
LONG = 240.0
#: The parts of a run after which a process counts as warmed up, and at its end.
WARM, LAST = (0.2, 0.3), (0.9, 1.0)
SESSION = "default"
#: The least and the most seconds between an answer and the next call of a client.
THINK = (0.1, 0.9)
#: The Apps whose keys are not rotated.
LASTING = ("open", "narrow")


class Place:
    """The common part of stdio and HTTP. Everything in it ends with the block."""

    def __init__(self, name: str, engine: str, kinds: Sequence[str], folder: Path, seed: int, seconds: float) -> None:
        self.name, self.folder, self.seed, self.seconds = name, folder, seed, seconds
        self.draw = Random(f"{seed} {name}")
        self.first = FIRST + (SHORTER if seconds < LONG else "")
        self.shared = Shared()
        self._engine, self._kinds = engine, kinds
        self._stack = ExitStack()
        self.outputs: dict[str, list[Path]] = {}
        self.samples: dict[str, list[tuple[float, dict[str, float]]]] = {}
        #: Processes that are not killed, by name.
        self.lasting: dict[str, int] = {}
        self.admin_lock = threading.Lock()

    def __enter__(self) -> Self:
        with self._stack:
            for each in ("config/waha-mcp", "state", "tasks", "out"):
                (self.folder / each).mkdir(parents=True)
            (self.folder / "clock").write_bytes(struct.pack("d", 0.0))
            self.waha = self._stack.enter_context(Waha(self._engine, self.seed, free_port()))
            self.judge = self._stack.enter_context(closing(Judge(self.waha.info)))
            overview = self.judge.get(f"/api/{SESSION}/chats/overview?limit=100")
            people = [str(each["id"]) for each in overview if str(each["id"]).endswith("@c.us")]
            self.chats = Chats.of(people, apps_of(self.name, self._kinds))
            self.rules = rules_of(self.name, self._kinds, self.chats)
            self.known = Known(self.name, self.rules, self.chats)
            lids = self.judge.get(f"/api/{SESSION}/lids?limit=1000")
            self.known.hidden = {each["lid"]: each["pn"] for each in lids}
            self.secrets = {self.waha.info.admin_key}
            self._others = marks(OTHERS)
            self.known.makers[OTHERS] = "others"
            for rules in self.rules.values():
                self._make(rules)
            for chat in self.chats.all:
                self.judge.arrive(chat, f"First {next(self._others)}")
            self.judge.forget()
            self.env = {
                "XDG_CONFIG_HOME": str(self.folder / "config"),
                "XDG_STATE_HOME": str(self.folder / "state"),
                "SOAK_CLOCK": str(self.folder / "clock"),
                "SOAK_TASKS": str(self.folder / "tasks"),
            }
            self.open_store()
            self.start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def apps(self) -> Path:
        return self.folder / "config/waha-mcp"

    # Keys

    def _make(self, rules: Rules) -> None:
        flags = dict.fromkeys(rules.key_actions, True)
        body = {"isAdmin": False, "session": SESSION, "isActive": True, "actions": flags}
        made = self.judge.ask("POST", "/api/keys", body)
        self.known.keys[str(made["id"])] = rules.app
        self.secrets.add(str(made["key"]))
        write_app(self.apps, rules.app, self.waha.info, str(made["key"]), rules.definition)

    def key_of(self, app: str) -> str:
        """The key in its definition."""
        return str(tomllib.loads((self.apps / f"{app}.toml").read_text())["key"])

    def learn_key(self, app: str) -> dict[str, Any]:
        """WAHA's row of the key in its definition."""
        key = self.key_of(app)
        self.secrets.add(key)
        rows = self.surely("GET", "/api/keys")
        [row] = [each for each in rows if each["key"] == key]
        self.known.keys[str(row["id"])] = app
        found: dict[str, Any] = row
        return found

    def surely(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the admin, repeated until it is answered, whatever fails."""
        ends = time.monotonic() + 60
        while True:
            try:
                return self.judge.ask(method, path, body)
            except (httpx.HTTPError, ValueError):
                if time.monotonic() > ends:
                    raise
                time.sleep(0.2)

    # Commands of the person

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        """Run `waha-mcp` as the person of this place; the output is recorded."""
        found = subprocess.run(
            [*command_after(self.first), *arguments],
            env=environment(**self.env, **env),
            capture_output=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        with (self.folder / "out/commands").open("ab") as kept:
            kept.write(f"$ {' '.join(arguments)}\n".encode() + found.stdout + found.stderr)
        return found

    def until_done(self, *arguments: str) -> None:
        """Run a command until it succeeds: the store may be away."""
        ends = time.monotonic() + 60
        while self.command(*arguments).returncode:
            if time.monotonic() > ends:
                raise TimeoutError(f"{arguments} was not done in a minute")
            time.sleep(0.3)

    # Activity beside the clients

    def arrive(self) -> None:
        """A message by somebody, in any chat; some with a picture."""
        chat, mark = self.draw.choice(self.chats.all), next(self._others)
        more: dict[str, Any] = {"mimetype": "image/jpeg"} if self.draw.random() < 0.15 else {}
        with suppress(httpx.HTTPError):
            self.judge.arrive(chat, f"Are you there? {mark}", **more)

    def decide(self) -> None:
        """Answer some of the waiting questions, or none."""
        listed = self.command("approvals", "--json")
        with suppress(ValueError):
            waiting = json.loads(listed.stdout or b"[]")
            for each in self.draw.sample(waiting, min(len(waiting), 2)):
                choice = self.draw.random()
                if choice < 0.4:
                    continue
                began = time.time()
                arguments = ("--yes",) if choice < 0.85 else ("--refuse",)
                if arguments == ("--yes",):
                    for mark in MARK.finditer(json.dumps(each)):
                        self.known.approved.setdefault(mark[0], began)
                self.command("approve", str(each["id"]), *arguments)

    def person_at_client(self, question: dict[str, Any]) -> dict[str, Any]:
        """A person who approves most of what is asked."""
        choice = self.draw.random()
        if choice < 0.7:
            for mark in MARK.finditer(json.dumps(question)):
                self.known.approved.setdefault(mark[0], time.time())
            properties = question["params"]["requestedSchema"]["properties"]
            return {"action": "accept", "content": dict.fromkeys(properties, True)}
        return {"action": "decline" if choice < 0.9 else "cancel"}

    def sample(self) -> None:
        """Record the resources of the processes that are not killed."""
        for name, pid in self.lasting.items():
            os.kill(pid, signal.SIGUSR1)
            told = self.folder / f"tasks/{pid}"
            # Its last report belongs to the sample before; there is none while it is being written.
            tasks, blocks = [*map(float, told.read_text().split() if told.exists() else ()), 0.0, 0.0][:2]
            if blocks:
                had = memory_of(pid) | {"tasks": tasks, "blocks": blocks}
                self.samples.setdefault(name, []).append((time.monotonic(), had))

    # Overridden for stdio and HTTP

    def open_store(self) -> None:
        """Provide a store, and the environment that names it."""

    def start(self) -> None:
        """Start the servers and make the clients."""
        raise NotImplementedError

    def kill(self, choice: int, seconds: float) -> None:
        """Kill a server, and restart it after this many seconds."""
        raise NotImplementedError

    def store_away(self, seconds: float) -> None:
        """Block all writes to the store for this many seconds, longer than the 5 s that a writer waits."""
        path = self.folder / "state/waha-mcp/store.sqlite"
        until(path.exists)
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(min(max(seconds, 6.0), 10.0))  # the time for which it is held
            connection.execute("ROLLBACK")

    #: Whether the store uses the clock of its clients.
    clocked = True

    def set_clock(self, by: float) -> None:
        """Move the clock of all processes of the bridge by so many seconds, once no lost answer has to be repeated.

        A repeat that comes an hour later by the store's clock is not blocked any more, and need not be.
        """
        ends = time.monotonic() + 20
        while self.shared.owed:
            if time.monotonic() > ends:
                return
            time.sleep(0.05)
        path = self.folder / "clock"
        [now] = struct.unpack("d", path.read_bytes())
        with path.open("r+b") as shared:
            shared.write(struct.pack("d", now + by))
        if self.clocked:
            self.known.jumps.append(time.time())

    @property
    def rotated(self) -> list[str]:
        """The Apps whose keys are rotated, and whose processes over stdio are restarted with that."""
        return sorted(app for app, rules in self.rules.items() if rules.kind not in LASTING)

    @property
    def repeated(self) -> list[str]:
        """The Apps whose keys are put into answers by WAHA and others.

        A server does not know a key that stopped working.
        """
        return sorted(app for app, rules in self.rules.items() if rules.kind in LASTING)

    def restart(self, app: str) -> None:
        """Make the server read its App again, if it does not do so by itself."""

    clients: Sequence[Client] = ()

    @property
    def ended(self) -> Iterator[str]:
        """Processes that ended without being told to."""
        yield from ()

    # For the judge

    def tell(self, run: Run, began: float) -> None:
        """Put all records into `run`, once all clients are done."""
        self.judge.no_faults()
        self.judge.settle()
        known = self.known
        known.log = self.judge.requests()
        for row in self.judge.get(f"/api/{SESSION}/chats/overview?limit=1000"):
            chat = str(row["id"])
            if chat.endswith("@newsletter"):
                continue
            path = f"/api/{SESSION}/chats/{chat}/messages?limit=1000000&downloadMedia=false"
            known.messages += [(chat, each["fromMe"], each["body"] or "") for each in self.judge.get(path)]
        run.places[self.name] = known
        run.calls += self.shared.calls
        run.secrets |= self.secrets
        run.ended += self.ended
        for file in sorted(self.folder.rglob("*")):
            beneath = file.relative_to(self.folder)
            if not file.is_file() or beneath.parts[0] in ("config", "clock", "tasks"):
                continue
            name = f"{self.name}/{beneath}"
            (run.outputs if beneath.parts[0] == "out" else run.files)[name] = file.read_bytes()
            for app in self.rules:
                if app in beneath.parts or file.name.startswith(f"{app}."):
                    run.of[name] = self.name, app
        for name, samples in self.samples.items():
            lines = [json.dumps({"at": round(at - began, 1), **had}) + "\n" for at, had in samples]
            (self.folder / f"{name}.samples.jsonl").write_text("".join(lines))
            warm, last = (self._median(samples, began, *part) for part in (WARM, LAST))
            run.growth.append(Growth(f"{self.name}/{name}", warm, last))

    def _median(
        self, samples: list[tuple[float, dict[str, float]]], began: float, begins: float, ends: float
    ) -> Mapping[str, float]:
        within = [each for at, each in samples if begins <= (at - began) / self.seconds <= ends]
        assert within, f"{self.name}: nothing was sampled between {begins:.0%} and {ends:.0%} of the run"
        return {what: statistics.median(each[what] for each in within) for what in within[0]}


class StdioPlace(Place):
    """A process for each App and client, on a SQLite store."""

    def __init__(self, folder: Path, seed: int, seconds: float) -> None:
        super().__init__("stdio", "gows", KINDS, folder, seed, seconds)
        self._ways: dict[str, list[Stdio]] = {}
        self._numbers: dict[Stdio, int] = {}

    def start(self) -> None:
        # Two processes of the same App, one of which is never killed.
        apps = [*self.rules, f"{self.name}-open"]
        starting = []
        for number, app in enumerate(apps):
            thread = threading.Thread(target=self._begin, args=(number, app))
            thread.start()
            starting.append(thread)
        for thread in starting:
            thread.join()
        assert sum(map(len, self._ways.values())) == len(apps), "not every server started"
        for app in self.repeated:
            self.lasting[app] = self._ways[app][0].pid
        self.clients = [
            Client(
                number, self.name, self.rules[app], self.chats, way, self.shared,
                seed=self.seed, think=THINK,
            )
            for app, ways in self._ways.items()
            for way in ways
            for number in [self._numbers[way]]
        ]  # fmt: skip

    def _begin(self, number: int, app: str) -> None:
        name = f"{app}.{number}"
        way = Stdio(
            [*command_after(self.first), "serve", "--app", app],
            self.env,
            self.folder / f"out/{name}.out",
            self.folder / f"out/{name}.err",
            patience=PATIENCE,
            person=self.person_at_client if self.rules[app].kind == FORMED else None,
        )
        self._stack.callback(way.close)
        self.known.makers[number] = app
        self._numbers[way] = number
        self._ways.setdefault(app, []).append(way)

    def kill(self, choice: int, seconds: float) -> None:
        ways = [way for ways in self._ways.values() for way in ways if way.pid not in self.lasting.values()]
        # Its client restarts it with the next call.
        ways[choice % len(ways)].kill()

    def restart(self, app: str) -> None:
        for way in self._ways[app]:
            way.stop()

    @property
    def ended(self) -> Iterator[str]:
        for app, ways in self._ways.items():
            for way in ways:
                yield from [f"a process of {app}"] * way.ended


class HttpPlace(Place):
    """Two processes of `serve --http`, on one Redis where there is one, with clients of both eras."""

    FIRST_NUMBER = 0x20

    def __init__(self, folder: Path, seed: int, seconds: float) -> None:
        kinds = [each for each in KINDS if each != FORMED]
        super().__init__("http", "noweb", kinds, folder, seed, seconds)
        self.redis: RedisServer | None = None

    def open_store(self) -> None:
        if RedisServer.installed():
            self.redis = RedisServer(self.folder / "redis", "--appendonly", "yes").start()
            self._stack.callback(self.redis.end)
            self.env["WAHA_MCP_STORE"] = self.redis.url
            self.clocked = False

    def start(self) -> None:
        env = {name: value for name, value in self.env.items() if name != "XDG_STATE_HOME"}
        self.servers = [
            Served(
                *("--apps", str(self.apps)),
                first=self.first,
                state=self.folder / "state",
                port=free_port(),
                **env,
            )
            for _ in range(2)
        ]
        for server in self.servers:
            self._stack.enter_context(server)
        # The second one is killed; the first one never is.
        self.lasting["the server"] = self.servers[0].pid
        apps = [*self.rules, f"{self.name}-open", f"{self.name}-narrow"]
        self.clients = []
        for number, app in enumerate(apps, self.FIRST_NUMBER):
            way: Way = Web(
                self.servers,
                lambda app=app: self.key_of(app),  # type: ignore[misc]
                (MODERN, LEGACY)[number % 2],
                Random(f"{self.seed} way {number}"),
                patience=PATIENCE,
            )
            self.known.makers[number] = app
            self.clients.append(
                Client(
                    number, self.name, self.rules[app], self.chats, way, self.shared,
                    seed=self.seed, think=THINK,
                )
            )  # fmt: skip

    def kill(self, choice: int, seconds: float) -> None:
        self.servers[1].kill()
        time.sleep(min(seconds, 5.0))  # the time for which it is away
        self.servers[1].start(PATIENCE)  # a busy machine takes longer

    def store_away(self, seconds: float) -> None:
        if self.redis is None:
            super().store_away(seconds)
            return
        self.redis.end(kill=True)
        time.sleep(min(max(seconds, 2.5), 10.0))  # the time for which it is away
        self.redis.start()

    def tell(self, run: Run, began: float) -> None:
        super().tell(run, began)
        for number, server in enumerate(self.servers):
            run.outputs[f"http/server {number}"] = server.log().encode()
            code = server.poll()
            if code is not None:
                run.ended.append(f"server {number}, with {code},")
