"""Logging to stderr, with secrets redacted in every line."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

from pydantic import SecretStr

from waha_mcp.steps import for_person

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


#: Secrets that are hidden for good, and those that are hidden while something uses them, with by how many.
_for_good: dict[SecretStr, None] = {}
_in_use: Counter[SecretStr] = Counter()
#: Those that were in use, the last `_LATE` ones: a line that is on its way may contain one.
_used: dict[SecretStr, None] = {}
_LATE = 100
#: Most secrets with compiled patterns: more would cost seconds per line.
_PATTERNS = 2048


def hide(secret: SecretStr) -> None:
    """Redact a secret in every log line of the process from now on."""
    _for_good[secret] = None


@contextmanager
def hidden(*secrets: SecretStr) -> Iterator[None]:
    """Redact secrets in log lines while the block runs, and for a while after it: anybody's, who may send many."""
    _in_use.update(secrets)
    try:
        yield
    finally:
        for secret in secrets:
            _in_use[secret] -= 1
            if not _in_use[secret]:
                del _in_use[secret]
                _used.pop(secret, None)
                _used[secret] = None
        while len(_used) > _LATE:
            del _used[next(iter(_used))]


def _hidden() -> set[SecretStr]:
    # Copies, since another thread may change them meanwhile.
    return {*tuple(_for_good), *tuple(_in_use), *tuple(_used)}


class _Redacting(logging.Formatter):
    """A formatter that redacts hidden secrets in the finished line, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(for_person(super().format(record)), *_hidden())


class _Json(_Redacting):
    """Each record as one JSON object. A traceback is part of its message."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level, name = record.levelname.lower(), record.name
        # Redacted before it is quoted: what is cut out of quoted text may leave half an escape.
        return json.dumps({"time": time, "level": level, "logger": name, "message": super().format(record)})


_FORMATTERS: dict[LogFormat, logging.Formatter] = {
    "text": _Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"),
    "json": _Json(),
}


def redact(text: str, *secrets: SecretStr) -> str:
    """The text, for a log, with each secret replaced by `[key]` in any form that `_forms` knows.

    A secret that might be an ordinary word or number (see `unmistakable`) is replaced only where it stands alone.
    """
    return _replaced(text, _ordered(secrets))


def redact_answer(text: str, *secrets: SecretStr) -> str:
    """The text, for the agent or the trail, with each unmistakable secret replaced by `[key]`.

    The others stay: with a key such as "admin" or "123", ordinary words and numbers would become wrong.
    """
    return _replaced(text, filter(unmistakable, _ordered(secrets)))


def redact_json(data: Any, *secrets: SecretStr) -> tuple[str, Any]:
    """JSON data as text, and the data itself, both with `redact_answer` applied to every string and nothing else."""
    values = [each for each in _ordered(secrets) if unmistakable(each)]
    text = _dumped(data)
    # In JSON a secret is escaped, which is one of its forms; so without a hit here there is none in any string.
    if any(_found(value, text) for value in values):
        data = _without(data, values)
        text = _dumped(data)
    return text, data


def unmistakable(value: str) -> bool:
    """Whether a secret cannot be an ordinary word, name or number: from 16 characters, or 8 with letters and digits."""
    mixed = any(map(str.isdecimal, value)) and any(map(str.isalpha, value))
    return len(value) >= (8 if mixed else 16)


def _ordered(secrets: Iterable[SecretStr]) -> list[str]:
    """The values, the longest first: one may begin as another does, and its end must not be left."""
    return sorted(filter(None, (each.get_secret_value() for each in secrets)), key=len, reverse=True)


def _replaced(text: str, values: Iterable[str]) -> str:
    for value in values:
        for form in _forms(value, text):
            text = form.sub("[key]", text)
    return text


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for another program: without our variables, and without any that holds a hidden secret."""
    return {k: v for k, v in environ.items() if not k.startswith("WAHA_") and redact(v, *_hidden()) == v}


def _without(data: Any, values: list[str]) -> Any:
    if isinstance(data, str):
        return _replaced(data, values)
    if isinstance(data, list):
        return [_without(each, values) for each in data]
    if isinstance(data, dict):
        return {_replaced(name, values): _without(each, values) for name, each in data.items()}
    return data


def _dumped(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


# The forms of a secret, as patterns. Each begins with a literal or a set, by which `re` skips quickly.

#: A percent sign, a backslash and an ampersand that were escaped themselves, perhaps. Bounded, so that a long run of
#: them in somebody's text takes no long time.
_PERCENT, _BACKSLASH, _AMPERSAND = "%(?:25){0,8}", r"\\\\{0,8}", "&(?:amp;){0,8}"
#: The end of a line within a secret: mails and dumps are folded. As in JSON, too.
_FOLD = rf"(?:(?:[\r\n]|{_BACKSLASH}[rn]){{1,4}}(?:[ \t]|{_BACKSLASH}t){{0,8}})?"
_LINE_ENDS = ("\n", "\r", "\\n", "\\r")


def _found(value: str, text: str) -> bool:
    return any(form.search(text) for form in _forms(value, text))


def _forms(value: str, text: str) -> tuple[re.Pattern[str], ...]:
    """The forms that the text can hold. The one with escaped characters is compiled when first needed: it is long."""
    # Without a line end in the text they are much faster.
    fold = _FOLD if any(end in text for end in _LINE_ENDS) else ""
    plain = _escaped if any(mark in text for mark in "%&\\") else _plain
    return (plain(value, fold), *_encoded(value, fold))


@lru_cache(maxsize=_PATTERNS)
def _plain(value: str, fold: str) -> re.Pattern[str]:
    """In any case, with `fold` between its characters."""
    return _compiled(fold.join(_one_of(map(re.escape, _cases(char))) for char in value), value)


@lru_cache(maxsize=_PATTERNS)
def _escaped(value: str, fold: str) -> re.Pattern[str]:
    """In any case, each character as it is or escaped for URLs, JSON or HTML, also repeatedly."""
    return _compiled(fold.join(map(_spelled, value)), value)


@lru_cache(maxsize=_PATTERNS)
def _encoded(value: str, fold: str) -> tuple[re.Pattern[str], ...]:
    """In base64 and hex."""
    data = value.encode("utf-8", "surrogatepass")
    as_hex = f"[ :-]?{fold}".join(fold.join(map(_hex_digits, ({digit} for digit in f"{octet:02x}"))) for octet in data)
    # The base64 of a longer text holds enough of a long secret only.
    whole = [fold.join(map(re.escape, base64.b64encode(data).decode().rstrip("="))) + "=*"]
    parts = [_base64(data, at, fold) for at in range(3)] if unmistakable(value) else whole
    return tuple(_compiled(form, value) for form in (*parts, as_hex))


def _compiled(form: str, value: str) -> re.Pattern[str]:
    return re.compile(form if unmistakable(value) else rf"(?<![\w@+/.-])(?:{form})(?![\w@+/-]|\.\w)")


_HTML_NAMES = {'"': "quot", "'": "apos", "&": "amp", "<": "lt", ">": "gt"}


def _spelled(char: str) -> str:
    """A pattern for one character of a secret, in any case and any spelling."""
    if char == "\\":
        return f"{_one(char)}{{1,8}}"
    # JSON and JavaScript put a backslash before these, which may have been escaped in turn.
    return f"{_one(chr(92))}{{0,8}}{_one(char)}" if char in "\"'/" else _one(char)


def _one(char: str) -> str:
    """`_spelled`, without further backslashes; the longest alternatives first."""
    cases = _cases(char)
    octets = [each.encode("utf-8", "surrogatepass").hex() for each in cases]
    units = [each.encode("utf-16-be", "surrogatepass").hex() for each in cases]
    code = _hex_digits({f"{ord(each):x}" for each in cases})
    ways = [
        "".join(
            f"{_PERCENT}{_hex_digits({each[at : at + 2] for each in octets})}" for at in range(0, len(octets[0]), 2)
        ),
        "".join(
            f"{_BACKSLASH}u{_hex_digits({each[at : at + 4] for each in units})}" for at in range(0, len(units[0]), 4)
        ),
        f"{_BACKSLASH}x{code}",
        f"{_AMPERSAND}#(?:[xX]0*{code}|0*(?:{'|'.join(str(ord(each)) for each in cases)}));",
    ]
    if char in _HTML_NAMES:
        ways.append(f"{_AMPERSAND}{_HTML_NAMES[char]};")
    return f"(?:{'|'.join([*ways, *map(re.escape, cases)])})"


def _cases(char: str) -> list[str]:
    return sorted({char.lower(), char.upper()}) if char.isascii() else [char]


def _hex_digits(numbers: set[str]) -> str:
    """A pattern for numbers of the same length in hex, in either case."""
    places = zip(*numbers, strict=True)
    return "".join(_one_of(sorted({*place, *(each.upper() for each in place)})) for place in places)


def _one_of(chars: Iterable[str]) -> str:
    """A pattern for one of the characters, which are escaped already."""
    return f"[{''.join(chars)}]"


def _base64(data: bytes, at: int, fold: str) -> str:
    """A pattern for base64 of any text that holds `data` from byte `at` of a group of three.

    It covers the characters that depend on nothing else; up to four bits at either end are left.
    """
    encoded = base64.b64encode(bytes(at) + data).decode()
    own = encoded[(at * 8 + 5) // 6 : (at + len(data)) * 8 // 6]
    apart = {"+": rf"(?:[+-]|{_PERCENT}2[bBdD])", "/": rf"(?:/|_|{_BACKSLASH}/|{_PERCENT}(?:2[fF]|5[fF]))"}
    return fold.join(apart.get(each, each) for each in own)


def configure_logging(level: LogLevel, form: LogFormat = "text") -> None:
    """Send log records to stderr: those of waha_mcp from `level`, of other packages from warning; log crashes, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[form])
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("waha_mcp").setLevel(level.upper())
    sys.excepthook = _log_crash


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """An `excepthook` that logs the traceback, so that secrets in it are redacted."""
    logging.getLogger("waha_mcp").critical("Crashed", exc_info=(kind, error, traceback))
