"""The judge: answers and files on disk, compared with WAHA's own log and messages.

Nothing here starts processes or makes requests: a run is a `Run`, and `judged` says for each column what is wrong.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from tests.faults.cells import class_of
from tests.soak.world import MARK, Chats, Rules, maker_of

#: The columns, each of which must be empty.
COLUMNS = (
    "lost", "doubled", "false words", "outside policy", "tracebacks", "leaked keys", "cross-key", "growth", "hung",
)  # fmt: skip
#: Seconds between the end of a command and the first byte that must no longer leave: a look into the store takes that
#: long.
MARGIN = 3.0
#: Text that shows an internal error.
_BROKE = re.compile(
    r"Traceback \(most recent call last\)|waha-mcp had an internal error|Exception ignored in|exception was never "
    r"retrieved"
)
#: Answers after which the call has, or may have, had its effect.
CLAIMS = {"done", "repeat: done", "repeat: found"}
OPEN = {"unknown", "repeat: not known", "repeat: under way", "nothing"}
#: Operations with an effect on the readers of a chat.
_SENDS = re.compile(r"/api/(send(Text|Image|File|Voice|Video|Poll)|forwardMessage)$")


@dataclass
class Call:
    """One call of a tool. Times are Unix seconds."""

    place: str
    app: str
    client: int
    tool: str
    arguments: dict[str, Any]
    began: float
    ended: float = 0.0
    #: The answer; None: it was lost with its process or connection.
    text: str | None = None
    is_error: bool = False
    hung: bool = False
    #: The mark of its effect, if it has one.
    mark: str = ""

    @property
    def said(self) -> str:
        return "nothing" if self.text is None else class_of(self.text, is_error=self.is_error)

    def __str__(self) -> str:
        given = json.dumps(self.arguments, ensure_ascii=False)
        return f"{self.app} {self.tool} {given[:160]} at {self.began:.2f} → {self.said}: {(self.text or '')[:300]}"


@dataclass(frozen=True)
class Span:
    """A period in which an App was paused, or its key revoked."""

    app: str
    begins: float
    ends: float

    def holds(self, time: float) -> bool:
        return self.begins + MARGIN <= time < self.ends


@dataclass
class Growth:
    """The resources of a process that was not killed, after its warm-up and at the end."""

    name: str
    before: Mapping[str, float]
    after: Mapping[str, float]


#: The allowed growth: a share, and a constant on top. Memory is allowed more, since freed memory between used blocks is
#: not returned; the blocks of Python's objects show what is really in use.
BOUNDS: dict[str, tuple[float, float]] = {
    "memory": (0.25, 5e6), "blocks": (0.10, 20_000), "files": (0.0, 10), "threads": (0.0, 10), "tasks": (0.0, 10),
}  # fmt: skip


def outgrown(grown: Growth, bounds: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """The resources that have grown by more than is allowed."""
    for what, before in grown.before.items():
        share, besides = bounds[what]
        most = before * (1 + share) + besides
        if grown.after[what] > most:
            yield f"{grown.name}: {what} from {before:,.0f} to {grown.after[what]:,.0f}, at most {most:,.0f}"


@dataclass
class Place:
    """The data of one place: a WAHA, a store, and their users."""

    name: str
    rules: dict[str, Rules]
    chats: Chats
    #: The App of each client's number, and of each key's name in WAHA's log.
    makers: dict[int, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    #: WAHA's log, and its messages: (chat, from the account itself, text).
    log: list[dict[str, Any]] = field(default_factory=list)
    messages: list[tuple[str, bool, str]] = field(default_factory=list)
    #: A person's own id for each hidden one.
    hidden: dict[str, str] = field(default_factory=dict)
    #: When a person started to approve which mark.
    approved: dict[str, float] = field(default_factory=dict)
    paused: list[Span] = field(default_factory=list)
    revoked: list[Span] = field(default_factory=list)
    #: When the clock that the store uses was set.
    jumps: list[float] = field(default_factory=list)


@dataclass
class Run:
    """Everything that is judged. The names of outputs and files say whose they are."""

    places: dict[str, Place] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    #: The output of processes that was not the answer to a call.
    outputs: dict[str, bytes] = field(default_factory=dict)
    #: The files on disk. `of`: the App that a file belongs to, if it is only one.
    files: dict[str, bytes] = field(default_factory=dict)
    of: dict[str, tuple[str, str]] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    growth: list[Growth] = field(default_factory=list)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=lambda: BOUNDS)
    #: Processes that ended without being told to.
    ended: list[str] = field(default_factory=list)


Findings = dict[str, list[str]]


def judged(run: Run) -> Findings:
    """What is wrong, by column."""
    found: Findings = {column: [] for column in COLUMNS}
    for name, place in run.places.items():
        calls = [call for call in run.calls if call.place == name]
        _effects(place, calls, found)
        found["outside policy"] += _outside(place, calls)
        _shown(place, calls, found)
    _left(run, found)
    found["tracebacks"] += [f"{each} ended by itself" for each in run.ended]
    found["hung"] = [str(call) for call in run.calls if call.hung]
    found["growth"] = [each for grown in run.growth for each in outgrown(grown, run.bounds)]
    return found


# Effects


def _performed(place: Place) -> list[dict[str, Any]]:
    """The requests that WAHA carried out and that change something, except for the admin's."""
    return [
        each
        for each in place.log
        if each["performed"] is not None and each["method"] not in ("GET", "HEAD") and each["key"] != "admin"
    ]


def _effects(place: Place, calls: Iterable[Call], found: Findings) -> None:
    """For each mark, the answers to its calls and how often WAHA has carried it out."""
    done = Counter(
        mark
        for each in _performed(place)
        if _SENDS.search(each["path"])
        for mark in set(_marks(json.dumps(each["body"])))
    )
    there = Counter(mark for _, own, text in place.messages if own for mark in set(_marks(text)))
    by_mark: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.mark:
            by_mark[call.mark].append(call)
    for mark, tries in by_mark.items():
        said = [call.said for call in tries]
        # Both WAHA's log and its messages count: an effect in either is there.
        count = max(done[mark], there[mark])
        told = f"{mark}: WAHA has it {count} times; {' | '.join(map(str, tries))}"
        if count > 1:
            found["doubled"].append(told)
        if not count and not CLAIMS.isdisjoint(said):
            found["lost"].append(told)
        denied = said[-1] not in CLAIMS | OPEN
        if count and denied and (CLAIMS | OPEN).isdisjoint(said):
            found["false words"].append(told)
    for mark in done.keys() - by_mark.keys():
        found["outside policy"].append(f"{mark}: WAHA did what nobody has asked for")


def _outside(place: Place, calls: Iterable[Call]) -> Iterator[str]:
    """Effects that no App was allowed."""
    paces: dict[str, list[float]] = defaultdict(list)
    for each in _performed(place):
        app = place.keys.get(each["key"])
        if app is None:
            yield f"a key that is nobody's ({each['key']}) did {each['method']} {each['path']}"
            continue
        rules, chat = place.rules[app], _chat_of(place, each)
        what = f"{app}: {each['method']} {unquote(each['path'])} to {chat} at {each['time']:.2f}"
        if "send" not in rules.actions:
            yield f"{what}: it may not send"
        elif chat is not None and not rules.may_send(chat, place.chats):
            yield f"{what}: it may not write there"
        elif chat is None:
            yield f"{what}: it names no chat"
        if each["method"] == "DELETE":
            yield f"{what}: no App may delete"
        if any(span.app == app and span.holds(each["time"]) for span in place.paused):
            yield f"{what}: it was paused"
        if not _SENDS.search(each["path"]):
            continue
        if rules.limit is not None:
            paces[app].append(each["time"])
        if rules.asks:
            for mark in _marks(json.dumps(each["body"])):
                if each["time"] < place.approved.get(mark, float("inf")):
                    yield f"{what}: nobody had approved {mark}"
    for app, times in paces.items():
        limit = place.rules[app].limit
        assert limit is not None
        # The limit is for an hour of the store's clock: each period between two jumps of it is counted separately.
        for begins, ends in zip([0.0, *place.jumps], [*place.jumps, float("inf")], strict=True):
            within = sorted(time for time in times if begins <= time < ends)
            for first, last in zip(within, within[limit:], strict=False):
                if last - first < 3600 - 120:
                    yield f"{app}: more than {limit} sends within {last - first:.0f} s, from {first:.2f} on"


def _chat_of(place: Place, entry: Mapping[str, Any]) -> str | None:
    body = entry["body"] if isinstance(entry["body"], dict) else {}
    chat = body.get("chatId")
    if chat is None and isinstance(body.get("messageId"), str):
        chat = body["messageId"].split("_")[1]
    if chat is None and (named := re.search(r"/(?:chats|presence)/([^/]+@[^/]+)", unquote(entry["path"]))):
        chat = named[1]
    if chat is None:
        return None
    chat = str(chat).replace("@s.whatsapp.net", "@c.us")
    return place.hidden.get(chat, chat)


# Shown content


def _marks(text: str) -> list[str]:
    return [match[0] for match in MARK.finditer(text)]


class _Seen:
    """The marks that an App may have seen."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._chats: dict[str, set[str]] = defaultdict(set)
        for chat, _, text in place.messages:
            for mark in _marks(text):
                self._chats[mark].add(place.hidden.get(chat, chat))

    def strange(self, app: str, mark: str) -> tuple[str, str] | None:
        """The column and the text, if the App may not have seen it."""
        if self._place.makers.get(maker_of(mark)) == app:
            return None
        chats = self._chats.get(mark)
        if chats is None:
            return "cross-key", f"{mark} of {self._place.makers.get(maker_of(mark), 'nobody here')}"
        rules = self._place.rules[app]
        if not any(rules.may_read(chat, self._place.chats) for chat in chats):
            return "outside policy", f"{mark} of the chat {', '.join(sorted(chats))}, which it may not read"
        return None


def _shown(place: Place, calls: Iterable[Call], found: Findings) -> None:
    seen = _Seen(place)
    for call in calls:
        if call.text is None:
            continue
        if broke := _BROKE.search(call.text):
            found["tracebacks"].append(f"{broke[0]}: {call}")
        of_others = [mark for mark in _marks(call.text) if place.makers.get(maker_of(mark)) != call.app]
        for mark in of_others:
            if strange := seen.strange(call.app, mark):
                found[strange[0]].append(f"{strange[1]}, in the answer of {call}")
        if of_others and not call.is_error:
            for span in place.revoked:
                if span.app == call.app and span.holds(call.began) and call.ended < span.ends:
                    found["outside policy"].append(f"its key was revoked, and it read: {call}")


# Leaks


def spellings(secret: str) -> set[bytes]:
    """A secret in the encodings in which it must not leak, in lower case: plain, escaped, in hex and base64."""
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1], html.escape(secret)}
    found |= {
        "".join(form.format(byte) for byte in raw)
        for form in ("%{:02x}", "\\u{:04x}", "&#{};", "&#x{:x};", "\\x{:02x}")
    }
    for before in range(3):
        # In base64, at each offset within a longer text, without the ends that depend on neighbours.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * before + raw).decode().rstrip("=")
            begins, ends = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
            found.add(whole[begins:ends])
    return {each.lower().encode() for each in found}


def _left(run: Run, found: Findings) -> None:
    """Secrets in outputs, answers and files."""
    answers = {
        f"answers to {app}": "\n".join(call.text or "" for call in run.calls if call.app == app).encode()
        for app in {call.app for call in run.calls}
    }
    forms = [(number, spellings(secret)) for number, secret in enumerate(sorted(run.secrets))]
    for name, content in [*run.outputs.items(), *run.files.items(), *answers.items()]:
        lower = content.lower()
        for number, needles in forms:
            if places := [at for needle in needles if (at := lower.find(needle)) >= 0]:
                # Neither the secret nor the text around it is shown.
                found["leaked keys"].append(f"{name}: the secret number {number}, at byte {min(places)}")
    for name, content in [*run.outputs.items(), *run.files.items()]:
        text = content.decode(errors="replace")
        if name not in run.files or name.endswith(".jsonl"):
            for broke in _BROKE.finditer(text):
                found["tracebacks"].append(f"{name}: {text[max(broke.start() - 300, 0) : broke.end() + 1500]}")
    for name, (where, app) in run.of.items():
        place = run.places[where]
        seen = _Seen(place)
        content = run.files.get(name) or run.outputs.get(name, b"")
        for mark in set(_marks(content.decode(errors="replace"))):
            if strange := seen.strange(app, mark):
                found[strange[0]].append(f"{strange[1]}, in {name}")
