"""A store in Redis, shared by processes on several machines. Each step is one Lua script, on Redis's own clock.

Every process remembers the id of the store and how many writes it has seen; each machine keeps the id in a file of the
state folder. A Redis with another id or fewer writes has lost data: it is marked as such, and from then on every step
of every process raises StoreAway until the user accepts the loss (`accept_loss`), since counts would start from zero.

Steps are idempotent: if the connection breaks before the answer, the step is sent once more with the same ids. A step
without an answer within `TIMEOUT` raises StoreAway; Redis will not run it later, but may have run it already.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis import Redis as Client
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from waha_mcp.files import write_atomically
from waha_mcp.store import KEPT, Count, Full, Row, StoreAway, Taken
from waha_mcp.store import redis_scripts as scripts
from waha_mcp.store.redis_scripts import GUARDED, PREFIX
from waha_mcp.store.redis_url import RedisUrl

logger = logging.getLogger(__name__)

#: Timeout in seconds for connecting and for an answer.
TIMEOUT = 2.0
#: Seconds between heartbeats of a process, and for which it counts as alive after one.
BEAT, LIVES = 3.0, 15.0
#: Seconds between checks of Redis's configuration.
LOOK = 60.0
#: The channel for announcements of changes (`changes`).
CHANNEL = f"{PREFIX}changes"
#: Milliseconds for which a repeated swap is recognized.
_DONE = 20_000
#: The oldest Redis whose scripts may write after reading the time.
_OLDEST = 5

_KEPT = round(KEPT * 1e6)


class Redis:
    """A Store in Redis. It connects with the first step. After StoreAway, the next step tries again."""

    shared = True

    def __init__(self, url: RedisUrl, memory: Path | None = None, *, timeout: float = TIMEOUT) -> None:
        """`memory`: the file in which this machine keeps the id of the store; None: nowhere."""
        self.url, self._memory, self._timeout = url, memory, timeout
        self._lock = threading.Lock()
        self._client: Client | None = None
        #: In a cluster, the node with our keys.
        self._node: tuple[str, int] | None = None
        #: The id of the store ("": not known), and how many of its writes were seen. None: not read yet.
        self._known: tuple[str, int] | None = None
        #: The offset from the monotonic clock to Redis's clock.
        self._offset: float | None = None
        #: When the configuration was checked, and until when an unresponsive Redis is left alone (monotonic).
        self._looked = self._hangs = float("-inf")
        self._process, self._held = "", float("-inf")
        self._holding = threading.Lock()
        self._stop = threading.Event()

    # Who has it open

    @property
    def process(self) -> str:
        """The id of this open store. It is another one after Redis was away for longer than `LIVES`."""
        with self._holding:
            if not self._process or time.monotonic() - self._held > LIVES / 2:
                self._hold()
            return self._process

    def _hold(self) -> None:
        """Send a heartbeat, with a new id if the old one has expired."""
        if not self._process or not self._held_on(self._process):
            new = secrets.token_hex(8)
            self._held_on(new, new=True)
            if not self._process:
                self._stop = threading.Event()
                threading.Thread(target=self._beat, args=(self._stop,), name="store", daemon=True).start()
            self._process = new

    def _held_on(self, process: str, *, new: bool = False) -> bool:
        asked = time.monotonic()
        lives = bool(self._step(scripts.HOLD, [f"process:{process}"], int(new), round(LIVES * 1000)))
        if lives:
            self._held = asked
        return lives

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT):
            with contextlib.suppress(StoreAway), self._holding:
                if not stop.is_set():
                    self._hold()

    def alive(self, process: str) -> bool:
        return bool(self._step(scripts.ALIVE, [f"process:{process}"]))

    def now(self) -> float:
        """Redis's time, as estimated by this process. Blocks only before the first step."""
        if self._offset is None:
            self._step("return answer('ok', 1)", [])
        assert self._offset is not None
        return time.monotonic() + self._offset

    # Rows

    def get(self, table: str, key: str) -> str | None:
        found: str | None = self._step(scripts.GET, [f"rows:{table}"], key)
        return found

    def rows(self, table: str, prefix: str = "") -> list[Row]:
        found = self._step(scripts.ROWS, _rows(table)[:2], prefix)
        parts = [(int(made), Row(key, value)) for key, (made, _, value) in _packed(found)]
        return [row for _, row in sorted(parts, key=lambda part: part[0])]

    def swap(
        self, table: str, key: str, before: str | None, after: str | None, *, expires: float | None = None
    ) -> bool:
        ends = "" if expires is None else f"{expires * 1e6:.0f}"
        values = (int(before is not None), before or "", int(after is not None), after or "")
        keys = [*_rows(table), f"done:{secrets.token_hex(8)}"]
        return bool(self._step(scripts.SWAP, keys, key, *values, ends, _DONE))

    def claim(self, table: str, wanted: Mapping[str, str]) -> dict[str, str]:
        found = self._step(scripts.CLAIM, _rows(table), *(part for row in wanted.items() for part in row))
        return dict(zip(wanted, found, strict=True))

    def trim(self, table: str, prefix: str, most: int) -> None:
        self._step(scripts.TRIM, _rows(table), prefix, most)

    # Events

    def take(self, counts: Iterable[Count]) -> Taken:
        return self._take(list(counts), keep=True)

    def check(self, counts: Iterable[Count]) -> None:
        self._take(list(counts), keep=False)

    def _take(self, counts: Sequence[Count], *, keep: bool) -> Taken:
        events = [secrets.token_hex(8) for _ in counts]
        told: list[str | int] = []
        for event, each in zip(events, counts, strict=True):
            told += [event, len(each.limits)]
            told += [part for limit in each.limits for part in (limit.amount, round(limit.window * 1e6))]
        full = self._step(scripts.TAKE, [f"events:{each.key}" for each in counts], int(keep), _KEPT, *told)
        if full:
            count = counts[full[0]]
            raise Full(count, count.limits[full[1]], full[2] / 1e6)
        return [f"{event}/{each.key}" for event, each in zip(events, counts, strict=True)]

    def give_back(self, taken: Taken) -> None:
        events = [str(each).partition("/") for each in taken]
        if events:
            self._step(scripts.GIVE_BACK, [f"events:{key}" for _, _, key in events], *(event for event, _, _ in events))

    def events(self, prefix: str, window: float) -> dict[str, list[float]]:
        whole = f"{PREFIX}events:{prefix}"
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", whole) + "*"
        found = self._step(scripts.EVENTS, [], whole, pattern, round(window * 1e6))
        return {
            f"{prefix}{rest}": [int(at) / 1e6 for at in times]
            for rest, times in zip(found[::2], found[1::2], strict=True)
        }

    # The rest

    def flush(self) -> None:
        """Wait until writes are on Redis's disk, if it can tell: from version 7.2, with `appendonly`.

        Deleted data stays in that file until Redis rewrites it (BGREWRITEAOF).
        """
        with self._errors():
            pipe = self._connected().pipeline(transaction=False)
            # On the same connection, as it waits for no other's writes.
            pipe.incr(f"{PREFIX}number")
            pipe.execute_command("WAITAOF", 1, 0, round(self._timeout * 500))  # type: ignore[no-untyped-call]
            pipe.execute(raise_on_error=False)

    def publish(self, message: str) -> None:
        """Send a message to all who listen on `CHANNEL` now.

        Raises:
            StoreAway: it may not have gone out.
        """
        with self._errors():
            self._connected().publish(CHANNEL, message)

    def close(self) -> None:
        """Disconnect and end this process's id. The next step connects with a new id."""
        with self._holding:
            self._stop.set()
            process, self._process = self._process, ""
        if process:
            with contextlib.suppress(StoreAway), self._errors():
                self._connected().delete(f"{PREFIX}process:{process}")
        self._disconnect()

    def accept_loss(self) -> bool:
        """Accept a Redis that has lost data, for all processes on all machines; whether it had lost any.

        Raises:
            StoreAway: Redis cannot be reached.
        """
        with self._errors():
            client = self._connected()
            known, _ = self._id()
            found = client.eval(scripts.ACCEPT, len(GUARDED), *GUARDED, known, secrets.token_hex(8))
        return bool(found)

    # Steps

    def _step(self, body: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a script and return its result, with one retry where that cannot run it twice.

        Raises:
            StoreAway: as the module says.
        """
        whole = [*GUARDED, *(f"{PREFIX}{key}" for key in keys)]
        again = True
        with self._errors():
            while True:
                try:
                    state, result = self._ask(body, whole, arguments)
                except exceptions.ResponseError as error:
                    node = _moved(error)
                    if node is None or not again:
                        raise
                    self._go_to(node)
                except exceptions.ConnectionError as error:
                    # Not those that are an answer: of a wrong password, or while it reads its data.
                    if not again or type(error) is not exceptions.ConnectionError:
                        raise
                    self._looked = float("-inf")
                else:
                    if state == "ok":
                        return result
                    if state == "lost":
                        raise self._away(_LOST)
                    if not again:
                        raise self._away("its clock jumps")
                again = False

    def _ask(self, body: str, keys: Sequence[str], arguments: Sequence[str | int]) -> tuple[str, Any]:
        client = self._connected()
        script, digest = scripts.guarded(body)
        known, seen = self._id()
        deadline = self.now() + self._timeout
        given = [*keys, known, seen, secrets.token_hex(8), f"{deadline * 1e6:.0f}", *arguments]
        sent = time.monotonic()
        try:
            answer: Any = client.evalsha(digest, len(keys), *given)
        except exceptions.NoScriptError:
            answer = client.eval(script, len(keys), *given)
        self._set_clock(answer[1] / 1e6, sent)
        if answer[0] == "ok":
            self._learn(answer[2], answer[3])
        return answer[0], answer[4] if len(answer) > 4 else None

    def _set_clock(self, redis: float, sent: float) -> None:
        # The time was read between sending and now.
        self._offset = redis - (sent + time.monotonic()) / 2

    def _id(self) -> tuple[str, int]:
        with self._lock:
            if self._known is None:
                found = ""
                if self._memory is not None:
                    with contextlib.suppress(OSError, UnicodeDecodeError):
                        found = self._memory.read_text(encoding="utf-8").strip()
                self._known = (found, 0)
            return self._known

    def _learn(self, store: str, number: int) -> None:
        with self._lock:
            known, seen = self._known or ("", 0)
            self._known = (store, max(seen, number) if store == known else number)
            if store != known and self._memory is not None:
                try:
                    write_atomically(self._memory, f"{store}\n", 0o600)
                except OSError as error:
                    logger.warning("The store that this machine uses cannot be recorded: %s", error.strerror or error)

    # Connecting

    def _connected(self) -> Client:
        """The client, once Redis is known to be set up as it must be."""
        with self._lock:
            if self._client is None:
                options = self.url.connecting(self._timeout)
                if self._node is not None:
                    options["host"], options["port"] = self._node
                self._client = Client(**options, retry=Retry(NoBackoff(), 0), encoding_errors="surrogatepass")
            client = self._client
        if time.monotonic() - self._looked > LOOK:
            self._look(client)
        return client

    def _look(self, client: Client) -> None:
        found: Mapping[str, Any] = client.info()
        if int(str(found["redis_version"]).partition(".")[0]) < _OLDEST:
            raise self._away(f"it is version {found['redis_version']}; it has to be {_OLDEST} or newer")
        if found.get("role") == "slave":
            raise self._away("it is a replica. Name its primary in WAHA_MCP_STORE")
        policy = str(found.get("maxmemory_policy", "noeviction"))
        if found.get("maxmemory") and policy != "noeviction":
            raise self._away(
                f"it may drop what was counted when its memory is full (maxmemory-policy {policy}). Set "
                "maxmemory-policy to noeviction"
            )
        sent = time.monotonic()
        seconds, micros = client.time()
        self._set_clock(seconds + micros / 1e6, sent)
        self._looked = time.monotonic()

    def _go_to(self, node: tuple[str, int] | None) -> None:
        """Use this node of a cluster from now on; None: the one of the URL, which knows the others."""
        if node != self._node:
            self._node = node
            self._disconnect()

    def _disconnect(self) -> None:
        with self._lock:
            client, self._client = self._client, None
            self._looked = float("-inf")
        if client is not None:
            with contextlib.suppress(exceptions.RedisError, OSError):
                client.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of Redis into StoreAway. While it is unresponsive, other callers do not wait for it."""
        if time.monotonic() < self._hangs:
            raise self._away(self._no_answer())
        try:
            yield
        except exceptions.TimeoutError:
            self._hangs = time.monotonic() + self._timeout
            self._looked = float("-inf")
            self._go_to(None)
            raise self._away(self._no_answer()) from None
        except (exceptions.RedisError, OSError) as error:
            self._looked = float("-inf")
            self._go_to(None)
            raise self._away(_why(error)) from None

    def _no_answer(self) -> str:
        reached = "does it speak TLS there" if self.url.tls else "can it be reached"
        return f"it has not answered within {self._timeout:g} s. Is it running, and {reached}?"

    def _away(self, why: str) -> StoreAway:
        return StoreAway(
            f"The store in Redis at {self.url.where} cannot be used: {why}{'' if why[-1] in '?)' else '.'}"
        )


_LOST = (
    "it has lost data (it was emptied or replaced, or started again without all that was written). `waha-mcp store "
    "--accept-loss` goes on with what it has; lost records of recent sends, first contacts, open questions and "
    "pauses start from zero"
)


def _moved(error: exceptions.ResponseError) -> tuple[str, int] | None:
    """The node of a cluster that has our keys, where that is the answer. Older libraries have it as text."""
    if isinstance(error, exceptions.MovedError):
        return error.host, error.port
    found = re.fullmatch(r"MOVED \d+ (.+):(\d+)", str(error))
    return None if found is None else (found[1], int(found[2]))


#: Redis's error codes (first word) and their meaning. Older versions have them inside the text.
_ANSWERS = {
    "NOPERM": "its user may not do that (ACL). It needs the keys and channels {waha-mcp}:* and +@all -@dangerous +info",
    "READONLY": "it is a replica. Name its primary in WAHA_MCP_STORE",
    "OOM": "its memory is full. Raise its maxmemory, or make room",
    "MISCONF": "it cannot write to its disk. Look at its log",
    "LOADING": "it is reading its data after a start. Try again soon",
    "MASTERDOWN": "it is a replica without its primary. Name the primary in WAHA_MCP_STORE",
    "CLUSTERDOWN": "its cluster is down. Look at its nodes",
    "BUSY": "it is busy with a script of somebody",
    "NOAUTH": "it asks for a password. Put it into the URL in WAHA_MCP_STORE",
    "WRONGPASS": "it does not accept the user and password in WAHA_MCP_STORE",
    "WRONGTYPE": "another program uses its keys {waha-mcp}:*. Name another database in WAHA_MCP_STORE",
}


def _why(error: Exception) -> str:
    """The problem and its fix. Never the text of an error, which may quote what was sent."""
    text = str(error)
    for word, meaning in _ANSWERS.items():
        if re.search(rf"\b{word}\b", text):
            return meaning
    match error:
        case exceptions.BusyLoadingError():
            return _ANSWERS["LOADING"]
        case exceptions.ReadOnlyError():
            return _ANSWERS["READONLY"]
        case exceptions.OutOfMemoryError():
            return _ANSWERS["OOM"]
        case exceptions.MasterDownError():
            return _ANSWERS["MASTERDOWN"]
        case exceptions.ClusterDownError():
            return _ANSWERS["CLUSTERDOWN"]
        case exceptions.NoPermissionError() | exceptions.AuthorizationError():
            return _ANSWERS["NOPERM"]
        case exceptions.AuthenticationError():
            return _ANSWERS["NOAUTH" if "required" in text else "WRONGPASS"]
        case exceptions.ConnectionError() | OSError():
            return f"it cannot be reached ({_cause(error)}). Is it running, and is the address in WAHA_MCP_STORE right?"
    return f"it answers with an error ({type(error).__name__})"


def _cause(error: BaseException) -> str:
    """Of a connection that failed, the reason as the operating system or TLS has it."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError):
            return f"TLS: {at.verify_message}"
        if isinstance(at, ssl.SSLError):
            return "TLS: does it speak TLS on this port?"
        if isinstance(at, OSError) and at.strerror:
            return at.strerror
        at = at.__cause__ or at.__context__
    return "the connection broke off"


def _rows(table: str) -> list[str]:
    return [f"rows:{table}", f"keys:{table}", f"ends:{table}"]


def _packed(found: Sequence[str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Keys and the parts of packed rows, from keys and packed rows in turn."""
    for key, packed in zip(found[::2], found[1::2], strict=True):
        made, expires, value = packed.split(":", 2)
        yield key, (made, expires, value)
