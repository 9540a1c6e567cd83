"""A folder of definitions, and the template for keys without one: which key gets which App, and which get none."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from waha_mcp.app import folder as folder_module
from waha_mcp.app.definition import AppError
from waha_mcp.app.folder import OPEN, AppFolder, Template
from waha_mcp.digests import key_digest

KEY, OTHER = SecretStr("key_sample_one_0000"), SecretStr("key_sample_two_0000")


@pytest.fixture(autouse=True)
def looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOOK_EVERY", 0.0)


def write(path: Path, key: SecretStr | None = KEY, more: str = "") -> Path:
    text = "" if key is None else f'key = "{key.get_secret_value()}"\n'
    made = path.with_suffix(".made")
    made.write_text(text + more)
    made.chmod(0o600)
    return made.replace(path)


def test_an_app_is_found_by_its_key_and_by_its_id_alone(tmp_path: Path) -> None:
    write(tmp_path / "one.toml")
    apps = AppFolder(tmp_path)
    found = apps.by_key(KEY)
    assert found is not None
    assert found.id == "one"
    assert apps.by_id("one") is found
    for absent in (OTHER, SecretStr(""), SecretStr(key_digest(KEY)), SecretStr(KEY.get_secret_value().upper())):
        assert apps.by_key(absent) is None
    assert apps.by_id("ONE") is None


def test_a_file_that_does_not_change_stays_the_same_app(tmp_path: Path) -> None:
    write(tmp_path / "one.toml")
    apps = AppFolder(tmp_path)
    assert apps.by_key(KEY) is apps.by_key(KEY)


@pytest.mark.parametrize("spoiled", ["enabled = false\n", "[chats]\nread = 1\n", "nonsense = 1\n", "[["])
def test_a_definition_that_is_spoiled_is_gone_and_its_key_withheld(spoiled: str, tmp_path: Path) -> None:
    path = write(tmp_path / "one.toml")
    apps = AppFolder(tmp_path)
    assert not apps.withholds(KEY)
    write(path, more=spoiled)
    assert apps.by_key(KEY) is None
    assert apps.by_id("one") is None
    assert apps.withholds(KEY)
    # The key that it named last is remembered: no other App may get it.
    assert not apps.withholds(OTHER)
    write(path)
    assert apps.by_key(KEY) is not None
    assert not apps.withholds(KEY)
    path.unlink()
    assert apps.by_key(KEY) is None
    assert not apps.withholds(KEY)


@pytest.mark.parametrize("text", ["[[", 'key = { file = "nowhere" }\n', "", 'key = { env = "WAHA_MCP_TEST_UNSET" }\n'])
def test_a_definition_whose_key_was_never_known_withholds_every_key_that_no_other_names(
    text: str, tmp_path: Path
) -> None:
    write(tmp_path / "one.toml")
    write(tmp_path / "two.toml", None, text)
    apps = AppFolder(tmp_path)
    assert apps.by_key(KEY) is not None
    assert not apps.withholds(KEY)
    assert apps.withholds(OTHER)


@pytest.mark.parametrize("more", ["", 'id = "one"\n', 'id = "ONE"\n'])
def test_of_two_with_the_same_key_or_id_neither_is_found(
    more: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "one.toml")
    second = write(tmp_path / "two.toml", OTHER if more else KEY, more)
    apps = AppFolder(tmp_path)
    with caplog.at_level(logging.ERROR):
        assert apps.by_key(KEY) is apps.by_key(OTHER) is None
    assert apps.withholds(KEY)
    assert "same id" in caplog.text if more else "same key" in caplog.text
    assert KEY.get_secret_value() not in caplog.text
    second.unlink()
    assert apps.by_key(KEY) is not None


def test_a_key_in_a_file_is_read_again_when_the_file_changes(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY.get_secret_value())
    write(tmp_path / "one.toml", None, 'key = { file = "key" }\n')
    apps = AppFolder(tmp_path)
    assert apps.by_key(KEY) is not None
    (tmp_path / "key").write_text(OTHER.get_secret_value() + "\n")
    assert apps.by_key(KEY) is None
    assert apps.by_key(OTHER) is not None


def test_what_is_no_definition_breaks_nothing(tmp_path: Path) -> None:
    write(tmp_path / "one.toml")
    (tmp_path / "two.toml").mkdir()
    (tmp_path / "three.json").write_bytes(b"\xff\xfe")
    (tmp_path / "four.toml").write_text("a = " + "[" * 3_000)
    (tmp_path / "five.txt").write_text("key")
    (tmp_path / "six.toml").symlink_to(tmp_path / "nowhere")
    assert [app.id for app in AppFolder(tmp_path).apps()] == ["one"]


def test_a_folder_that_goes_away_takes_its_apps_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "apps"
    folder.mkdir()
    path = write(folder / "one.toml")
    apps = AppFolder(folder)
    path.unlink()
    folder.rmdir()
    assert apps.by_key(KEY) is None


def test_an_app_takes_nothing_from_the_environment_that_it_does_not_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAHA_API_KEY", OTHER.get_secret_value())
    monkeypatch.setenv("WAHA_URL", "http://192.0.2.1")
    monkeypatch.setenv("WAHA_ACTIONS", "delete")
    write(tmp_path / "one.toml")
    apps = AppFolder(tmp_path)
    found = apps.by_key(KEY)
    assert found is not None
    assert found.url == "http://localhost:3000"
    assert found.actions is None
    assert apps.by_key(OTHER) is None


# The template


def test_the_template_makes_an_app_of_its_own_of_each_key(tmp_path: Path) -> None:
    template = Template(None, "http://localhost:3001")
    one, two = template.app_for(KEY), template.app_for(OTHER)
    assert one.id != two.id
    assert one.id.startswith(OPEN)
    assert one.key == KEY
    assert KEY.get_secret_value() not in one.id
    assert one.approval.when == {"all"}
    assert one.url == "http://localhost:3001"
    assert template.app_for(KEY) is one


def test_a_template_is_read_again_when_it_changes_and_makes_none_while_it_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "template.toml", None, "humanize = true\n")
    template = Template(path, None)
    assert template.app_for(KEY).humanize
    write(path, None, "humanize = false\n")
    assert not template.app_for(KEY).humanize
    write(path, None, "[[")
    with pytest.raises(AppError):
        template.app_for(KEY)
    write(path, None, 'session = "other"\n')
    with pytest.raises(AppError, match="session"):
        template.app_for(KEY)


@pytest.mark.parametrize("field", ["key", "id", "session"])
def test_a_template_has_no_key_id_or_session(field: str, tmp_path: Path) -> None:
    path = write(tmp_path / "template.toml", None, f'{field} = "x"\n')
    with pytest.raises(AppError, match=field):
        Template(path, None)
