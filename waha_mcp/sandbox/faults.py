"""Faults on demand, and the request log."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

#: Older requests are forgotten; a body longer than this is not kept.
LOG_LENGTH = 10_000
LOG_BODY_BYTES = 1024 * 1024


@dataclass(slots=True)
class Fault:
    """A fault for the next `count` requests that match.

    `path` is a prefix, or a glob when it holds `*`, of the decoded path. First `delay` seconds pass
    (`POST /sandbox/settle` ends them), then one of: `drop` closes the connection without an answer; `status`, `body`,
    `oversize` or `malformed` answers in WAHA's place; nothing more lets WAHA answer. With `after`, WAHA performs the
    request first, so that its effect stays while its answer is lost. With `above`, only requests match that ask for
    more rows than that.

    With `late`, the request is read at once and performed `late` seconds later, whether or not the client is still
    connected then. With `late` alone, a client that waits gets WAHA's answer; with `drop` or an answer in WAHA's place,
    it gets that at once (after `delay`), as from a proxy that gave up, unless `after` makes it wait for the work.
    """

    path: str = ""
    method: str | None = None
    count: int = 1
    delay: float = 0.0
    late: float | None = None
    drop: bool = False
    after: bool = False
    status: int | None = None
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None
    oversize: int | None = None
    above: int | None = None
    malformed: bool = False

    def matches(self, method: str, path: str, rows: int | None) -> bool:
        if self.above is not None and (rows is None or rows <= self.above):
            return False
        if self.count < 1 or (self.method is not None and self.method.upper() != method):
            return False
        return fnmatchcase(path, self.path) if "*" in self.path else path.startswith(self.path)

    @property
    def replaces(self) -> bool:
        """Whether the answer is the fault's and not WAHA's."""
        return self.malformed or any(each is not None for each in (self.status, self.body, self.oversize))

    def content(self) -> bytes:
        if self.malformed:
            return b'{"id": "true_'
        if self.oversize is not None:
            return b'["' + b"x" * max(self.oversize - 4, 0) + b'"]'
        return (self.body or "").encode()


class Faults:
    """The faults in force, oldest first."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def add(self, wish: Mapping[str, Any]) -> Fault:
        """Add a fault from its JSON.

        Raises:
            ValueError: an unknown field, or an invalid time.
        """
        unknown = set(wish) - set(Fault.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}")
        for name in ("delay", "late"):
            seconds = wish.get(name, 0)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
                raise ValueError(f"{name} must be a number of seconds, 0 or more, not {seconds!r}")
        fault = Fault(**wish)
        self.active.append(fault)
        return fault

    def take(self, method: str, path: str, rows: int | None) -> Fault | None:
        """The first fault for this request, used up once. `rows` is the `limit` of its query."""
        for fault in self.active:
            if fault.matches(method, path, rows):
                fault.count -= 1
                if not fault.count:
                    self.active.remove(fault)
                return fault
        return None


@dataclass(slots=True)
class Entry:
    """One request as received, and its outcome.

    `status` is None while it is open, when it was dropped, and when the client did not wait for late work. `performed`
    is the time (Unix seconds) at which WAHA had carried out the request; None if it refused, failed or never did.
    """

    time: float
    method: str
    path: str
    query: str
    headers: list[str]
    key: str | None = None
    operation: str | None = None
    body: Any = None
    status: int | None = None
    performed: float | None = None
    #: Length of the answer's body.
    bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class RequestLog:
    """The requests to WAHA's own paths, oldest first, without those under /sandbox/."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=LOG_LENGTH)

    def clear(self) -> None:
        self.entries.clear()


def without_key(query: str) -> str:
    """A request's query as the log keeps it."""
    parts = (part for part in query.split("&") if part)
    return "&".join(
        "x-api-key=***" if unquote(part.partition("=")[0]).lower() == "x-api-key" else part for part in parts
    )
