"""The pytest plugin (-p scripts.mutants_reached) that records for mutants.py which statements each test reaches.

Only files that make decisions are recorded; for a test that starts processes, only its duration. Each process that runs
tests writes .mutants/reached/<its name>.json: {"key": reached_key(), "tests": {id: [seconds, {file: [first lines of
statements]}]}, "failed": [ids]}.

With MUTANTS_ONLY, a file of ids, no other test is run.
"""

from __future__ import annotations

import ast
import builtins
import gc
import importlib
import json
import os
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from scripts.mutants import PACKAGE, REACHED, ROOT, files, reached_key
from tests.quick import in_process

FILES = [str(PACKAGE / each) for each in files()]


class Probes(ast.NodeTransformer):
    """Puts a call in front of every statement of every function that notes the file and the statement's first line.

    A tracer would slow every call of every library down several times.
    """

    HIT = "__mutants_hit__"

    def __init__(self, file: str) -> None:
        self.file = file
        self._functions = 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        self._functions += function
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if self._functions and isinstance(body, list):
                setattr(node, name, [new for each in body for new in (self._hit(each), each)])
        self._functions -= function
        return node

    def _hit(self, statement: ast.stmt) -> ast.stmt:
        place = ast.Tuple([ast.Constant(self.file), ast.Constant(statement.lineno)], ast.Load())
        call = ast.Expr(ast.Call(ast.Name(self.HIT, ast.Load()), [place], []))
        return ast.fix_missing_locations(ast.copy_location(call, statement))


Key = tuple[str, str, int]


def key_of(code: CodeType) -> Key:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def nested(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def every(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in nested(code):
        yield from every(each)


def living() -> dict[Key, list[FunctionType]]:
    """The functions of the files that make decisions, by position. Imports all of these files."""
    # A module that is imported only by the first call would be missing otherwise: no test would reach it.
    for path in FILES:
        importlib.import_module(".".join(Path(path).relative_to(ROOT).with_suffix("").parts))
    found: dict[Key, list[FunctionType]] = {}
    ours = set(FILES)
    # Frozen objects are not among gc.get_objects().
    gc.unfreeze()
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename in ours:
            found.setdefault(key_of(each.__code__), []).append(each)
    gc.freeze()
    return found


def probe() -> None:
    """From here on, code of these files calls a builtin named `Probes.HIT`."""
    live = living()
    setattr(builtins, Probes.HIT, set().add)
    for path in FILES:
        probed = Probes(Path(path).relative_to(ROOT).as_posix()).visit(ast.parse(Path(path).read_bytes()))
        for code in every(compile(probed, path, "exec", dont_inherit=True)):
            for function in live.get(key_of(code), []):
                function.__code__ = code


def alone(items: Iterable[pytest.Item]) -> list[str]:
    """The ids of the tests that start no process."""
    return [item.nodeid for item in items if isinstance(item, pytest.Function) and in_process(item)]


class Recorder:
    """Records for each test what it reaches and how long it takes."""

    def __init__(self, name: str, alone: Iterable[str]) -> None:
        self._path = REACHED / f"{name}.json"
        self._alone = set(alone)
        self._found: dict[str, Any] = {"key": reached_key(), "tests": {}, "failed": []}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        hits: set[tuple[str, int]] = set()
        setattr(builtins, Probes.HIT, hits.add)
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            lines: dict[str, list[int]] = {}
            for name, line in sorted(hits if item.nodeid in self._alone else ()):
                lines.setdefault(name, []).append(line)
            self._found["tests"][item.nodeid] = [round(time.perf_counter() - began, 3), lines]

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._found["failed"].append(report.nodeid)

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        REACHED.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._found), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    # The variable is for this run, not for a pytest that a test starts. xdist's workers learn about the plugin from it.
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        os.environ.pop("PYTEST_ADDOPTS", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (listed := os.environ.get("MUTANTS_ONLY")) is None:
        return
    only = set(Path(listed).read_text("utf-8").splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in only])
    items[:] = [item for item in items if item.nodeid in only]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if session.items:
        probe()
        name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        session.config.pluginmanager.register(Recorder(name, alone(session.items)))
