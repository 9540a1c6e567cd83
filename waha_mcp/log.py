"""Logging to stderr, with secrets taken out of every line."""

from __future__ import annotations

import logging
import sys
from typing import Literal

from pydantic import SecretStr

LogLevel = Literal["debug", "info", "warning", "error"]


class _Redacting(logging.Formatter):
    """A formatter that replaces secrets in the finished line, tracebacks included."""

    def __init__(self, secrets: tuple[SecretStr, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = tuple(text for s in secrets if (text := s.get_secret_value()))

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self._secrets:
            line = line.replace(secret, "[key]")
        return line


def configure_logging(level: LogLevel, *secrets: SecretStr) -> None:
    """Send log records to stderr: ours from `level` on, other packages' from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting(secrets))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("waha_mcp").setLevel(level.upper())
