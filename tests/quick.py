"""Which tests are quick: those that start no process and are not marked `slow`, a few cases of each. Enforced.

The set is derived from the code. Of a test that is repeated for many cases, `CASES` evenly spread ones are quick; the
whole suite runs every one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
from mcp import StdioServerParameters

#: The number of quick cases of one test.
CASES = 2
TESTS = str(Path(__file__).parent)
#: Audit events of a process that is started.
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec"}
#: Modules whose use means that a test starts a process.
STARTERS = {"subprocess", "pexpect"}

_running: list[str] = []


def choose(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """The quick ones of these tests."""
    chosen: set[pytest.Item] = set()
    for cases in _by_test(items).values():
        quick = [each for each in cases if not each.get_closest_marker("slow")]
        if quick and in_process(quick[0]):
            chosen.update(quick if len(quick) <= CASES else _spread(quick))
    return chosen


def _by_test(items: Iterable[pytest.Item]) -> dict[str, list[pytest.Function]]:
    found: dict[str, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function):
            found.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return found


def _spread(cases: list[pytest.Function]) -> list[pytest.Function]:
    """The first, the last and evenly spaced ones between: a test repeated for both engines has a case of each."""
    return [cases[round(number * (len(cases) - 1) / (CASES - 1))] for number in range(CASES)]


def in_process(item: pytest.Function) -> bool:
    """Whether neither a test nor its fixtures nor their helpers can start a process."""
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return not any(starts_process(each) for each in [item.obj, *(made[-1].func for made in definitions if made)])


def starts_process(thing: Any, seen: set[int] | None = None) -> bool:
    """Whether a function or class of the tests names something that starts a process, directly or indirectly."""
    thing = getattr(thing, "__func__", thing)
    thing = getattr(thing, "__wrapped__", thing)
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return False
    seen.add(id(thing))
    if isinstance(thing, ModuleType):
        return thing.__name__ in STARTERS
    if thing is StdioServerParameters or thing is subprocess.Popen:
        return True
    known = vars(sys.modules[thing.__module__]) if isinstance(thing, type) else getattr(thing, "__globals__", {})
    if not str(known.get("__file__", "")).startswith(TESTS):
        return False
    if isinstance(thing, type):
        return any(starts_process(each, seen) for each in list(vars(thing).values()))
    return any(starts_process(known[name], seen) for name in _names(thing.__code__) if name in known)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _held(event: str, arguments: tuple[Any, ...]) -> None:
    if _running and event in STARTS:
        raise RuntimeError(f"{_running[0]} counts as quick and starts a process: mark it slow")


def hold() -> None:
    """From here on, a process that a quick test starts is an error."""
    sys.addaudithook(_held)


def started(item: pytest.Item) -> None:
    _running[:] = [item.nodeid] if item.get_closest_marker("quick") else []


def ended() -> None:
    _running.clear()
