"""The App definition: its three sources, their precedence, and that every error is one line without the key."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from waha_mcp.app.actions import NULL_ACTIONS, Action
from waha_mcp.app.definition import App, AppError, NoKey, id_of, load_app, shared_ids
from waha_mcp.places import config_dir

KEY = "k-4f9a1c77d2e84b0f"
ENV = {"WAHA_API_KEY": KEY}


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def write(text: str, name: str = "app.toml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config folder, separate for each test."""
    path = tmp_path / "config"
    path.mkdir()
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(platformdirs, "user_config_path", lambda name: path)
    return path


def waha_json(tmp_path: Path, **changes: Any) -> str:
    data: dict[str, Any] = {"id": "app_1", "session": "default", "app": "mcp", "enabled": True, "config": {"key": KEY}}
    path = tmp_path / "app.json"
    path.write_text(json.dumps(data | changes), encoding="utf-8")
    return str(path)


def refused(source: str | None = None, env: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(AppError) as caught:
        load_app(source, environ=ENV if env is None else env, overrides=overrides)
    said = str(caught.value)
    assert said
    assert "\n" not in said
    assert KEY not in said
    return said


def test_the_environment_alone_makes_an_app() -> None:
    app = load_app(
        environ={
            **ENV,
            "WAHA_URL": "https://waha.example/api-root/",
            "WAHA_SESSION": "work",
            "WAHA_ACTIONS": "read, send,",
            "WAHA_TOOLSETS": "core,all",
            "WAHA_INCLUDE": "send_poll",
            "WAHA_EXCLUDE": "react, mark_read",
            "WAHA_TIMEZONE": "America/New_York",
        }
    )
    assert str(app.zone) == app.timezone == "America/New_York"
    assert app.include == {"send_poll"}
    assert app.exclude == {"react", "mark_read"}
    assert app.url == "https://waha.example/api-root"
    assert app.session == "work"
    assert app.actions == frozenset({Action.READ, Action.SEND})
    assert app.toolsets == {"core", "all"}


def test_a_key_is_all_that_is_needed() -> None:
    app = load_app(environ=ENV)
    assert (app.url, app.session, app.actions) == ("http://localhost:3000", None, None)
    assert app.toolsets == {"core"}
    assert not app.allow_admin_key
    assert app.outbox is None


def test_blank_variables_count_as_not_set() -> None:
    app = load_app(environ={**ENV, "WAHA_URL": " ", "WAHA_ACTIONS": "", "WAHA_SESSION": "", "WAHA_MCP_APP": ""})
    assert app == load_app(environ=ENV)


@pytest.mark.parametrize(
    "name", ["Berlin", "", "Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "Europe", "+01:00"]
)
def test_a_time_zone_that_is_none_is_refused_on_loading(name: str, toml: Any) -> None:
    assert "timezone: must be the IANA name" in refused(toml(f'key = "{KEY}"\ntimezone = "{name}"'))


def test_without_a_time_zone_it_is_the_machines() -> None:
    assert load_app(environ=ENV).zone is None


PLACEHOLDERS = [
    *("${WAHA_API_KEY}", "${env:WAHA_API_KEY}", "$WAHA_API_KEY", "%WAHA_API_KEY%", "{{waha_key}}", "{{ waha key }}"),
    *(
        "${input:waha-key}",
        "${{ secrets.KEY }}",
        "$env:WAHA_API_KEY",
        "$(WAHA_API_KEY)",
        "${WAHA_API_KEY:-}",
        "<your key>",
    ),
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
@pytest.mark.parametrize("field", ["key", "url", "session", "timezone", "toolsets"])
def test_a_placeholder_that_nobody_filled_in_is_told_as_one(field: str, text: str, toml: Any, tmp_path: Path) -> None:
    variable = "WAHA_API_KEY" if field == "key" else f"WAHA_{field.upper()}"
    said = refused(env={**ENV, variable: text})
    assert f"{field}: is a placeholder such as ${{{variable}}} and not the value" in said
    assert f"Set {variable} where that program is started" in said
    assert refused(toml(f'key = "{KEY}"\n{field} = "{text}"' if field != "key" else f'key = "{text}"'), env={}) == said


def test_a_placeholder_in_a_key_file_and_in_a_part_of_the_url_is_told_too(toml: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("${WAHA_API_KEY}\n")
    assert "key: is a placeholder" in refused(toml('key = {file = "key"}'), env={})
    assert "url: is a placeholder" in refused(env={**ENV, "WAHA_URL": "http://${HOST}:3000"})
    assert "app: is a placeholder" in refused(env={**ENV, "WAHA_MCP_APP": "${APP}"})


@pytest.mark.parametrize(
    "key", ["$ecret", "k$ECRET_1", "$2b$12$abcdefgh", "pa%20ss%41b", "100%sure%", "a{b}c", "key_${x"]
)
def test_a_key_that_only_looks_like_a_placeholder_is_a_key(key: str) -> None:
    assert load_app(environ={"WAHA_API_KEY": key}).key.get_secret_value() == key


def test_a_percent_encoded_url_is_no_placeholder() -> None:
    assert load_app(environ={**ENV, "WAHA_URL": "https://waha.example/%C3%BC%C3%A4"}).url


def test_flags_beat_the_environment_which_beats_the_file(toml: Any) -> None:
    source = toml('key = "from-file"\nurl = "http://file"\nsession = "file"\nactions = ["read"]')
    app = load_app(
        source, environ={**ENV, "WAHA_URL": "http://env", "WAHA_SESSION": "env"}, overrides={"url": "http://flag"}
    )
    assert app.url == "http://flag"
    assert app.session == "env"
    assert app.actions == frozenset({Action.READ})
    assert app.key.get_secret_value() == KEY


def test_a_flag_that_was_not_given_beats_nothing(toml: Any) -> None:
    assert load_app(toml(f'key = "{KEY}"\nsession = "file"'), environ={}, overrides={"session": None}).session == "file"


def test_the_file_may_come_from_the_environment(toml: Any) -> None:
    source = toml(f'key = "{KEY}"\nid = "mine"')
    assert load_app(environ={"WAHA_MCP_APP": source}).id == "mine"


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_an_app_is_found_by_its_id_in_the_config_folder(folder: Path, suffix: str) -> None:
    text = f'key = "{KEY}"\nsession = "found"'
    if suffix == "json":
        text = json.dumps({"app": "mcp", "session": "found", "config": {"key": KEY}})
    (folder / f"work.{suffix}").write_text(text, encoding="utf-8")
    assert load_app("work", environ={}).session == "found"


def test_a_folder_of_the_same_name_does_not_hide_an_id(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path)
    (folder / "work.toml").write_text(f'key = "{KEY}"', encoding="utf-8")
    assert load_app("work", environ={}).id == "work"


@pytest.mark.parametrize(
    ("name", "app_id"),
    [
        ("work", "work"),
        ("my app", r"my-app-[0-9a-f]{6}"),
        (".hidden", r"hidden-[0-9a-f]{6}"),
        ("café", r"caf-[0-9a-f]{6}"),
        ("日本", r"app-[0-9a-f]{6}"),
    ],
)
def test_an_app_without_an_id_takes_its_files_name(name: str, app_id: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(f'key = "{KEY}"', encoding="utf-8")
    assert re.fullmatch(app_id, load_app(str(file), environ={}).id)
    file.write_text(f'id = "own"\nkey = "{KEY}"', encoding="utf-8")
    assert load_app(str(file), environ={}).id == "own"


def test_no_two_file_names_become_one_id() -> None:
    names = ["a b", "a-b", "a_b", "a.b", "a..b", "-a-b", "работа", "личное", "日本", "app", ".app"]
    assert len({id_of(Path(f"{name}.toml"), {}) for name in names}) == len(names)


def test_an_app_of_the_environment_alone_is_the_default_one() -> None:
    assert load_app(environ={"WAHA_API_KEY": KEY}).id == "default"


def test_two_files_of_one_id_are_found(folder: Path) -> None:
    (folder / "work.toml").write_text(f'key = "{KEY}"', encoding="utf-8")
    (folder / "other.toml").write_text(f'id = "work"\nkey = "{KEY}"', encoding="utf-8")
    (folder / "third.toml").write_text(f'key = "{KEY}"', encoding="utf-8")
    (folder / "broken.toml").write_text("=", encoding="utf-8")
    assert shared_ids() == {"work": [folder / "other.toml", folder / "work.toml"]}


def test_an_unknown_id_is_told_with_the_ids_that_there_are(folder: Path) -> None:
    (folder / "home.toml").touch()
    (folder / "work.json").touch()
    (folder / "notes.txt").touch()
    said = refused("nowhere")
    assert "'nowhere'" in said
    assert "home, work" in said
    assert "notes" not in said


def test_the_config_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_dir().name == "waha-mcp"


def test_the_key_may_stand_in_a_variable_or_a_file_beside_the_definition(toml: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"\ufeff{KEY}\n", encoding="utf-8")
    assert load_app(toml('key = {env = "MY_KEY"}'), environ={"MY_KEY": f"{KEY}\n"}).key.get_secret_value() == KEY
    assert load_app(toml('key = {file = "secret"}'), environ={}).key.get_secret_value() == KEY


def test_the_key_never_shows(toml: Any) -> None:
    app = load_app(toml(f'key = "{KEY}"'), environ={})
    for shown in (repr(app), str(app), app.model_dump_json(), repr(app.model_dump()), str(app.model_dump(mode="json"))):
        assert KEY not in shown


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ('{env = "NOT_SET"}', "NOT_SET"),
        ('{file = "nowhere"}', "nowhere"),
        ('{file = "."}', "key"),
        ('{file = "a\\u0000b"}', "key"),
        ('{file = "~no-such-user-here/key"}', "no-such-user-here"),
        ('{env = "A", file = "B"}', "key"),
        ("{}", "key"),
        ("5", "key"),
        ('""', "key: is empty"),
        (f'"{KEY} {KEY}"', "key"),
        (f'"{KEY}\\nX-Other: 1"', "key"),
        (f'"{KEY}ü"', "key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(toml: Any, key: str, names: str) -> None:
    assert names in refused(toml(f"key = {key}"), env={})


def test_a_key_file_that_is_not_text_is_refused(toml: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(KEY.encode("utf-16"))
    assert "UTF-8" in refused(toml('key = {file = "secret"}'), env={})


def test_no_key_at_all_is_told_with_the_ways_to_give_one() -> None:
    with pytest.raises(NoKey) as caught:
        load_app(environ={})
    assert "WAHA_API_KEY" in str(caught.value)


def test_wahas_own_json_makes_an_app(tmp_path: Path) -> None:
    config = {"actions": {"read": True, "send": False}, "key": KEY, "key_id": "key_1"}
    app = load_app(waha_json(tmp_path, url="http://waha:3000", config=config), environ={})
    assert (app.id, app.session, app.url) == ("app_1", "default", "http://waha:3000")
    assert app.actions == frozenset({Action.READ})
    assert app.key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("config", "actions"),
    [
        ({}, None),
        ({"actions": None}, NULL_ACTIONS),
        ({"actions": {}}, frozenset()),
        ({"actions": {"delete": True}}, {Action.DELETE}),
    ],
)
def test_actions_in_wahas_json_follow_wahas_rules(
    tmp_path: Path, config: dict[str, Any], actions: frozenset[Action] | None
) -> None:
    assert load_app(waha_json(tmp_path, config=config), environ=ENV).actions == actions


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"app": "chatwoot"}, '"app"'),
        ({"config": None}, '"config"'),
        ({"config": {"key": KEY, "webhook": KEY}}, "config.webhook"),
        ({"config": {"key": KEY, "actions": {"reed": True}}}, "config.actions"),
        ({"config": {"key": KEY, "actions": {"read": "yes"}}}, "config.actions"),
        ({"config": {"key": KEY, "actions": ["read"]}}, "config.actions: must be an object"),
        ({"hooks": KEY}, "hooks: unknown field"),
        ({"enabled": "yes"}, "enabled"),
    ],
)
def test_wahas_json_that_does_not_fit_is_refused_with_the_path(
    tmp_path: Path, changes: dict[str, Any], names: str
) -> None:
    assert names in refused(waha_json(tmp_path, **changes), env={})


@pytest.mark.parametrize("enabled", ["false", "true"])
def test_a_disabled_app_does_not_load(toml: Any, enabled: str) -> None:
    source = toml(f'key = "{KEY}"\nenabled = {enabled}')
    if enabled == "true":
        assert load_app(source, environ={}).enabled
    else:
        assert "enabled" in refused(source, env={})


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("", None),
        ("actions = []", frozenset()),
        ('actions = ["send", "read"]', {Action.READ, Action.SEND}),
        ("actions = {read = true, send = false}", {Action.READ}),
    ],
)
def test_actions_in_toml_are_a_list_of_names_or_wahas_flags(
    toml: Any, text: str, actions: frozenset[Action] | None
) -> None:
    assert load_app(toml(f'key = "{KEY}"\n{text}'), environ={}).actions == actions


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('actions = ["write"]', "read, send, control, setting, app, delete"),
        ("actions = {write = true}", "write"),
        ("actions = {read = 1}", "read"),
        ('actions = "read"', "actions: must be a list"),
        ("actions = [[1]]", "actions: must be a list"),
        ('toolsets = "core"', "toolsets: must be a list"),
        ("toolsets = [{a = 1}]", "toolsets: must be a list"),
        ('colour = "red"', "colour: unknown field"),
        ('session = "a b"', "session"),
        ('session = ""', "session"),
        ('id = "../x"', "id"),
        ("allow_admin_key = 1", "allow_admin_key"),
        ("outbox = 5", "outbox"),
        ('outbox = ""', "outbox"),
        ("[actions.read]\nx = 1", "read"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_with_its_path(toml: Any, text: str, names: str) -> None:
    assert names in refused(toml(f'key = "{KEY}"\n{text}'), env={})


@pytest.mark.parametrize(
    "url",
    [
        "localhost:3000",
        "ftp://waha",
        "http://",
        "http://:3000",
        "http://waha:port",
        "http://waha:99999",
        "http://[::1",
        "http://300.1.1.1",
        "http://wa ha",
        " http://waha",
        "http://wa\tha",
        "http://waha/?x-api-key=s3cr3t",
        "http://waha/?",
        "http://waha/#",
        "http://me:s3cr3t@waha",
        "http://me:s3cr3t",
        "http://s3cr3t@waha",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_quoted(url: str) -> None:
    said = refused(url=url)
    assert "url: " in said
    assert "s3cr3t" not in said


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("HTTPS://WAHA.example", "https://waha.example"),
        ("http://waha_app/prefix", "http://waha_app/prefix"),
        ("http://bücher", "http://xn--bcher-kva"),
        ("http://127.1:80", "http://127.0.0.1"),
        ("http:\\\\waha\\prefix", "http://waha/prefix"),
    ],
)
def test_other_urls_are_taken_in_the_form_in_which_all_programs_read_them_alike(url: str, taken: str) -> None:
    assert load_app(environ=ENV, overrides={"url": url + "/"}).url == taken


@pytest.mark.parametrize(
    "url", ["http://8.8.8.8\\@waha", "http://0x8.8.8.8", "http://%65xample.com", "http://[::ffff:808:808]"]
)
def test_plain_http_is_judged_by_the_host_that_is_called(url: str) -> None:
    assert "send the key unencrypted" in refused(url=url)


@pytest.mark.parametrize("field", ["media_hosts", "outbound_hosts"])
def test_hosts_are_listed_in_any_writing_and_alone(field: str, toml: Any) -> None:
    app = load_app(toml(f'key = "{KEY}"\n{field} = ["NAS.lan.", "127.1", "::1"]'), environ={})
    assert getattr(app, field) == {"nas.lan", "127.0.0.1", "[::1]"}
    assert f"{field}" in refused(toml(f'key = "{KEY}"\n{field} = ["nas.lan:80"]'), env={})


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("app.toml", b"key = ", "TOML"),
        ("app.toml", b"key = " + b"[" * 5000, "TOML"),
        ("app.json", b"{", "JSON"),
        ("app.json", b"[" * 200_000, "JSON"),
        ("app.json", b"9" * 5000, "JSON"),
        ("app.json", b"[]", "object"),
        ("app.toml", b"\xff\xfe", "UTF-8"),
        ("app.json", b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, names: str) -> None:
    (tmp_path / name).write_bytes(content)
    said = refused(str(tmp_path / name))
    assert name in said
    assert names in said


@pytest.mark.parametrize("source", ["nowhere/app.toml", "no\x00where.toml", "x" * 5000, "~no-such-user-here/a"])
def test_a_path_that_leads_nowhere_is_refused(folder: Path, source: str) -> None:
    refused(source)


def test_a_folder_is_not_a_definition(tmp_path: Path) -> None:
    assert "directory" in refused(str(tmp_path) + "/").lower()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_unreadable_file_is_named(toml: Any) -> None:
    source = toml(f'key = "{KEY}"')
    Path(source).chmod(0)
    assert "cannot read" in refused(source)


def test_a_byte_order_mark_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_bytes(b"\xef\xbb\xbf" + f'key = "{KEY}"'.encode())
    assert load_app(str(tmp_path / "app.toml"), environ={}).key.get_secret_value() == KEY


def test_the_outbox_stands_beside_the_definition(toml: Any, tmp_path: Path) -> None:
    assert load_app(toml(f'key = "{KEY}"\noutbox = "out"'), environ={}).outbox == tmp_path / "out"
    assert load_app(toml(f'key = "{KEY}"\noutbox = "/srv/out"'), environ={}).outbox == Path("/srv/out")


def test_an_app_cannot_be_changed() -> None:
    app = load_app(environ=ENV)
    with pytest.raises(ValueError, match="frozen"):
        app.actions = frozenset()
    assert isinstance(app, App)


def test_the_secrets_of_an_app_are_all_that_stand_in_it(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECH", "sample-speech-key")
    source = toml(
        f'key = "{KEY}"\ntranscriber = {{ url = "https://example.com/v1", key_env = "SPEECH" }}\n'
        'approval = { when = "send", notify = { url = "https://example.com/hook" } }'
    )
    found = [each.get_secret_value() for each in load_app(source, environ={}).secrets()]
    assert found == [KEY, "sample-speech-key", "https://example.com/hook"]
    assert [each.get_secret_value() for each in load_app(toml(f'key = "{KEY}"'), environ={}).secrets()] == [KEY]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ('pace = {total = "20/day"}\n', NoKey, "no key"),
        ('urll = "http://localhost"\n', AppError, "urll: unknown field; did you mean 'url'?"),
    ],
)
def test_that_the_key_is_missing_is_said_where_nothing_else_is_wrong(
    text: str, error: type[AppError], says: str, tmp_path: Path
) -> None:
    (tmp_path / "app.toml").write_text(text, encoding="utf-8")
    with pytest.raises(AppError) as caught:
        load_app(str(tmp_path / "app.toml"), environ={})
    assert type(caught.value) is error
    assert says in str(caught.value)
