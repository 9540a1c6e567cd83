"""Installation into real files: every host's own path and shape, backups, links, and refusals."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.harness import run
from tests.platforms import mode_of
from waha_mcp.cli.common import Failure
from waha_mcp.cli.install import add_entry, choose_offers, launch_for
from waha_mcp.cli.install import install as cli_install
from waha_mcp.hosts import edit
from waha_mcp.hosts.installation import (
    Change,
    HostError,
    backup_of,
    entries_launching,
    free_name,
    install,
    uninstall,
)
from waha_mcp.hosts.launch import command_of, link_for
from waha_mcp.hosts.table import HOSTS, Host, Launch

LAUNCH = Launch("/opt/waha/bin/waha-mcp", ("serve", "--app", "/home/sam/assistant.toml"))
FOREIGN = {
    "json": '{{\n  // mine\n  "{0}": {{\n    "other": {{"command": "x"}}, // keep\n  }},\n  "theme": "dark",\n}}\n',
    "yaml": "# mine\n{0}:\n  other:\n    cmd: x # keep\ntheme:   dark\n",
    "toml": '# mine\ntheme = "dark"\n\n[{0}.other]\ncommand = "x" # keep\n',
}


def foreign(host: Host) -> str:
    text = FOREIGN[host.format].format(host.place[-1])
    if len(host.place) == 2:  # one level down
        inner = text.replace("\n", "\n  ").rstrip().removesuffix(",").replace('  "theme": "dark",\n  ', "")
        return f'{{\n  "{host.place[0]}": {inner}\n}}\n'
    return text


def entry(host: Host) -> dict[str, Any]:
    return host.entry("whatsapp", LAUNCH)


@pytest.mark.parametrize("name", HOSTS)
def test_a_file_with_foreign_entries_comes_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "config"
    path.write_text(foreign(host))
    path.chmod(0o640)
    mode = mode_of(path)
    assert install(host, "whatsapp", entry(host), path).what == "added"
    assert "# keep" in path.read_text() or "// keep" in path.read_text()
    assert mode_of(path) == mode
    assert uninstall(host, "whatsapp", path).what == "removed"
    assert path.read_text() == foreign(host)
    assert os.listdir(tmp_path) == ["config"]


@pytest.mark.parametrize("name", HOSTS)
def test_foreign_entries_survive_when_the_host_has_changed_its_file_in_between(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "config"
    path.write_text(foreign(host))
    install(host, "whatsapp", entry(host), path)
    path.write_text(path.read_text().replace("dark", "light").replace('"x"', '"y"'))
    uninstall(host, "whatsapp", path)
    assert path.read_text().rstrip() == foreign(host).replace("dark", "light").replace('"x"', '"y"').rstrip()
    assert backup_of(path).exists()


@pytest.mark.parametrize("name", HOSTS)
def test_a_missing_file_is_made_and_taken_away_again(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "new" / "config"
    change = install(host, "whatsapp", entry(host), path)
    assert (change.what, change.backup) == ("added", None)
    assert edit.entry_at(edit.read(path.read_text(), host.format), host.place, "whatsapp") == entry(host)
    uninstall(host, "whatsapp", path)
    assert not path.exists()


@pytest.mark.parametrize("name", HOSTS)
def test_installing_again_keeps_what_the_user_has_added_to_the_entry(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "config"
    added = {"enabled_tools": ["list_chats"], "tools": {"send_text": {"approval_mode": "prompt"}}, "required": True}
    launch = Launch("/old/waha-mcp", LAUNCH.args, {"WAHA_URL": "http://localhost:3000"}, "WAHA_API_KEY")
    path.write_text(edit.put("", host.format, host.place, "whatsapp", host.entry("whatsapp", launch) | added))
    assert install(host, "whatsapp", entry(host), path).what == "replaced"
    assert edit.entry_at(edit.read(path.read_text(), host.format), host.place, "whatsapp") == entry(host) | added
    assert install(host, "whatsapp", entry(host), path).what == "unchanged"


@pytest.mark.parametrize("name", HOSTS)
def test_a_broken_file_is_refused_and_untouched(name: str, tmp_path: Path) -> None:
    host, path = HOSTS[name], tmp_path / "config"
    path.write_text('{"a": [1, \n= [')
    with pytest.raises(HostError, match="config is left as it is"):
        install(host, "whatsapp", entry(host), path)
    assert path.read_text() == '{"a": [1, \n= ['
    assert os.listdir(tmp_path) == ["config"]


def test_the_users_own_file_is_kept_once_and_no_older_entry_comes_back(tmp_path: Path) -> None:
    host, path = HOSTS["cursor"], tmp_path / "mcp.json"
    path.write_text(foreign(host))
    assert install(host, "whatsapp", entry(host), path).backup == backup_of(path)
    assert install(host, "whatsapp", entry(host), path).what == "unchanged"
    change = install(host, "whatsapp", {**entry(host), "args": ["serve"]}, path)
    assert (change.what, change.backup) == ("replaced", backup_of(path))
    assert backup_of(path).read_text() == foreign(host)
    assert uninstall(host, "whatsapp", path) == Change(path, "removed", None, {**entry(host), "args": ["serve"]})
    assert path.read_text() == foreign(host)
    assert os.listdir(tmp_path) == ["mcp.json"]


def test_a_backup_with_an_older_entry_of_ours_is_never_put_back(tmp_path: Path) -> None:
    host, path = HOSTS["cursor"], tmp_path / "mcp.json"
    older = edit.put(foreign(host), host.format, host.place, "whatsapp", {**entry(host), "args": ["serve"]})
    backup_of(path).write_text(older)
    path.write_text(edit.put(foreign(host), host.format, host.place, "whatsapp", entry(host)))
    assert uninstall(host, "whatsapp", path).backup == backup_of(path)
    assert path.read_text() == foreign(host)
    assert backup_of(path).read_text() == older


def test_a_backup_of_an_earlier_time_gives_way_to_a_new_one_and_is_kept(tmp_path: Path) -> None:
    host, path = HOSTS["cursor"], tmp_path / "mcp.json"
    path.write_text(foreign(host))
    for theme in ("light", "blue"):
        install(host, "whatsapp", entry(host), path)
        path.write_text(foreign(host).replace("dark", theme))  # without our entry
    install(host, "whatsapp", entry(host), path)
    uninstall(host, "whatsapp", path)
    assert path.read_text() == foreign(host).replace("dark", "blue")
    kept = {each.name: each.read_text() for each in tmp_path.iterdir() if each != path}
    assert kept == {
        "mcp.json.waha-mcp.bak.1": foreign(host),
        "mcp.json.waha-mcp.bak.2": foreign(host).replace("dark", "light"),
    }


def test_an_entry_written_by_hand_is_kept_in_the_backup_when_it_is_replaced(tmp_path: Path) -> None:
    host, path = HOSTS["cursor"], tmp_path / "mcp.json"
    by_hand = edit.put(foreign(host), host.format, host.place, "whatsapp", {"command": "waha-mcp"})
    path.write_text(by_hand)
    install(host, "whatsapp-two", entry(host), path)
    uninstall(host, "whatsapp-two", path)
    assert path.read_text() == by_hand
    assert os.listdir(tmp_path) == ["mcp.json"]
    assert install(host, "whatsapp", entry(host), path).backup == backup_of(path)
    assert backup_of(path).read_text() == by_hand


@pytest.mark.parametrize("work", [lambda h, p: install(h, "other", entry(h), p), lambda h, p: uninstall(h, "other", p)])
def test_an_entry_of_somebody_else_is_never_touched(work: Any, tmp_path: Path) -> None:
    host, path = HOSTS["claude-desktop"], tmp_path / "config.json"
    path.write_text(foreign(host))
    with pytest.raises(HostError, match="not waha-mcp's"):
        work(host, path)
    assert path.read_text() == foreign(host)


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    host, real, link = HOSTS["zed"], tmp_path / "dotfiles.json", tmp_path / "settings.json"
    real.write_text("{}\n")
    link.symlink_to(real)
    install(host, "whatsapp", entry(host), link)
    assert link.is_symlink()
    assert "waha-mcp" in real.read_text()
    uninstall(host, "whatsapp", link)
    assert link.is_symlink()
    assert real.read_text() == "{}\n"


def test_a_link_to_a_file_that_is_not_there_yet_stays_a_link(tmp_path: Path) -> None:
    host, link = HOSTS["zed"], tmp_path / "settings.json"
    link.symlink_to(tmp_path / "dotfiles.json")
    install(host, "whatsapp", entry(host), link)
    uninstall(host, "whatsapp", link)
    assert link.is_symlink()
    assert not (tmp_path / "dotfiles.json").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"^cannot "):
        install(HOSTS["zed"], "whatsapp", entry(HOSTS["zed"]), tmp_path / "file" / "settings.json")


PATHS = {
    "claude-desktop": (
        "/u/.config/Claude/claude_desktop_config.json",
        "/u/Library/Application Support/Claude/claude_desktop_config.json",
        "/u/AppData/Roaming/Claude/claude_desktop_config.json",
    ),
    "claude-code": ("/u/.claude.json",) * 3,
    "goose": (*("/u/.config/goose/config.yaml",) * 2, "/u/AppData/Roaming/Block/goose/config/config.yaml"),
    "cursor": ("/u/.cursor/mcp.json",) * 3,
    "vscode": (
        "/u/.config/Code/User/mcp.json",
        "/u/Library/Application Support/Code/User/mcp.json",
        "/u/AppData/Roaming/Code/User/mcp.json",
    ),
    "windsurf": ("/u/.codeium/windsurf/mcp_config.json",) * 3,
    "zed": (*("/u/.config/zed/settings.json",) * 2, "/u/AppData/Roaming/Zed/settings.json"),
    "openclaw": ("/u/.openclaw/openclaw.json",) * 3,
    "gemini-cli": ("/u/.gemini/settings.json",) * 3,
    "codex": ("/u/.codex/config.toml",) * 3,
    "qwen-code": ("/u/.qwen/settings.json",) * 3,
    "copilot-cli": ("/u/.copilot/mcp-config.json",) * 3,
    "lm-studio": ("/u/.lmstudio/mcp.json",) * 3,
    "opencode": ("/u/.config/opencode/opencode.json",) * 3,
}


@pytest.mark.parametrize("name", HOSTS)
def test_each_host_has_its_path_on_each_system(name: str) -> None:
    found = tuple(
        HOSTS[name].file(platform, {"HOME": "/u", "USERPROFILE": "/u"}).as_posix()
        for platform in ("linux", "darwin", "win32")
    )
    assert found == PATHS[name]


def test_variables_move_the_files_that_the_hosts_let_them_move() -> None:
    env = {
        "HOME": "/u",
        "XDG_CONFIG_HOME": "/x",
        "CODEX_HOME": "/c",
        "CLAUDE_CONFIG_DIR": "/d",
        "GEMINI_CLI_HOME": "/g",
        "QWEN_HOME": "/q",
        "COPILOT_HOME": "/p",
    }
    assert HOSTS["goose"].file("linux", env) == Path("/x/goose/config.yaml")
    assert HOSTS["opencode"].file("linux", env) == Path("/x/opencode/opencode.json")
    assert HOSTS["codex"].file("linux", env) == Path("/c/config.toml")
    assert HOSTS["claude-code"].file("linux", env) == Path("/d/.claude.json")
    assert HOSTS["gemini-cli"].file("linux", env) == Path("/g/.gemini/settings.json")
    assert HOSTS["qwen-code"].file("linux", env) == Path("/q/settings.json")
    assert HOSTS["copilot-cli"].file("linux", env) == Path("/p/mcp-config.json")


def test_openclaws_file_is_where_its_variables_say_the_narrowest_first() -> None:
    def placed(**env: str) -> str:
        return HOSTS["openclaw"].file("linux", {"HOME": "/u"} | env).as_posix()

    assert placed(OPENCLAW_HOME="/h") == "/h/.openclaw/openclaw.json"
    assert placed(OPENCLAW_HOME="/h", OPENCLAW_STATE_DIR="/s") == "/s/openclaw.json"
    assert placed(OPENCLAW_STATE_DIR="/s", OPENCLAW_CONFIG_PATH="/f/own.json5") == "/f/own.json5"


def test_opencodes_file_with_comments_is_taken_where_there_is_one(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    folder = tmp_path / ".config" / "opencode"
    folder.mkdir(parents=True)
    assert HOSTS["opencode"].file("linux", env) == folder / "opencode.json"
    (folder / "opencode.jsonc").write_text("{}")
    assert HOSTS["opencode"].file("linux", env) == folder / "opencode.jsonc"


def test_claude_codes_older_file_is_taken_where_there_is_one_since_claude_code_reads_no_other_then(
    tmp_path: Path,
) -> None:
    claude, moved = HOSTS["claude-code"], tmp_path / "moved"
    for env, folder in (
        ({"HOME": str(tmp_path)}, tmp_path / ".claude"),
        ({"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(moved)}, moved),
    ):
        assert claude.file("linux", env).name == ".claude.json"
        folder.mkdir()
        (folder / ".config.json").write_text("{}")
        assert claude.file("linux", env) == folder / ".config.json"
        (folder / ".config.json").write_text("")
        assert claude.file("linux", env) == folder / ".config.json"
        usual = tmp_path / ".claude.json" if folder.name == ".claude" else folder / ".claude.json"
        usual.write_text("{}")
        assert claude.file("linux", env) == usual


def test_opencodes_entry_has_the_command_in_one_list() -> None:
    host = HOSTS["opencode"]
    launch = Launch("/opt/waha-mcp", ("serve",), {"WAHA_URL": "http://localhost:3000"}, "WAHA_API_KEY")
    assert host.entry("whatsapp", launch) == {
        "type": "local",
        "command": ["/opt/waha-mcp", "serve"],
        "environment": {"WAHA_URL": "http://localhost:3000", "WAHA_API_KEY": "{env:WAHA_API_KEY}"},
    }


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose user has one App, with its key in a file."""
    apps = tmp_path / ".config" / "waha-mcp"
    apps.mkdir(parents=True)
    (apps / "assistant.toml").write_text('id = "assistant"\nkey = { file = "assistant.key" }\n')
    (apps / "assistant.key").write_text("key_sample_0000\n")
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}


@pytest.mark.parametrize("name", HOSTS)
def test_the_way_to_the_app_gets_into_a_hosts_file_and_no_key(name: str, home: dict[str, str]) -> None:
    definition = Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / "assistant.toml"
    shown = shown_for(HOSTS[name], definition)
    assert str(definition) in shown
    assert "key_sample_0000" not in shown


@pytest.mark.parametrize("name", HOSTS)
def test_a_key_in_a_variable_is_referred_to_as_the_host_does_it(
    name: str, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "key_sample_0000")
    definition = Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / "assistant.toml"
    definition.write_text('key = { env = "MY_KEY" }\n')
    if HOSTS[name].key_reference is None:
        with pytest.raises(Failure, match="waha-mcp init"):
            shown_for(HOSTS[name], definition)
    else:
        assert "MY_KEY" in shown_for(HOSTS[name], definition)
        assert "key_sample_0000" not in shown_for(HOSTS[name], definition)


def shown_for(host: Host, definition: Path) -> str:
    entry = host.entry("whatsapp", launch_for(host, str(definition)))
    return edit.show(host.format, host.place, "whatsapp", entry)


@pytest.mark.parametrize("name", HOSTS)
def test_the_name_of_the_entry_is_all_that_a_host_can_know_it_by(name: str) -> None:
    made = HOSTS[name].entry("whatsapp-two", LAUNCH)
    assert made.get("name", "whatsapp-two") == "whatsapp-two"
    link = link_for(HOSTS[name], "whatsapp-two", LAUNCH)
    query = parse_qs(urlsplit(link).query) if link else {}
    assert {value for key in ("id", "name") for value in query.get(key, [])} <= {"whatsapp-two"}


def test_print_shows_what_install_would_write(home: dict[str, str]) -> None:
    printed = run("install", "goose", "--print", env=home)
    assert run("install", "goose", env=home).returncode == 0
    assert HOSTS["goose"].file("linux", home).read_text() == printed.stdout


@pytest.mark.parametrize("host", ["cursor", "lm-studio"])
def test_links_hold_the_same_entry(host: str, home: dict[str, str]) -> None:
    printed = run("install", host, "--print", env=home)
    link = urlsplit(printed.stderr.split()[-1])
    entry = json.loads(printed.stdout)["mcpServers"]["whatsapp"]
    assert json.loads(base64.b64decode(parse_qs(link.query)["config"][0])) == entry


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["install", "emacs"], "claude-desktop"),
        (["install", "cursor", "--app", "nobody"], "nobody"),
        (["uninstall", "emacs"], "claude-desktop"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], says: str, home: dict[str, str]) -> None:
    done = run(*arguments, env=home)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert says in line


def test_several_apps_are_not_guessed_among(home: dict[str, str]) -> None:
    (Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / "observer.toml").write_text('key = "key_sample_0000"\n')
    done = run("install", "cursor", env=home)
    assert done.returncode == 2
    assert "choose one of assistant, observer with --app assistant" in done.stderr


def test_uninstalling_what_is_not_there_changes_nothing(home: dict[str, str]) -> None:
    done = run("uninstall", "cursor", env=home)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout


@pytest.fixture
def two(home: dict[str, str]) -> dict[str, str]:
    """A user with the Apps `assistant` and `on_call`."""
    (Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / "on_call.toml").write_text('key = "key_sample_0000"\n')
    return home


def done(env: dict[str, str], *arguments: str, code: int = 0) -> str:
    finished = run(*arguments, env=env)
    assert finished.returncode == code, finished.stderr
    return finished.stdout + finished.stderr


def entries(host: str, env: dict[str, str]) -> dict[str, Any]:
    record = HOSTS[host]
    file = record.file("linux", env)
    if not file.exists():
        return {}
    data: Any = edit.read(file.read_text(), record.format)
    for key in record.place:
        data = data[key]
    return {name: command_of(each)[-1].rpartition("/")[2] for name, each in data.items()}


@pytest.mark.parametrize("host", ["claude-desktop", "goose", "codex"])
def test_a_second_app_gets_an_entry_of_its_own_and_keeps_it(host: str, two: dict[str, str]) -> None:
    both = {"whatsapp": "assistant.toml", "whatsapp-on-call": "on_call.toml"}
    for app in ("assistant", "on_call", "on_call", "assistant"):
        done(two, "install", host, "--app", app)
    assert entries(host, two) == both
    done(two, "uninstall", host, "--app", "assistant")
    assert "already has" in done(two, "install", host, "--app", "on_call")
    assert entries(host, two) == {"whatsapp-on-call": "on_call.toml"}
    done(two, "uninstall", host)
    assert not HOSTS[host].file("linux", two).exists()


def test_names_that_are_taken_are_left_alone(tmp_path: Path) -> None:
    host, path = HOSTS["goose"], tmp_path / "config.yaml"
    path.write_text("extensions:\n  a: {name: whatsapp, cmd: x}\n  b: {name: whatsapp-assistant, cmd: y}\n")
    assert free_name(host, LAUNCH, path) == "whatsapp-assistant-2"
    long = Launch("waha-mcp", ("serve", "--app", f"/home/sam/{'x' * 60}.toml"))
    assert len(free_name(host, long, path)) <= 30


def test_a_name_that_is_asked_for_is_taken_and_the_app_that_has_to_go_is_named(two: dict[str, str]) -> None:
    done(two, "install", "cursor", "--app", "assistant")
    said = done(two, "install", "cursor", "--app", "on_call", "--name", "whatsapp")
    assert "launched the App 'assistant'" in said
    assert "launched" not in done(two, "install", "cursor", "--app", "on_call", "--name", "whatsapp")
    assert entries("cursor", two) == {"whatsapp": "on_call.toml"}


def test_several_entries_are_not_guessed_among_and_the_commands_can_be_pasted(two: dict[str, str]) -> None:
    for app in ("assistant", "on_call"):
        done(two, "install", "cursor", "--app", app)
    said = done(two, "uninstall", "cursor", code=2)
    commands = re.findall("`[^`]*waha-mcp (.*?)`", said)
    assert [shlex.split(each)[-1] for each in commands] == ["whatsapp", "whatsapp-on-call"]
    for each in commands:
        done(two, *shlex.split(each))
    assert entries("cursor", two) == {}


def test_an_app_that_is_gone_can_still_be_taken_out(two: dict[str, str]) -> None:
    for app in ("assistant", "on_call"):
        done(two, "install", "cursor", "--app", app)
    (Path(two["XDG_CONFIG_HOME"]) / "waha-mcp" / "on_call.toml").unlink()
    done(two, "uninstall", "cursor", "--app", "on_call")
    assert entries("cursor", two) == {"whatsapp": "assistant.toml"}
    assert "no entry that launches the App on_call" in done(two, "uninstall", "cursor", "--app", "on_call", code=2)


def test_where_others_have_changed_the_file_the_backup_is_named(two: dict[str, str]) -> None:
    path = HOSTS["cursor"].file("linux", two)
    path.parent.mkdir()
    path.write_text('{"theme": "dark"}\n')
    assert str(backup_of(path)) in done(two, "install", "cursor", "--app", "assistant")
    path.write_text(path.read_text().replace("dark", "light"))
    assert str(backup_of(path)) in done(two, "uninstall", "cursor")
    assert '"theme": "light"' in path.read_text()
    assert backup_of(path).read_text() == '{"theme": "dark"}\n'


def test_the_entries_that_launch_a_definition_are_found_however_they_name_it(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    definition = Path(home["XDG_CONFIG_HOME"]) / "waha-mcp" / "assistant.toml"
    for host, arguments in {
        "cursor": ["--app", str(definition)],
        "goose": ["--app", "assistant"],
        "codex": [f"--app={definition}"],
        "zed": ["--app", "/home/sam/other.toml"],
        "vscode": [],
    }.items():
        install(HOSTS[host], f"of-{host}", HOSTS[host].entry(f"of-{host}", Launch("waha-mcp", ("serve", *arguments))))
    HOSTS["windsurf"].file().parent.mkdir(parents=True)
    HOSTS["windsurf"].file().write_text("broken {")
    found = [(host.name, name) for host, name in entries_launching(definition)]
    assert found == [("goose", "of-goose"), ("cursor", "of-cursor"), ("codex", "of-codex")]


def test_what_costs_nothing_is_set_and_what_was_chosen_stays_until_none_is_asked_for(home: dict[str, str]) -> None:
    def settings() -> dict[str, Any]:
        found = edit.read(HOSTS["codex"].file("linux", home).read_text(), "toml")["mcp_servers"]["whatsapp"]
        return {key: value for key, value in found.items() if key not in ("command", "args")}

    said = done(home, "install", "codex")
    assert settings() == {"startup_timeout_sec": 60}
    assert "--with required" in said
    assert "With required" in done(home, "install", "codex", "--with", "required")
    assert "--with required" not in done(home, "install", "codex")
    assert settings() == {"startup_timeout_sec": 60, "required": True}
    done(home, "install", "codex", "--with", "none", "--with", "default_tools_approval_mode")
    assert settings() == {"default_tools_approval_mode": "approve"}
    done(home, "install", "codex", "--with", "none")
    assert settings() == {}


def test_an_offer_goes_no_further_than_the_app_that_it_was_chosen_for(two: dict[str, str]) -> None:
    done(two, "install", "gemini-cli", "--app", "assistant", "--with", "trust")
    done(two, "install", "gemini-cli", "--app", "on_call", "--name", "whatsapp")
    assert "trust" not in HOSTS["gemini-cli"].file("linux", two).read_text()


def test_a_value_of_the_users_own_is_not_set_back(home: dict[str, str]) -> None:
    done(home, "install", "codex")
    path = HOSTS["codex"].file("linux", home)
    path.write_text(path.read_text().replace("= 60", "= 120"))
    done(home, "install", "codex")
    assert "startup_timeout_sec = 120" in path.read_text()


def test_an_offer_that_a_host_does_not_have_is_an_error_that_names_those_there_are(home: dict[str, str]) -> None:
    said = done(home, "install", "codex", "--with", "trust", code=2)
    assert "startup_timeout_sec, required, default_tools_approval_mode, none" in said


def test_each_offer_that_costs_something_is_asked_about_once_with_what_it_costs(
    home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    asked: list[tuple[str, bool]] = []

    def confirm(question: str, default: bool) -> bool:
        asked.append((question, default))
        return "required" in question

    monkeypatch.setattr("typer.confirm", confirm)
    codex = HOSTS["codex"]
    assert [offer.name for offer in choose_offers(codex, None, ask=True)] == ["startup_timeout_sec", "required"]
    assert [default for _, default in asked] == [False, False]
    assert all(offer.default or any(offer.says in question for question, _ in asked) for offer in codex.offers)
    launch = launch_for(codex, "assistant")
    add_entry(codex, launch, None, offers=choose_offers(codex, ["default_tools_approval_mode"], ask=True))
    assert len(asked) == 2
    chosen = choose_offers(codex, None, ask=True)
    assert [default for _, default in asked[2:]] == [False, True]
    add_entry(codex, launch, None, offers=chosen)
    text = codex.file().read_text()
    assert "required = true" in text
    assert "default_tools_approval_mode" not in text


def test_the_help_of_install_and_the_documents_name_every_host_and_its_offers() -> None:
    helped = " ".join((cli_install.__doc__ or "").split())
    page = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text()
    assert re.findall(r"The hosts: (.*?)\.", helped) == [", ".join(HOSTS)]
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| `~/.* \| (.*)\|$", page)
    offered = {name: ", ".join(f"`{offer.name}`" for offer in host.offers) for name, host in HOSTS.items()}
    assert [(name, text.strip()) for name, text in rows] == [*offered.items()]


@pytest.mark.parametrize("name", HOSTS)
def test_every_offer_says_in_one_line_what_it_costs(name: str) -> None:
    host = HOSTS[name]
    for offer in host.offers:
        assert "\n" not in offer.says
        assert not offer.fields.keys() & host.entry("whatsapp", LAUNCH).keys()


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_is_found_by_its_file_or_its_own_folder_and_not_by_a_shared_one(name: str, tmp_path: Path) -> None:
    env, host = {"HOME": str(tmp_path)}, HOSTS[name]
    file = host.file("linux", env)
    (tmp_path / ".config").mkdir()
    assert not host.found("linux", env)
    if file.parent != tmp_path:
        file.parent.mkdir(parents=True)
        assert host.found("linux", env)
        file.parent.rmdir()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    assert host.found("linux", env)


def test_claude_code_is_found_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    assert HOSTS["claude-code"].found("linux", {"HOME": str(tmp_path)})
    assert not HOSTS["claude-desktop"].found("linux", {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("host", "text", "says"),
    [
        ("cursor", "null", "it must hold an object"),
        ("codex", 'mcp_servers = {other = {command = "x"}}\n', "cannot be edited safely"),
    ],
)
def test_a_file_that_cannot_be_edited_is_told_from_one_that_is_not_valid(
    host: str, text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(HostError, match=says):
        install(HOSTS[host], "whatsapp", HOSTS[host].entry("whatsapp", LAUNCH), path)
    assert path.read_text() == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "config"
    os.mkfifo(path)
    with pytest.raises(HostError, match="not a regular file"):
        install(HOSTS["cursor"], "whatsapp", HOSTS["cursor"].entry("whatsapp", LAUNCH), path)
