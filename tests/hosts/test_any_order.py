"""Any order of installations and removals restores the user's own file, byte for byte; changes by others survive."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hosts.test_edit import FOREIGN
from tests.platforms import mode_of
from waha_mcp.hosts import edit
from waha_mcp.hosts.installation import HostError, install, uninstall
from waha_mcp.hosts.launch import is_ours
from waha_mcp.hosts.table import HOSTS, Format, Host, Launch

#: Hosts of each format and each nesting depth of the entry.
SHAPES = ("cursor", "opencode", "openclaw", "goose", "codex")
NAMES, APPS = ("whatsapp", "whatsapp-two", "wa"), ("one", "two")
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("install"), st.sampled_from(NAMES), st.sampled_from(APPS)),
        st.tuples(st.just("uninstall"), st.sampled_from(NAMES), st.none()),
    ),
    max_size=8,
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Co", "Cn")), max_size=5)
VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS.filter(bool), inner, max_size=2),
    max_leaves=5,
)
OBJECTS = st.dictionaries(WORDS.filter(bool), VALUES, max_size=3)


def dumped(format: Format, data: dict[str, Any], indent: int | str | None = 2) -> str:
    if format == "json":
        return json.dumps(data, indent=indent, ensure_ascii=False) + "\n"
    return edit._yaml_lines(data, "", "\n") if format == "yaml" else tomlkit.dumps(data)


@st.composite
def own_files(draw: st.DrawFn, host: Host) -> bytes | None:
    """A user's own file: none, empty, one of the awkward ones, or random data in a random layout."""
    kept = [text for format, text in FOREIGN.values() if format == host.format]
    text = draw(st.sampled_from(["", "\n", *kept]) | st.none() | st.just("random"))
    if text is None:
        return None
    if text == "random":
        data: dict[str, Any] = draw(st.dictionaries(WORDS.filter(bool), st.booleans() | WORDS, max_size=2))
        inside = data
        for key in host.place[: draw(st.integers(0, len(host.place)))]:
            inside[key] = {}
            inside = inside[key]
        inside |= draw(st.dictionaries(st.sampled_from(["other", "x y", "ä.b"]), OBJECTS, max_size=2))
        text = dumped(host.format, data, draw(st.sampled_from([None, 2, 4, "\t"])))
        comment = {"json": "/* mine */", "yaml": "# mine", "toml": "# mine"}[host.format]
        text = draw(st.sampled_from(["", f"{comment}\n"])) + text + draw(st.sampled_from(["", f"{comment}\n", "\n"]))
    text = draw(st.sampled_from(["", "", "\ufeff"])) + text.removeprefix("\ufeff")
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return (text.replace("\r\n", "\n").replace("\n", "\r\n") if draw(st.booleans()) else text).encode()


def apply(host: Host, path: Path, kind: str, name: str, app: str | None) -> None:
    """One installation or removal; a refused one changes nothing."""
    before = path.read_bytes() if path.exists() else None
    try:
        if kind == "install":
            launch = Launch("/opt/waha-mcp", ("serve", "--app", f"/home/sam/{app}.toml"), key_variable="WAHA_API_KEY")
            install(host, name, host.entry(name, launch), path)
        else:
            uninstall(host, name, path)
    except HostError:
        assert (path.read_bytes() if path.exists() else None) == before


def in_a_folder(work: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work(Path(folder) / "config")


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), ops=OPS)
def test_any_order_ends_with_the_users_own_file(
    shape: str, data: st.DataObject, ops: list[tuple[str, str, Any]]
) -> None:
    host = HOSTS[shape]
    own = data.draw(own_files(host))
    last = data.draw(st.permutations(NAMES))

    def work(path: Path) -> None:
        if own is not None:
            path.write_bytes(own)
            path.chmod(0o640)
        mode = mode_of(path) if own is not None else None
        for op in [*ops, *(("uninstall", name, None) for name in last)]:
            apply(host, path, *op)
        assert os.listdir(path.parent) == ([] if own is None else ["config"])
        assert own is None or (path.read_bytes(), mode_of(path)) == (own, mode)

    in_a_folder(work)


def foreign(host: Host, text: str) -> dict[str, Any]:
    """Everything in a configuration that is not ours, without empty objects."""

    def cleaned(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: new for k, v in value.items() if not is_ours(v) and (new := cleaned(v)) != {}}

    found: dict[str, Any] = cleaned(edit.read(text, host.format))
    return found


def changed(host: Host, text: str, how: str) -> str:
    """The file after a change by the host, or by the user's hand."""
    if how == "comment":
        mark = "" if not text.strip("\ufeff\r\n ") else "// " if host.format == "json" else "# "
        return f"{text}\n{mark}\n"
    data = json.loads(json.dumps(edit.read(text, host.format)))
    if how == "ours out":
        data = foreign(host, text)
    elif how == "new":
        data["added"] = {"by": "others"}
    return dumped(host.format, data)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), ops=st.lists(OPS, min_size=2, max_size=4))
def test_what_others_have_changed_in_between_survives_and_so_does_every_version_of_the_users_own(
    shape: str, data: st.DataObject, ops: list[list[tuple[str, str, Any]]]
) -> None:
    host = HOSTS[shape]
    own = data.draw(own_files(host).filter(lambda text: text is None or b"1979" not in text))

    def work(path: Path) -> None:
        if own is not None:
            path.write_bytes(own)
        backups: set[bytes] = set()
        for part in ops:
            for op in part:
                before = read(path)
                apply(host, path, *op)
                after = read(path)
                assert foreign(host, after.decode()) == foreign(host, before.decode())
                if not ours(host, before) and ours(host, after) and before:
                    backups.add(before)
                backups.discard(after)
                kept = {each.read_bytes() for each in path.parent.iterdir() if each != path}
                assert backups <= kept
            how = data.draw(st.sampled_from(["comment", "new", "layout", "ours out"]))
            path.write_bytes(changed(host, read(path).decode(), how).encode())

    in_a_folder(work)


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def ours(host: Host, text: bytes) -> bool:
    return b"/opt/waha-mcp" in text
