"""A folder of App definitions that a server serves, each found by its key or its id."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from pydantic import SecretStr

from waha_mcp.app.definition import App, AppError, Disabled, load_app, read_definition, resolve_key
from waha_mcp.digests import key_digest
from waha_mcp.files import stamp_of
from waha_mcp.log import hide

logger = logging.getLogger(__name__)

#: Seconds between two checks of the folder.
LOOK_EVERY = 1.0


@dataclass(frozen=True)
class _Read:
    """A definition as it was read: the App, None if it cannot be used, and the state of each file it was read from.

    `claim`: the digest of the key that it names, whether or not it can be used; None: unknown.
    """

    app: App | None
    why: str
    stamps: dict[Path, object]
    claim: str | None

    @property
    def stands(self) -> bool:
        # The error may be fixed elsewhere: in its key's file, or in the keyring.
        return not self.why and all(stamp_of(path) == stamp for path, stamp in self.stamps.items())


class AppFolder:
    """The Apps in a folder (`*.toml`, `*.json`), by key and by id. Files are read again when they change.

    An App that is disabled, cannot be read, or shares its key or id with another is not found; the log says why. The
    methods may be called from any thread, and block for some milliseconds if a check of the folder is `due`.
    """

    def __init__(self, path: Path) -> None:
        """Read the folder.

        Raises:
            AppError: there is no such folder.
        """
        if not path.is_dir():
            raise AppError(f"--apps: {path} is not a folder")
        self._path = path
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._read: dict[Path, _Read] = {}
        #: The logged reason why each unusable definition cannot be used.
        self._said: dict[Path, str] = {}
        self._by_key: dict[str, App] = {}
        self._by_id: dict[str, App] = {}
        #: The digests of the keys that definitions name, including unusable ones; None for an unknown one.
        self._claims: set[str | None] = set()
        self.apps()

    @property
    def due(self) -> bool:
        """Whether a check of the folder is due. While one thread checks it, others use the previous result."""
        return time.monotonic() - self._looked >= LOOK_EVERY and not self._lock.locked()

    def _keep_up(self) -> None:
        if self.due and self._lock.acquire(blocking=False):
            try:
                self._look()
                self._looked = time.monotonic()
            finally:
                self._lock.release()

    def apps(self) -> list[App]:
        """The Apps that can be used, in the order of their files' names."""
        self._keep_up()
        return list(self._by_id.values())

    def by_key(self, key: SecretStr) -> App | None:
        """The App with this key; None if there is none."""
        self._keep_up()
        return self._by_key.get(key_digest(key))

    def by_id(self, app_id: str) -> App | None:
        """The App with this id; None if there is none."""
        self._keep_up()
        return self._by_id.get(app_id)

    def withholds(self, key: SecretStr) -> bool:
        """Whether a definition that is not served names this key, or may name it, as one whose key cannot be read."""
        self._keep_up()
        known = key_digest(key)
        return known not in self._by_key and not self._claims.isdisjoint({known, None})

    def _look(self) -> None:
        before, self._read = self._read, {}
        for path in sorted(self._path.glob("*.*")):
            # A dangling link counts: it is a definition that cannot be read.
            if path.suffix in (".toml", ".json"):
                read = before.get(path)
                self._read[path] = (
                    read if read is not None and read.stands else _load(path, read.claim if read else None)
                )
        found = {path: read.app for path, read in self._read.items() if read.app is not None}
        keys = Counter(self._read[path].claim for path in found)
        # State is kept in files named after the id, and the file system may ignore case.
        ids = Counter(app.id.casefold() for app in found.values())
        said = {path: read.why for path, read in self._read.items()}
        for path, app in tuple(found.items()):
            twice = "id" if ids[app.id.casefold()] > 1 else "key" if keys[self._read[path].claim] > 1 else None
            if twice is not None:
                said[path] = f"{path}: another definition in the folder has the same {twice}"
                del found[path]
        for path, why in said.items():
            if why and self._said.get(path) != why:
                logger.error("Not served: %s", why)
        self._said = said
        self._claims = {read.claim for read in self._read.values()}
        self._by_id = {app.id: app for app in found.values()}
        self._by_key = {key_digest(app.key): app for app in found.values()}


def _load(path: Path, last_claim: str | None) -> _Read:
    # Observed before reading: a file that changes meanwhile is read again.
    stamps: dict[Path, object] = {path: stamp_of(path)}
    try:
        app = load_app(str(path), alone=True)
    except Disabled:
        return _Read(None, "", stamps, _claim(path) or last_claim)
    except AppError as error:
        return _Read(None, str(error), stamps, _claim(path) or last_claim)
    for secret in app.secrets():
        hide(secret)
    stamps |= {Path(name): stamp_of(Path(name)) for name in (app.inputs or {}).get("files", ())}
    return _Read(app, "", stamps, key_digest(app.key))


def _claim(path: Path) -> str | None:
    """The digest of the key that an unusable definition names; None if it cannot be read."""
    try:
        return key_digest(resolve_key(read_definition(path).get("key"), path.parent, os.environ))
    except AppError:
        return None


#: The prefix of the ids of Apps that are made for keys without a definition.
OPEN = "open-"


class Template:
    """The definition for keys that no definition names: a file without key, id and session, or the strict one.

    The strict one: reading and sending as far as the key allows, and a person is asked before each effect.
    """

    def __init__(self, path: Path | None, url: str | None) -> None:
        """`url`: WAHA's, in place of the file's.

        Raises:
            AppError: the file cannot be used.
        """
        strict = {"approval": "all"} if path is None else {}
        self._load = partial(load_app, None if path is None else str(path), alone=True)
        self._fields = strict | ({} if url is None else {"url": url})
        self._path = path
        self._stamp = stamp_of(path) if path else None
        #: The App of each key, most recent ones only.
        self._made = lru_cache(maxsize=1_000)(self._make)
        self._make(SecretStr("unknown-yet"))

    def app_for(self, key: SecretStr) -> App:
        """The App of a key, by the file's current content. Blocks; may be called from any thread.

        Raises:
            AppError: the key is not valid, or the file can no longer be used.
        """
        if self._path is not None and (stamp := stamp_of(self._path)) != self._stamp:
            self._made.cache_clear()
            self._stamp = stamp
        return self._made(key)

    def _make(self, key: SecretStr) -> App:
        fields = {} if self._path is None else read_definition(self._path)
        if own := sorted({"key", "id", "session"} & fields.keys()):
            raise AppError(f"--template: {self._path}: {', '.join(own)}: each key has its own, so leave it out")
        return self._load(overrides=self._fields | {"key": key, "id": f"{OPEN}{key_digest(key)[:16]}"})
