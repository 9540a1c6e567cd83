"""Prints the rooms of `waha_mcp`, the imports between them, and violations of their order.

A room is a folder or a module directly under `waha_mcp/`. `ORDER` lists them from the bottom up: a room imports only
rooms that come before it.

Run: python scripts/rooms.py [FOLDER]   (a folder that holds `waha_mcp/`; this one, unless another is named)
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

#: The rooms, from the bottom up.
ORDER = (
    "places",
    "digests",
    "files",
    "concurrency",
    "steps",
    "log",
    "observing",
    "whatsapp",
    "app",
    "waha",
    "people",
    "store",
    "history",
    "feed",
    "indexing",
    "tools",
    "policy",
    "bridge",
    "bridges",
    "listening",
    "console",
    "server",
    "hosts",
    "sandbox",
    "cli",
)

_COMMAND = "`waha-mcp serve` loads no other command's modules, and `--help` none at all"
_RARE = "few runs need it"

#: Imports inside functions: the module, what it imports late (the full name of ours, the top-level name of others'),
#: and what that gains. A star stands for any name.
LATE: tuple[tuple[str, str, str], ...] = (
    ("app.keys", "keyring", "an extra: only a key that stands in a keyring needs it"),
    ("bridge", "indexing", "only an App with an index needs it"),
    ("bridge", "policy.*", "a listing is answered before the policy is loaded"),
    ("cli.*", "app.actions", _COMMAND),
    ("cli.*", "bridge", _COMMAND),
    ("cli.*", "cli.*", _COMMAND),
    ("cli.*", "console.*", _COMMAND),
    ("cli.*", "hosts.*", _COMMAND),
    ("cli.*", "listening", _COMMAND),
    ("cli.*", "people.*", _COMMAND),
    ("cli.*", "policy", _COMMAND),
    ("cli.*", "policy.*", _COMMAND),
    ("cli.*", "sandbox", _COMMAND),
    ("cli.*", "server.*", _COMMAND),
    ("cli.*", "store.*", _COMMAND),
    ("cli.*", "tools.*", _COMMAND),
    ("cli.*", "waha.*", _COMMAND),
    ("cli.demo", "httpx", _COMMAND),
    ("cli.demo", "mcp", _COMMAND),
    ("cli.init", "segno", _RARE),
    ("cli.init", "tomlkit", _RARE),
    ("hosts.edit", "json5", "each host's file has one format: the others' libraries are not needed"),
    ("hosts.edit", "ruamel", "each host's file has one format: the others' libraries are not needed"),
    ("hosts.edit", "tomlkit", "each host's file has one format: the others' libraries are not needed"),
    ("hosts.edit", "tomllib", "each host's file has one format: the others' libraries are not needed"),
    ("people.finding", "rapidfuzz", "only a search for names that are alike needs it"),
    ("sandbox", "sandbox.*", "the package's own names; a server with a real WAHA starts none"),
    ("sandbox.contract", "jsonschema", "slow to import; loaded with the first request that has a body"),
    ("sandbox.http_server", "sandbox.event_sockets", "a sandbox to whose events nobody listens loads no WebSocket"),
    ("sandbox.handlers", "sandbox.handlers.*", "each module imports the registry that this package serves"),
    ("server.sdk", "pydantic", "the answer to a prepared opening does not wait for it"),
    ("server.stdio", "mcp", "Windows only"),
    ("steps", "difflib", "only a name that there is not needs it"),
    ("store.changes", "redis", "an extra: only a store for several machines needs it"),
    ("store.changes", "store.redis", "an extra: only a store for several machines needs it"),
    ("store.folders", "store.redis", "an extra: only a store for several machines needs it"),
    ("store.folders", "store.sqlite", "only what keeps state needs SQLite"),
    ("tools.core.search", "history.index_records", "only an App with an index needs it"),
    ("tools.pictures", "PIL", "an extra: only pictures need it"),
    ("tools.session", "segno", _RARE),
    ("waha.event_socket", "websockets", "only who listens needs it"),
    ("waha.transcription", "httpx", "only a transcriber with a URL needs it"),
    ("waha.vcards", "vobject", "only a contact card needs it"),
    ("whatsapp.ids", "phonenumbers", "only a number that is written as one needs it"),
)


@dataclass(frozen=True)
class Import:
    """One import. `late`: inside a function. `typing`: for the type checker alone. `ours`: of this package."""

    importer: str
    imported: str
    late: bool
    typing: bool
    ours: bool = True

    @property
    def rooms(self) -> tuple[str, str]:
        """The rooms of the importer and the imported module."""
        return room(self.importer), room(self.imported)

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported}"


def room(module: str) -> str:
    """The room of a module named relative to the package, such as `waha.client`."""
    return module.partition(".")[0]


def imports(root: Path) -> list[Import]:
    """Every import in `root / "waha_mcp"`: ours by the name in the package, others' by their top-level name."""
    files = {_name(path, root): path for path in sorted((root / "waha_mcp").rglob("*.py"))}
    found: dict[Import, None] = {}
    for name, path in files.items():
        if name not in ("", "__main__"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= dict.fromkeys(_imports(tree, name, files.keys(), late=False, typing=False))
    return list(found)


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root / "waha_mcp").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _imports(node: ast.AST, importer: str, known: Iterable[str], *, late: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        checked = typing or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
        targets: list[str] = []
        match child:
            case ast.ImportFrom(module=str(module), level=0):
                # `from package import module` imports the module.
                full = [f"{module}.{alias.name}" for alias in child.names]
                targets = [each if each.removeprefix("waha_mcp.") in known else module for each in full]
            case ast.Import():
                targets = [alias.name for alias in child.names]
        for target in targets:
            first, _, rest = target.partition(".")
            # The package itself only has the version.
            if first != "waha_mcp":
                yield Import(importer, first, inside, checked, ours=False)
            elif rest:
                yield Import(importer, rest, inside, checked)
        yield from _imports(child, importer, known, late=inside, typing=checked)


def between(found: Iterable[Import]) -> Counter[tuple[str, str]]:
    """How many imports lead from one room to another."""
    return Counter(each.rooms for each in found if each.ours and each.rooms[0] != each.rooms[1])


def upward(found: Iterable[Import]) -> list[Import]:
    """Imports of a room that comes later in `ORDER`, or that `ORDER` does not name."""
    height = {name: place for place, name in enumerate(ORDER)}
    return [
        each
        for each in found
        if each.ours
        and (any(name not in height for name in each.rooms) or height[each.rooms[1]] > height[each.rooms[0]])
    ]


def cycles(found: Iterable[Import]) -> list[list[str]]:
    """Groups of rooms that import each other, directly or indirectly."""
    next_of: dict[str, set[str]] = {}
    for importer, imported in between(found):
        next_of.setdefault(importer, set()).add(imported)
    reached = {name: _reached(name, next_of) for name in next_of}
    groups = {frozenset(o for o in reached[name] if name in reached.get(o, ())) for name in reached}
    return sorted(sorted(group) for group in groups if group)


def _reached(start: str, next_of: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for each in next_of.get(waiting.pop(), ()):
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return seen


def twice(root: Path) -> dict[str, list[str]]:
    """File names that occur in several places."""
    places: dict[str, list[str]] = {}
    for path in sorted((root / "waha_mcp").rglob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            places.setdefault(path.name, []).append(str(path.relative_to(root)))
    return {name: where for name, where in places.items() if len(where) > 1}


def unlisted(found: Iterable[Import]) -> tuple[list[str], list[str]]:
    """Imports inside functions that `LATE` does not list, and entries of `LATE` that match none."""
    late = [each for each in found if each.late and not each.typing]
    used = {entry: [each for each in late if _names(entry, each)] for entry in LATE}
    named = {each for matched in used.values() for each in matched}
    return (
        sorted(str(each) for each in late if each not in named),
        [f"{importer} -> {imported}" for (importer, imported, _), matched in used.items() if not matched],
    )


def _names(entry: tuple[str, str, str], found: Import) -> bool:
    return fnmatchcase(found.importer, entry[0]) and fnmatchcase(found.imported, entry[1])


def report(root: Path) -> str:
    """What `main` prints."""
    found = imports(root)
    rooms = sorted({name for each in found if each.ours for name in each.rooms}, key=_place)
    lines = [f"{len(rooms)} rooms: {', '.join(rooms)}", "", "Imports between rooms:"]
    arrows = between(found)
    for name in rooms:
        to = [f"{other} {arrows[name, other]}" for other in rooms if arrows[name, other]]
        lines.append(f"  {name:12} -> {', '.join(to) or '-'}")
    up, circles, names = upward(found), cycles(found), twice(root)
    lines += ["", f"Upward imports: {len(up)}", *(f"  {each}" for each in up)]
    lines += [f"Cycles of rooms: {len(circles)}", *(f"  {' <-> '.join(circle)}" for circle in circles)]
    lines += [f"File names that stand twice: {len(names)}", *(f"  {', '.join(where)}" for where in names.values())]
    new, gone = unlisted(found)
    late = sum(each.late and not each.typing for each in found)
    lines += [f"Imports inside functions: {late}, by {len(LATE)} reasons"]
    lines += [f"  without a reason: {each}" for each in new] + [f"  not there: {each}" for each in gone]
    return "\n".join(lines)


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def main() -> None:
    """Print the report for the checkout that the first argument names, or for this one."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    if not (root / "waha_mcp").is_dir():
        sys.exit(f"{root} holds no folder waha_mcp: name the folder of a checkout")
    print(report(root))


if __name__ == "__main__":
    main()
