"""The trail: one JSON line per call, in a file that only the user can read. A thread writes it, so no call waits."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import queue
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from waha_mcp.log import redact_json
from waha_mcp.store.folders import state_dir

logger = logging.getLogger(__name__)

#: Size of one file in bytes, and the number of older files kept.
MAX_BYTES, KEPT = 5 * 2**20, 5


def trail_path(app_id: str) -> Path:
    """The path of the App's trail. Creates its folder.

    Raises:
        OSError: the folder cannot be created.
    """
    return state_dir(app_id) / "trail.jsonl"


class _File(logging.handlers.RotatingFileHandler):
    """The rotating file, mode 0600. The first write error is logged; calls go on."""

    reported = False

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if os.name == "posix":
            os.fchmod(descriptor, 0o600)  # whatever the umask, or another program, made of it
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.reported:
            self.reported = True
            logger.error("The trail %s cannot be written; calls go on without it", self.baseFilename, exc_info=True)


class _Queue(logging.handlers.QueueHandler):
    """Queues lines for a writer thread; `close` flushes them and joins the thread."""

    def __init__(self, file: _File) -> None:
        super().__init__(queue.SimpleQueue())
        self._listener = logging.handlers.QueueListener(self.queue, file)
        self._listener.start()
        self._file = file

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def close(self) -> None:
        listener, self._listener = self._listener, None  # type: ignore[assignment]
        if listener is not None:
            listener.stop()
            with contextlib.suppress(OSError):  # what could not be written was reported when it was tried
                self._file.close()
        super().close()


class Trail:
    """The trail of one App. The file and the writer thread are created with the first line. `secrets` are redacted."""

    def __init__(self, app_id: str, *secrets: SecretStr) -> None:
        self._app_id, self._secrets = app_id, secrets
        self._handler: _Queue | None = None
        self._failed = False

    def write(self, entry: dict[str, Any]) -> None:
        """Queue one line. Errors are logged and otherwise ignored."""
        if self._failed:
            return
        if self._handler is None:
            try:
                file = _File(trail_path(self._app_id), maxBytes=MAX_BYTES, backupCount=KEPT, delay=True)
            except OSError as error:
                self._failed = True
                logger.error("The trail cannot be written (%s); calls go on without it", error.strerror or error)
                return
            self._handler = _Queue(file)
        line, _ = redact_json(entry, *self._secrets)
        self._handler.handle(logging.LogRecord("trail", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Flush the queue and stop the thread."""
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.close()
