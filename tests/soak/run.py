"""One run: places, their clients, and the scheduled disturbances."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.soak.places import LONG, PATIENCE, SESSION, HttpPlace, Place, StdioPlace
from tests.soak.schedule import LANES, Disturbance, drawn
from tests.soak.verdict import BOUNDS, Findings, Growth, Run, Span, judged

PLACES = ("stdio", "http")
#: The growth that a process is allowed in a run too short for warming up.
SHORT = BOUNDS | {"memory": (0.25, 25e6), "blocks": (0.5, 0), "files": (0, 60), "threads": (0, 20), "tasks": (0, 100)}
#: Seconds between samples of the processes, between messages that arrive, and between the person's looks at the
#: questions.
SAMPLED, ARRIVES, LOOKS = 2.0, 0.8, 3.0
#: The texts that show that a limit was hit, or a disturbance took effect.
WORDS = {
    "refused by a list": "may not write to",
    "over the pace": "Over the App's limit",
    "paused": "aused by the user",
    "waited for a person": "waiting for approval",
    "refused by a person": "efused this",
    "declined at the client": "Declined at the client",
    "no store": "cannot be used",
    "key refused": "401",
    "outcome not known": "outcome is unknown",
    "no connection": "Connecting to WAHA",
}
_SEND = "/api/send*"
_PAGE = {"body": "<html><h1>Bad gateway</h1></html>", "content_type": "text/html"}


@dataclass
class Soak:
    """The results."""

    seed: int
    seconds: float
    found: Findings
    calls: Counter[str] = field(default_factory=Counter)
    disturbed: Counter[str] = field(default_factory=Counter)
    growth: list[Growth] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    #: How many answers contained which of `WORDS`.
    told: Counter[str] = field(default_factory=Counter)
    redis: bool = True

    @property
    def broken(self) -> bool:
        return any(self.found.values())


def _print(line: str) -> None:
    print(line, flush=True)


def soak(seconds: float, seed: int, folder: Path, note: Callable[[str], None] = _print) -> Soak:
    """Run for so many seconds, and judge."""
    schedule = drawn(seed, seconds, PLACES)
    with ExitStack() as stack:
        places: dict[str, Place] = {}
        for made in (StdioPlace(folder / "stdio", seed, seconds), HttpPlace(folder / "http", seed, seconds)):
            places[made.name] = stack.enter_context(made)
        note(f"seed {seed}: {sum(len(each.clients) for each in places.values())} clients for {seconds:.0f} s")
        stop, failed = threading.Event(), threading.Event()
        failures: list[BaseException] = []

        def guarded(work: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                try:
                    work()
                except BaseException as error:
                    failures.append(error)
                    failed.set()
                    raise

            return run

        began = time.monotonic()
        # One counter per lane, written only by the lane's thread.
        happened: list[Counter[str]] = []
        lanes = []
        for place in PLACES:
            for lane in LANES:
                of_lane = [each for each in schedule if (each.place, each.lane) == (place, lane)]
                happened.append(Counter())
                work = guarded(_lane(places[place], of_lane, began, happened[-1]))
                lanes.append(threading.Thread(target=work, daemon=True))
        beside = [
            threading.Thread(target=guarded(_every(wait, work, stop)), daemon=True)
            for here in places.values()
            for wait, work in ((min(SAMPLED, seconds / 20), here.sample), (ARRIVES, here.arrive), (LOOKS, here.decide))
        ]
        for thread in [*lanes, *beside, *(client for each in places.values() for client in each.clients)]:
            thread.start()
        failed.wait(max(began + seconds - time.monotonic(), 0))
        for thread in () if failed.is_set() else lanes:
            thread.join()
        for here in places.values():
            here.shared.stop.set()
        stop.set()
        for thread in [*beside, *(client for each in places.values() for client in each.clients)]:
            thread.join(2 * PATIENCE)
        for here in places.values():
            failures += here.shared.failures
        if failures:
            raise ExceptionGroup("the soak itself failed", [each for each in failures if isinstance(each, Exception)])
        run = Run(bounds=BOUNDS if seconds >= LONG else SHORT)
        for here in places.values():
            here.tell(run, began)
        redis = places["http"].clocked is False
    found = judged(run)
    return Soak(
        seed,
        seconds,
        found,
        Counter(call.place for call in run.calls),
        sum(happened, Counter()),
        run.growth,
        Counter(call.said for call in run.calls if call.mark),
        Counter(
            what for call in run.calls for what, words in WORDS.items() if call.is_error and words in (call.text or "")
        ),
        redis,
    )


def _every(seconds: float, work: Callable[[], None], stop: threading.Event) -> Callable[[], None]:
    def run() -> None:
        while not stop.wait(seconds):
            work()

    return run


def _lane(
    place: Place, disturbances: Sequence[Disturbance], began: float, happened: Counter[str]
) -> Callable[[], None]:
    def run() -> None:
        done: set[str] = set()
        for each in disturbances:
            time.sleep(max(began + each.at - time.monotonic(), 0))
            # On a slow machine, one that would start after the end is skipped, unless it is the first of its kind.
            if each.kind not in done or time.monotonic() < began + place.seconds:
                _KINDS[each.kind](place, each)
                done.add(each.kind)
                happened[each.kind] += 1

    return run


# Disturbances


def _fault(*faults: dict[str, Any]) -> Callable[[Place, Disturbance], None]:
    def add(place: Place, what: Disturbance) -> None:
        for each in faults:
            # The number of requests that it spoils, if it is limited.
            count = 1 + what.choice % each.get("count", 1)
            place.surely("POST", "/sandbox/faults", each | {"count": count})

    return add


def _no_answer(place: Place, what: Disturbance) -> None:
    """WAHA does it after the bridge has timed out."""
    late = 33.0 if place.seconds >= LONG else 4.0
    place.surely("POST", "/sandbox/faults", {"path": _SEND, "late": late, "count": 1})


def _key_repeated(place: Place, what: Disturbance) -> None:
    """An error page with the headers of a request that only this App makes, and a message with its key."""
    app = place.repeated[what.choice % len(place.repeated)]
    key, own = place.key_of(app), place.chats.own[app]
    body = json.dumps({"error": "Bad Gateway", "headers": {"x-api-key": key}})
    place.surely(
        "POST", "/sandbox/faults", {"path": f"/api/{SESSION}/chats/{own}/messages", "status": 502, "body": body}
    )
    place.surely("POST", "/sandbox/messages", {"chatId": own, "text": f"My key is {key}"})


def _sockets(place: Place, what: Disturbance) -> None:
    draw = Random(what.choice)
    place.surely("POST", "/sandbox/socket", draw.choice([{"drop": True}, {"half_open": True}, {"garbage": 3}]))


def _session_down(place: Place, what: Disturbance) -> None:
    place.surely("POST", "/sandbox/session", {"status": "STARTING"})
    time.sleep(what.seconds)  # the time for which it is down
    place.surely("POST", "/sandbox/session", {"status": "WORKING"})


def _restart_waha(place: Place, what: Disturbance) -> None:
    place.waha.go_away()
    time.sleep(min(what.seconds, 10.0))  # the time for which it is away
    place.waha.come_back()


def _kill(place: Place, what: Disturbance) -> None:
    place.kill(what.choice, what.seconds)


def _store_away(place: Place, what: Disturbance) -> None:
    place.store_away(what.seconds)


def _forward(place: Place, what: Disturbance) -> None:
    place.set_clock(Random(what.choice).choice([30.0, 3_700.0, 90_000.0]))


def _back(place: Place, what: Disturbance) -> None:
    place.set_clock(-Random(what.choice).choice([30.0, 3_700.0, 90_000.0]))


def _app(place: Place, what: Disturbance) -> str:
    return sorted(place.rules)[what.choice % len(place.rules)]


def _revoke(place: Place, what: Disturbance) -> None:
    app = _app(place, what)
    row = place.learn_key(app)
    body = {name: row[name] for name in ("isAdmin", "session", "isActive", "actions")}
    place.surely("PUT", f"/api/keys/{row['id']}", body | {"isActive": False})
    begins = time.time()
    time.sleep(what.seconds)  # the time for which it is revoked
    ends = time.time()
    place.surely("PUT", f"/api/keys/{row['id']}", body)
    place.known.revoked.append(Span(app, begins, ends))


def _rotate(place: Place, what: Disturbance) -> None:
    app = place.rotated[what.choice % len(place.rotated)]
    place.command("apps", "rotate", app, "--json", WAHA_ADMIN_KEY=place.waha.info.admin_key)
    place.learn_key(app)
    # The name in WAHA's log of the key of an MCP App, which rotation creates.
    place.known.keys[f"app:{app}"] = app
    place.restart(app)


def _pause(place: Place, what: Disturbance) -> None:
    app = _app(place, what)
    place.until_done("pause", app)
    begins = time.time()
    time.sleep(what.seconds)  # the time for which it is paused
    ends = time.time()
    place.until_done("resume", app)
    place.known.paused.append(Span(app, begins, ends))


_KINDS: dict[str, Callable[[Place, Disturbance], None]] = {
    "an answer is lost, the effect is there": _fault({"path": _SEND, "drop": True, "after": True, "count": 2}),
    "a connection is cut before anything is done": _fault({"path": "/api/", "drop": True, "count": 3}),
    "a proxy gives up, and WAHA does it after that": _fault(
        {"path": _SEND, "late": 0.5, "status": 502, "count": 2}, {"path": _SEND, "late": 3.0, "status": 504, **_PAGE}
    ),
    "no answer in time": _no_answer,
    "answers of 500 to 503": _fault(
        {"path": "/api/", "status": 503, "count": 3, **_PAGE},
        {"path": _SEND, "after": True, "status": 500, "body": '{"exception": {}}'},
    ),
    "an answer that is no JSON": _fault({"path": f"/api/{SESSION}/", "malformed": True, "count": 3}),
    "an answer that repeats the key": _key_repeated,
    "slow answers": _fault({"path": f"/api/{SESSION}/", "delay": 1.5, "count": 4}),
    "the event sockets break": _sockets,
    "the session is down": _session_down,
    "WAHA is restarted": _restart_waha,
    "the bridge is killed": _kill,
    "the store is away": _store_away,
    "the clock is set forward": _forward,
    "the clock is set back": _back,
    "a key is revoked and given back": _revoke,
    "a key is rotated": _rotate,
    "an App is paused": _pause,
}
