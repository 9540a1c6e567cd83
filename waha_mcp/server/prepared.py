"""The prepared opening: the SDK's answers of the previous run, given again while the SDK is still being imported.

A client opens with requests that are the same at every start: initialize or server/discover, perhaps a subscription to
changes, then tools/list and perhaps other listings. Once WAHA has confirmed the key, their answers are kept in a
private file per client, and are sent again at its next start of the same App with the same key. The SDK then gets the
same requests, and what it answers is compared (`rehearsal`). Nothing heavy is imported here.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from waha_mcp import __version__
from waha_mcp.app.inputs import unchanged
from waha_mcp.digests import digest
from waha_mcp.places import STORE, state_root

#: The request for the listing, for which clients wait.
LISTING = "tools/list"
#: The request for a subscription. It stays open; its first answer is a notification that has the request's id.
LISTEN, ACKNOWLEDGED = "subscriptions/listen", "notifications/subscriptions/acknowledged"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
#: All requests for listings, which are as the grant is, and the requests of openings.
LISTINGS = (LISTING, "prompts/list", "resources/list", "resources/templates/list")
OPENING = ("server/discover", "initialize", LISTEN, *LISTINGS)
#: Seconds for which WAHA's confirmation of a listing is valid.
HOLDS = 86_400.0
#: How many clients' openings are kept per way of starting, the latest ones.
CLIENTS = 8
#: Longest line in bytes that can be such a request.
_LONGEST = 16_384


class Prepared:
    """The openings that are prepared for one way of starting the server: one per client, by its first request.

    `openings`: the requests in their order, as `spelled`, and the result of each. `tools`: the names of the tools that
    are listed in them.
    """

    def __init__(self, arguments: Iterable[str], environ: Mapping[str, str] = os.environ) -> None:
        """Look for prepared openings, for these arguments of the command line in this environment.

        Each must be the user's own private file, have been confirmed in the last `HOLDS` seconds, and be of an App file
        and a key that are unchanged.
        """
        self.folder, self._name = state_root() / f"{STORE}.listings", _name(list(arguments), environ)
        self.openings: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.tools = set[str]()
        for path in self._paths()[:CLIENTS]:
            with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
                found = _read_private(path)
                if 0 <= time.time() - found["confirmed"] <= HOLDS and unchanged(found["inputs"]):
                    opening = [(str(request), dict(result)) for request, result in found["opening"]]
                    self.tools |= {tool["name"] for _, result in opening for tool in result.get("tools", ())}
                    self.openings[opening[0][0]] = opening

    def path(self, first: str) -> Path:
        """The file of the opening that begins with this request."""
        return self.folder / f"{self._name}-{digest(first)[:16]}.json"

    def _paths(self) -> list[Path]:
        """The files of this way of starting, the newest first."""
        mine = (path for path in _files(self.folder) if path.name.startswith(f"{self._name}-"))
        return sorted(mine, key=_modified, reverse=True)

    def text(self, inputs: dict[str, Any], opening: Iterable[tuple[str, dict[str, Any]]], confirmed: float) -> str:
        """The content of a file. `confirmed`: when WAHA confirmed it (seconds since 1970)."""
        kept = [(request, _unconfirmed(result)) for request, result in opening]
        return json.dumps({"confirmed": confirmed, "inputs": inputs, "opening": kept})

    def discard(self) -> None:
        """Delete the files of this way of starting."""
        _delete(self._paths())

    def sweep(self) -> None:
        """Delete expired files of all ways of starting, and surplus files of this one."""
        _delete(path for path in _files(self.folder) if time.time() - _modified(path) > HOLDS)
        _delete(self._paths()[CLIENTS:])


class Replies:
    """Answers an opening, as long as each request is exactly the one that is expected next."""

    def __init__(self, prepared: Prepared) -> None:
        self._openings = prepared.openings
        #: What is expected after the first request.
        self._left: list[tuple[str, dict[str, Any]]] | None = None
        #: Whether the request for the listing is answered.
        self.listed = False

    @property
    def begun(self) -> bool:
        """Whether the first request of an opening has been answered."""
        return self._left is not None

    def reply(self, line: bytes) -> tuple[bytes, dict[str, Any]] | None:
        """The line that answers a line, and the result in it; None for any but the expected request."""
        if len(line) > _LONGEST or not (self._openings if self._left is None else self._left):
            return None
        try:
            raw = json.loads(line.decode(), object_pairs_hook=_members)
        except (ValueError, RecursionError):
            return None
        if not isinstance(raw, dict) or raw.keys() - {"params"} != {"jsonrpc", "id", "method"}:
            return None
        if raw["jsonrpc"] != "2.0" or not _plain(raw["id"]):
            return None
        request = spelled(raw["method"], raw.get("params"))
        left = self._openings.get(request, []) if self._left is None else self._left
        if not left or left[0][0] != request:
            return None
        (_, result), *self._left = left
        self.listed |= raw["method"] == LISTING
        answer: dict[str, Any] = {"jsonrpc": "2.0"}
        if raw["method"] == LISTEN:
            meta = result.get("_meta", {}) | {_SUBSCRIPTION: raw["id"]}
            answer |= {"method": ACKNOWLEDGED, "params": result | {"_meta": meta}}
        else:
            answer |= {"id": raw["id"], "result": result}
        return json.dumps(answer, separators=(",", ":")).encode() + b"\n", result


def _files(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _modified(path: Path) -> float:
    """When a file was written (seconds since 1970); long ago if it does not exist."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError if it names a member twice, as what is wrong with the first does not show."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _plain(number: object) -> bool:
    """Whether the SDK certainly accepts it as an id."""
    if isinstance(number, str):
        return number.isascii()
    return type(number) is int and abs(number) < 2**63


def spelled(method: object, params: object) -> str:
    """A request without its id, as text: equal only for equal requests, whatever the order of their members.

    The token for reports of progress is left out as well: clients count their requests in it, as in the id.
    """
    meta = params.get("_meta") if isinstance(params, dict) else None
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    if isinstance(params, dict) and isinstance(meta, dict) and isinstance(token, str | int) and token is not True:
        params = params | {"_meta": {name: value for name, value in meta.items() if name != "progressToken"}}
    return json.dumps([method, params], sort_keys=True)


def acknowledged(params: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Of the parameters of an acknowledgement: the id of the request for the subscription, and the rest of them."""
    meta = dict(params.get("_meta", {}))
    number = meta.pop(_SUBSCRIPTION, None)
    return number, dict(params) | {"_meta": meta}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results say the same."""
    return json.dumps(_unconfirmed(one), sort_keys=True) == json.dumps(_unconfirmed(other), sort_keys=True)


def _unconfirmed(result: dict[str, Any]) -> dict[str, Any]:
    # No client may keep a listing that WAHA has not confirmed in this run.
    return result | {"ttlMs": 0} if "ttlMs" in result else result


def _name(arguments: list[str], environ: Mapping[str, str]) -> str:
    """The prefix of the files' names: a digest of all that decides what is served, except what `inputs` has."""
    variables = sorted((name, value) for name, value in environ.items() if name.startswith("WAHA_"))
    # This option's file is looked for in the working folder, and named in the App's inputs by where it was found.
    folder = os.getcwd() if any(each.startswith("--key-file") for each in arguments) else None
    parts = [__version__, sys.version, arguments, variables, folder, os.path.expanduser("~")]
    return digest(json.dumps(parts))[:40]


def _read_private(path: Path) -> Any:
    """The JSON in a file of this user that nobody else can read or write.

    Raises:
        OSError, ValueError: there is none.
    """
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if sys.platform != "win32" and (found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077):
            raise ValueError
        return json.loads(file.read())
