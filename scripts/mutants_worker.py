"""The pytest plugin of scripts/mutants.py: collects the tests once, then runs chosen ones in forks of itself.

Requests and answers are lines of JSON on two pipes:

- {"do": "listed"}: the ids of the tests that start no process, and of the others.
- {"do": "run", "file", "source", "tests", "seconds"}: whether one of the tests fails with a file that has this source.

The file is on the disk while the tests run, for the processes that they start. In the fork, the functions that differ
get their new code; if code that ran at import differs, a new pytest is started instead.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from scripts.mutants_reached import Key, alone, key_of, living, nested

OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: a function's code, and not a module's or a class's
ROOT = Path(__file__).resolve().parent.parent


class Server:
    """Answers requests in place of pytest's own loop over the tests."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.items = {item.nodeid: item for item in session.items}
        self.failed: list[str] = []
        self.live = living()

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def listed(self) -> dict[str, list[str]]:
        found = dict.fromkeys(alone(self.items.values()))
        return {"alone": list(found), "others": [test for test in self.items if test not in found]}

    def run(self, file: str, source: str, tests: list[str], seconds: float) -> dict[str, Any]:
        path = ROOT / file
        original = path.read_text("utf-8")
        path.write_text(source, "utf-8")
        try:
            changes = patches(original, source, str(path), self.live)
            if changes is None:
                return self._anew(tests, seconds)

            def work() -> dict[str, Any]:
                for function, code in changes:
                    function.__code__ = code
                for _ in self._run([test for test in tests if test in self.items]):
                    if self.failed:
                        break
                return {"killed": bool(self.failed), "by": self.failed[0] if self.failed else None}

            return in_fork(work, seconds) or {"killed": True, "by": "a hang or a crash"}
        finally:
            path.write_text(original, "utf-8")

    def _run(self, tests: Sequence[str]) -> Iterator[str]:
        """Run tests in a fork, as pytest's own loop would; yields the id of each once it is over."""
        items = [self.items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            yield item.nodeid

    def _anew(self, tests: list[str], seconds: float) -> dict[str, Any]:
        listed = ROOT.with_suffix(".args")
        listed.write_text("\n".join(tests), "utf-8")
        env = {k: v for k, v in os.environ.items() if not k.startswith("MUTANTS_")}
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0",
             "--tb=no", f"--basetemp={ROOT}.tmp", f"@{listed}"],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=seconds + 20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"killed": True, "by": "a hang or a crash"}
        failed = [line.split(" ")[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return {"killed": process.returncode != 0, "by": failed[0] if failed else None}


def in_fork(work: Any, seconds: float) -> Any:
    """What `work` returns in a fork of this process; None if it runs out of time or crashes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            os.close(reading)
            answer = json.dumps(work()).encode()
            with os.fdopen(writing, "wb") as out:
                out.write(answer)
        finally:
            os._exit(0)
    os.close(writing)
    until = time.monotonic() + seconds
    answer = b""
    try:
        while (left := until - time.monotonic()) > 0 and select.select([reading], [], [], left)[0]:
            chunk = os.read(reading, 1 << 20)
            if not chunk:
                break
            answer += chunk
    finally:
        os.close(reading)
        try:
            # Together with the processes that it started.
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return json.loads(answer) if answer else None


def _own(code: CodeType) -> tuple[Any, ...]:
    """The code of a code object itself, without line numbers."""
    consts = tuple(repr(each) for each in code.co_consts if not isinstance(each, CodeType))
    return code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def _same(old: CodeType, new: CodeType) -> bool:
    before, after = nested(old), nested(new)
    return _own(old) == _own(new) and len(before) == len(after) and all(map(_same, before, after))


def patches(
    original: str, source: str, filename: str, live: dict[Key, list[FunctionType]]
) -> list[tuple[FunctionType, CodeType]] | None:
    """The functions that exist and the new code of each; None if that would not be the whole change."""
    found: list[tuple[FunctionType, CodeType]] = []

    def walk(old: CodeType, new: CodeType) -> bool:
        if _same(old, new):
            return True
        if old.co_flags & OPTIMIZED:
            functions = live.get(key_of(old), [])
            if not functions or old.co_freevars != new.co_freevars:
                return False
            found.extend((each, new) for each in functions)
            return True
        before, after = nested(old), nested(new)
        return _own(old) == _own(new) and len(before) == len(after) and all(map(walk, before, after))

    compiled = [compile(text, filename, "exec", dont_inherit=True) for text in (original, source)]
    return found if walk(*compiled) and found else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if "MUTANTS_PIPES" not in os.environ:
        return None
    reading, writing = (int(each) for each in os.environ.pop("MUTANTS_PIPES").split())
    for each in (reading, writing):
        os.set_inheritable(each, False)
    server = Server(session)
    session.config.pluginmanager.register(server)
    with os.fdopen(reading) as requests, os.fdopen(writing, "w") as answers:
        for line in requests:
            wish = json.loads(line)
            print(json.dumps(getattr(server, wish.pop("do"))(**wish)), file=answers, flush=True)
    return True
