"""Which tests are quick: those that start no process and are not marked `slow`. Derived, and held to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
from mcp import StdioServerParameters

TESTS = str(Path(__file__).parent)
#: Audit events of a process that is started.
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec"}
#: Modules by whose use a test starts a process.
STARTERS = {"subprocess", "pexpect"}

_running: list[str] = []


def is_quick(item: pytest.Function) -> bool:
    """Whether a test is not marked `slow`, and neither it, its fixtures nor their helpers can start a process."""
    if item.get_closest_marker("slow"):
        return False
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return not any(starts_process(each) for each in [item.obj, *(made[-1].func for made in definitions if made)])


def starts_process(thing: Any, seen: set[int] | None = None) -> bool:
    """Whether a function or class of the tests names what starts a process, itself or through what it names."""
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
