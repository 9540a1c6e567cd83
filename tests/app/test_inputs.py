"""The inputs of an App, by digest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from waha_mcp.app.definition import load_app
from waha_mcp.app.inputs import observed, unchanged

TEXT = 'url = "http://localhost:3000"\nkey = { file = "own.key" }\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of definitions, with one App; the working folder and the home are elsewhere."""
    for name in ("XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
        (tmp_path / name / "waha-mcp").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = tmp_path / "XDG_CONFIG_HOME" / "waha-mcp"
    (found / "mine.toml").write_text(TEXT)
    (found / "own.key").write_text("first")
    return found


def test_nothing_that_stands_in_a_file_or_variable_is_in_it_as_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "secret of a variable")
    (folder / "own.key").write_text("secret of a file")
    assert "secret" not in json.dumps(observed([str(folder / "own.key")], ["MINE"]))


def _key(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "own.key").write_text("other")  # as long as the first


def _no_key(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "own.key").unlink()


def _app(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "mine.toml").write_text(TEXT + 'exclude = ["list_chats"]\n')


def _another_definition(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "other.toml").write_text(TEXT)


def _folder_of_definitions(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder.parent / "second" / "waha-mcp").mkdir(parents=True)
    (folder.parent / "second" / "waha-mcp" / "mine.toml").write_text(TEXT)
    patch.setenv("XDG_CONFIG_HOME", str(folder.parent / "second"))


def _file_of_the_ids_name(folder: Path, patch: pytest.MonkeyPatch) -> None:
    Path("mine").write_text(TEXT)


@pytest.mark.parametrize(
    "change", [_key, _no_key, _app, _another_definition, _folder_of_definitions, _file_of_the_ids_name]
)
def test_a_change_of_what_an_app_is_made_of_is_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    inputs = load_app("mine", environ={}).inputs
    assert inputs is not None
    assert unchanged(json.loads(json.dumps(inputs)))
    change(folder, monkeypatch)
    assert not unchanged(inputs)


@pytest.mark.parametrize("value", ["", "other", None])
def test_a_change_of_a_variable_that_holds_the_key_is_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    (folder / "mine.toml").write_text('url = "http://localhost:3000"\nkey = { env = "MINE" }\n')
    monkeypatch.setenv("MINE", "first")
    inputs = load_app("mine").inputs
    assert inputs is not None
    assert unchanged(inputs)
    if value is None:
        monkeypatch.delenv("MINE")
    else:
        monkeypatch.setenv("MINE", value)
    assert not unchanged(inputs)


def test_where_the_key_is_in_a_keyring_it_is_not_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.toml").write_text('url = "http://localhost:3000"\nkey = { keyring = "mine" }\n')
    monkeypatch.setattr("waha_mcp.app.keys.from_keyring", lambda name: "key")
    assert load_app("mine", environ={}).inputs is None


def test_what_cannot_be_read_is_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("waha_mcp.app.inputs.open", refused, raising=False)
    assert observed(["\0", __file__], [])["files"] == {"\0": None, __file__: None}


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="pipes have no names")
def test_a_key_that_comes_through_a_pipe_is_read_once_and_not_told(folder: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"key-of-a-pipe")
    os.close(write)
    app = load_app("mine", environ={}, overrides={"key": {"file": f"/dev/fd/{read}"}})
    os.close(read)
    assert app.key.get_secret_value() == "key-of-a-pipe"
    assert app.inputs is None


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no file without end")
def test_what_only_has_the_name_of_an_id_and_is_no_file_is_not_read(folder: Path) -> None:
    Path("mine").symlink_to("/dev/zero")
    inputs = load_app("mine", environ={}).inputs
    assert inputs is not None
    assert inputs["files"]["mine"] is None
