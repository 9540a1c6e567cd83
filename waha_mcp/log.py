"""Logging to stderr, with secrets redacted in every line."""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache
from types import TracebackType
from typing import Literal
from urllib.parse import quote

from pydantic import SecretStr

LogLevel = Literal["debug", "info", "warning", "error"]


#: All secrets of this process. They are kept for good, since later lines may still contain an unused one.
_hidden: dict[SecretStr, None] = {}


def hide(secret: SecretStr) -> None:
    """Redact a secret in every log line of the process from now on."""
    _hidden[secret] = None


class _Redacting(logging.Formatter):
    """A formatter that redacts hidden secrets in the finished line, tracebacks included."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), *_hidden)


def redact(text: str, *secrets: SecretStr) -> str:
    """The text with each secret replaced by `[key]`: plain, JSON-escaped or percent-encoded."""
    # The longest first: one secret may begin as another does, and its end must not be left.
    for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
        if form in text:
            text = text.replace(form, "[key]")
    return text


def holds_secret(text: str) -> bool:
    """Whether a text contains a hidden secret of this process, in any form that `redact` knows."""
    return redact(text, *_hidden) != text


@lru_cache(maxsize=1024)
def _forms(secret: SecretStr) -> tuple[str, ...]:
    value = secret.get_secret_value()
    return tuple({value, json.dumps(value)[1:-1], quote(value, safe=""), quote(value)} - {""})


def configure_logging(level: LogLevel) -> None:
    """Send log records to stderr: those of waha_mcp from `level`, of other packages from warning; log crashes, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("waha_mcp").setLevel(level.upper())
    sys.excepthook = _log_crash


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """An `excepthook` that logs the traceback, so that secrets in it are redacted."""
    logging.getLogger("waha_mcp").critical("Crashed", exc_info=(kind, error, traceback))
