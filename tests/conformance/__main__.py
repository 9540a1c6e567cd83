"""`python -m tests.conformance`: a line for each scenario of both revisions; 1 if one that applies is not green.

The suite is installed into the user's cache. If that fails, a line says so, and the exit code is 0.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.clients_real.environments import NotInstalled
from tests.conformance.scenarios import NEWER, OLDER, SUITE, missing, stale, verdict
from tests.conformance.suite import found, served


def main() -> int:
    good = True
    left_out: dict[str, str] = {}
    seen: set[str] = set()

    def failed(title: str, name: str, why: str) -> None:
        nonlocal good
        good = False
        print(f"{title:<22} FAILED  {name}: {why}")

    try:
        for sessions in (False, True):
            with tempfile.TemporaryDirectory() as folder, served(Path(folder), sessions=sessions) as url:
                for revision in (OLDER, NEWER):
                    title = f"{revision}{', --sessions' if sessions else ''}"
                    results = found(url, revision, Path(folder) / revision)
                    for name, checks in results.items():
                        what = verdict(name, checks, revision, sessions=sessions)
                        if what.good:
                            print(f"{title:<22} ok  {name}: {what.text}")
                        elif what.good is None:
                            left_out.setdefault(name, what.text)
                        else:
                            failed(title, name, what.text)
                    for name in missing(results, revision, sessions=sessions):
                        failed(title, name, "has not run")
                    seen |= results.keys()
    except NotInstalled as why:
        print(f"SKIPPED: {SUITE} cannot be installed: {why}")
        return 0
    for name in stale(seen):
        failed("", name, "is left out in tests/conformance/scenarios.py, and the suite does not have it")
    for name, reason in left_out.items():
        print(f"left out  {name}: {reason}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
