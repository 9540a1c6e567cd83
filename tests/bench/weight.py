"""What is installed, and what a process holds in memory."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.bench.servers import BARE_NAME, LIST_CHATS, Bench, Opened, succeeded
from tests.bench.table import Row, Section
from tests.tables import ROOT

MB = 1_000_000
INSTALLED, ABOVE_BARE = 100 * MB, 8 * MB
CALLS = 20
OURS = "waha-mcp"


def weight(bench: Bench) -> Section:
    """The size on disk and the memory."""
    section = Section(
        "Weight",
        [
            "Installed: waha-mcp and all that it requires without extras, including bytecode. Memory: of one stdio "
            f"process after the opening and {CALLS} calls of list_chats; of the bare server, after its opening. "
            "RSS counts memory shared by processes in full, PSS by their share of it.",
        ],
    )
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (ours, missing), (bare, _) = closure(requirements), closure(["mcp"])
    sizes = {name: _size(each) for name, each in ours.items()}
    size = sum(sizes.values()) + sum(path.stat().st_size for path in (ROOT / "waha_mcp").rglob("*") if path.is_file())
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    section.notes.append(f"The largest: {', '.join(f'{name} {megabytes(sizes[name])}' for name in largest)}.")
    cells = {OURS: megabytes(size), BARE_NAME: megabytes(sum(map(_size, bare.values())))}
    if missing:
        section.notes.append(f"SKIPPED: what is not installed here: {', '.join(missing)}.")
    met = None if missing else size < INSTALLED
    section.rows.append(Row("installed", cells, None, f"< {megabytes(INSTALLED)}", met))
    _memory(bench, section)
    return section


def megabytes(size: float) -> str:
    """A size as text."""
    return f"{size / MB:.1f} MB"


def closure(requirements: Iterable[str]) -> tuple[dict[str, Distribution], list[str]]:
    """The distributions that these requirements install, in this environment; and the names of those not in it."""
    found: dict[str, Distribution] = {}
    missing: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    # The required packages, and the extras that their dependents ask for.
    waiting: list[tuple[str, frozenset[str]]] = [(each, frozenset()) for each in requirements]
    while waiting:
        text, chosen = waiting.pop()
        requirement = Requirement(text)
        marker, extras = requirement.marker, frozenset(requirement.extras)
        name = requirement.name.lower().replace("_", "-")
        wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in chosen or {""})
        if not wanted or (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            missing.append(name)
        else:
            waiting += [(each, extras) for each in found[name].requires or []]
    return found, missing


def _size(there: Distribution) -> int:
    paths = [Path(str(there.locate_file(each))) for each in there.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def memory_of(pid: int) -> dict[str, int]:
    """The memory in bytes of a process and its children, as `{"RSS": …, "PSS": …, "USS": …}`.

    USS is what no other process shares. Empty if the system does not report it.
    """
    kinds = {"Rss": "RSS", "Pss": "PSS", "Private_Clean": "USS", "Private_Dirty": "USS"}
    held = dict.fromkeys(kinds.values(), 0)
    try:
        for each in _tree(pid):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii").splitlines():
                name, _, size = line.partition(":")
                if name in kinds:
                    held[kinds[name]] += int(size.split()[0]) * 1024
    except OSError:
        return {}
    return held


def _tree(pid: int) -> list[int]:
    children = [
        int(child)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text(encoding="ascii").split()
    ]
    return [pid, *(each for child in children for each in _tree(child))]


def _memory(bench: Bench, section: Section) -> None:
    others = bench.others()
    servers: dict[str, Opened] = {OURS: (bench.waha_mcp, LIST_CHATS), **others, BARE_NAME: (others[BARE_NAME][0], None)}
    n = bench.sizes.processes
    held = {name: [_held(each) for _ in range(n)] for name, each in servers.items()}
    if not all(map(all, held.values())):
        section.notes.append("SKIPPED: memory, which /proc/PID/smaps_rollup does not tell here.")
        return
    for kind in ("RSS", "PSS"):
        medians = {name: statistics.median(each[kind] for each in runs) for name, runs in held.items()}
        aim, met = ("", None) if kind == "PSS" else verdict(medians[OURS], medians[BARE_NAME])
        cells = {name: megabytes(size) for name, size in medians.items()}
        section.rows.append(Row(f"memory, {kind}", cells, n, aim, met))


def verdict(ours: float, bare: float) -> tuple[str, bool]:
    """The aim of the memory and whether it is met."""
    return f"<= bare + {ABOVE_BARE // MB} MB ({(ours - bare) / MB:+.1f})", ours <= bare + ABOVE_BARE


def _held(opened: Opened) -> dict[str, int]:
    open_pipe, call = opened
    pipe = open_pipe()
    try:
        pipe.ask("tools/list")
        for _ in range(CALLS if call else 0):
            succeeded(pipe.ask("tools/call", **(call or {})))
        return memory_of(pipe.pid)
    finally:
        pipe.close()
