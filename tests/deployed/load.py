"""Many clients on a deployment, one process of which is killed; their answers, compared with what WAHA has done.

A client whose answer is lost repeats the call with the same arguments, as docs/deploy.md says.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from tests.deployed.deployment import Deployment, deployed
from tests.faults.cells import class_of
from tests.harness import ERAS, NO_PACE_TEXT, texts
from tests.http_server import connected

#: Each has its own key, and a separate chat to write to.
APPS = ("anna", "ben", "cleo", "dan")
#: An App with an hourly limit for its chat; one client in this many uses it.
PACED, LIMIT, ONE_IN = "paced", 8, 8
_PACE = f'[pace]\ntotal = ""\nchat = "{LIMIT}/hour"\nfirst_contacts = ""\ngap = [0, 0]\n'
#: Marks the texts of one client's call.
_NONCE = re.compile(r"nonce-\d+-\d+-end")
#: Seconds between a lost answer and the repeat.
AGAIN = 0.3
#: The most seconds that a call may take on average.
PER_CALL = 0.5
_SEND = "/api/sendText"
#: How many sends WAHA holds back when a process is killed.
HELD = 4
#: Seconds until the killed process is started again.
AWAY = 1.0


@dataclass
class Load:
    """The result of a load. `said`: the last answer about each text, by its chat; `sent`: how often WAHA has each."""

    clients: int
    calls: int
    #: How many processes were killed.
    killed: int = 0
    made: int = 0
    #: Calls whose answer was lost, each of which was repeated.
    lost: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    #: Texts with a lost answer.
    unsure: set[str] = field(default_factory=set)
    sent: Counter[str] = field(default_factory=Counter)
    #: How many of `PACED` WAHA has.
    paced: int = 0
    #: Half of the calls are made.
    half: anyio.Event = field(default_factory=anyio.Event)

    def begin(self) -> None:
        """Count a call."""
        self.made += 1
        if self.made >= self.clients * self.calls / 2:
            self.half.set()

    def broken(self) -> list[str]:
        """False answers, texts that were sent twice, or sends beyond a limit."""
        found = list(self.wrong)
        for text, said in self.said.items():
            count = self.sent[text]
            if count > 1:
                found.append(f"{text}: sent {count} times ({said})")
            if said in ("done", "repeat: done", "repeat: found") and not count:
                found.append(f"{text}: not there although {said}")
            if said in ("not sent", "too fast", "other") and count:
                found.append(f"{text}: there although {said}")
        # A call may have been counted by a process that was killed before it sent anything.
        if not LIMIT - self.paced_lost <= self.paced <= LIMIT:
            found.append(f"{self.paced} messages under a limit of {LIMIT}")
        return found

    @property
    def paced_lost(self) -> int:
        """Calls under the limit whose answer was lost, and whose text did not arrive."""
        return sum(not self.sent[text] for text in self.unsure if text.startswith(PACED))

    def row(self) -> str:
        """Its line of the table in docs/deploy.md."""
        twice = sum(count > 1 for count in self.sent.values())
        unknown = sum(said in ("unknown", "repeat: not known") for said in self.said.values())
        false = len(self.broken()) - len(self.wrong) - twice
        cells = [
            f"{self.clients} x {self.calls}",
            str(self.killed),
            str(self.made),
            str(self.lost),
            str(len(self.wrong)),
            str(len(self.said)),
            str(twice),
            str(unknown),
            str(false),
            f"{self.paced} of {LIMIT}",
            f"{self.made / self.seconds:.0f}",
        ]
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| clients x calls | processes killed | calls | answers lost, and repeated | wrong answers | texts | sent twice "
    "| outcome not known | false words | under the limit | calls/s |"
)


class Client:
    """One client and its calls."""

    def __init__(self, number: int, load: Load, here: Deployment, chats: dict[str, str]) -> None:
        self._load, self._here, self._number = load, here, number
        self._app = PACED if number % ONE_IN == ONE_IN - 1 else APPS[number % len(APPS)]
        self._chat = chats[self._app]
        self._era = ERAS[number // 2 % 2]

    async def work(self, trust: Any) -> None:
        """Make all calls, each until it is answered."""
        done = 0
        while done < self._load.calls:
            try:
                async with connected(
                    self._here.proxy.url, self._here.keys[self._app], self._era, verify=trust
                ) as client:
                    while done < self._load.calls:
                        tool, arguments = self._call(done)
                        self._load.begin()
                        result = await client.call_tool(tool, arguments)
                        if self._heard(tool, arguments, texts(result), is_error=result.is_error):
                            done += 1
                        else:
                            await anyio.sleep(AGAIN)
            except Exception:  # of whatever kind: the answer is lost
                self._load.lost += 1
                self._load.unsure |= {self._call(done)[1].get("text", "")} - {""}
                await anyio.sleep(AGAIN)

    def _call(self, number: int) -> tuple[str, dict[str, Any]]:
        nonce = f"nonce-{self._number}-{number}-end"
        kind = 0 if self._app == PACED else number % 4
        if kind in (0, 2):
            return "send_text", {"chat": self._chat, "text": f"{self._app} {nonce}"}
        if kind == 1:
            # An error that quotes the request.
            return "get_messages", {"chat": f"Nobody {nonce}"}
        return "list_chats", {"limit": 2}

    def _heard(self, tool: str, arguments: dict[str, Any], text: str, *, is_error: bool) -> bool:
        """Record an answer; False if the call has to be repeated."""
        asked = json.dumps(arguments)
        if tool == "send_text":
            said = "too fast" if "per hour" in text and is_error else class_of(text, is_error=is_error)
            if "has been under way for" in text:
                return False
            self._load.said[arguments["text"]] = said
            if said == "other":
                self._load.wrong.append(f"{arguments}: {text[:300]}")
            if said == "too fast" and self._app != PACED:
                self._load.wrong.append(f"{arguments}: the limit of another App: {text[:300]}")
        elif tool == "get_messages":
            if not is_error or _NONCE.findall(text)[:1] != _NONCE.findall(asked):
                self._load.wrong.append(f"{arguments}: {text[:300]}")
        elif is_error or "chats" not in text:
            self._load.wrong.append(f"{arguments}: {text[:300]}")
        if set(_NONCE.findall(text)) - set(_NONCE.findall(asked)) and tool != "list_chats":
            self._load.wrong.append(f"{arguments} got what is another's: {text[:300]}")
        return True


@contextmanager
def place(folder: Path) -> Iterator[Deployment]:
    """A deployment for a load."""
    with deployed(folder, dict.fromkeys(APPS, NO_PACE_TEXT) | {PACED: _PACE}) as here:
        yield here


async def run(here: Deployment, clients: int, calls: int, *, kill: bool) -> Load:
    """This many clients make this many calls each; with `kill`, a process is killed halfway."""
    overview = here.judge.get(f"/api/{here.sandbox.session}/chats/overview?limit=100")
    people = [str(each["id"]) for each in overview if str(each["id"]).endswith("@c.us")]
    # The last ones, since the first person in the list answers.
    chats = dict(zip((*APPS, PACED), people[-len(APPS) - 1 :], strict=True))
    load = Load(clients, calls)
    trust, began = here.proxy.trusted, time.perf_counter()

    async def kill_one() -> None:
        await load.half.wait()
        # Some sends take long, so that a process is killed during one: the first process, or else the second.
        here.judge.forget()
        here.judge.fault(_SEND, count=HELD, delay=60)
        await anyio.to_thread.run_sync(here.judge.await_request, _SEND)
        for replica in here.replicas:
            await anyio.to_thread.run_sync(replica.kill)
            load.killed += 1
            await anyio.sleep(AWAY)
            await anyio.to_thread.run_sync(replica.start)
            if load.lost:
                break
        await anyio.to_thread.run_sync(here.judge.no_faults)
        await anyio.to_thread.run_sync(here.judge.settle)

    with anyio.fail_after(60 + clients * calls * PER_CALL):
        async with anyio.create_task_group() as tasks:
            for number in range(clients):
                tasks.start_soon(Client(number, load, here, chats).work, trust)
            if kill:
                tasks.start_soon(kill_one)
    load.seconds = time.perf_counter() - began
    here.judge.settle()
    for chat in chats.values():
        rows = here.judge.get(f"/api/{here.sandbox.session}/chats/{chat}/messages?limit=100000&downloadMedia=false")
        load.sent.update(row["body"] for row in rows if row["fromMe"] and _NONCE.search(str(row["body"])))
    load.paced = sum(count for text, count in load.sent.items() if text.startswith(PACED))
    return load
