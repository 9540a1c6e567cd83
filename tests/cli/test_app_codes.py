"""`waha-mcp apps code` and `apps oauth`, and what `disable` and `remove` do to OAuth connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.harness import run
from waha_mcp.digests import digest
from waha_mcp.policy import one_time_codes
from waha_mcp.server.oauth_state import Code, State, Tokens
from waha_mcp.store import Store
from waha_mcp.store.folders import user_store

RESOURCE = "https://wa.example.com/mcp"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config folder, with an App whose key is not stored on this machine."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "waha-mcp"
    folder.mkdir()
    definition = 'key = {env = "NOT_SET_HERE"}\nsession = "default"\nactions = ["read"]\n'
    (folder / "assistant.toml").write_text(definition)
    return folder


@pytest.fixture
def store() -> Iterator[Store]:
    """The user's store."""
    with closing(user_store()) as opened:
        yield opened


def connected(store: Store, app: str = "assistant", name: str = "Claude") -> Tokens:
    """Tokens of a program that is connected."""
    claims = Code("client", name, "https://client.example", True, "x", app, "account", store.now() + 60)
    store.swap("oauth_code", digest("code"), store.get("oauth_code", digest("code")), json.dumps(asdict(claims)))
    tokens = State(store, RESOURCE).exchange("code", claims)
    assert tokens is not None
    return tokens


def good(store: Store, tokens: Tokens) -> bool:
    return State(store, RESOURCE).of_access(tokens.access) is not None


def test_the_code_that_is_printed_opens_the_app(config: Path, store: Store) -> None:
    done = run("apps", "code", "assistant")
    assert done.returncode == 0
    first, *rest = done.stdout.splitlines()
    assert "10 minutes" in " ".join(rest)
    assert one_time_codes.redeem(store, "oauth", first, "") == "assistant"


def test_the_code_is_for_the_apps_own_id_in_any_folder(config: Path, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "apps"
    folder.mkdir()
    (folder / "one.toml").write_text('id = "two"\nkey = "unused-key"\n')
    done = run("apps", "code", "one", "--apps", str(folder), "--json")
    found = json.loads(done.stdout)
    assert found["app"] == "two"
    assert one_time_codes.redeem(store, "oauth", found["code"], "") == "two"


def test_there_is_no_code_for_an_app_that_is_disabled_or_not_there(config: Path, store: Store) -> None:
    file = config / "assistant.toml"
    file.write_text(f"enabled = false\n{file.read_text()}")
    done = run("apps", "code", "assistant")
    assert done.returncode != 0
    assert "is disabled" in done.stderr
    done = run("apps", "code", "asistant")
    assert "assistant" in done.stderr
    assert store.rows("one_time_code") == []


def test_what_is_connected_is_listed_and_ended(config: Path, store: Store) -> None:
    assert "Nothing is connected" in run("apps", "oauth", "assistant").stdout
    tokens, other = connected(store, name="Claude\x1b[2J"), connected(store, "other")
    listed = run("apps", "oauth", "assistant").stdout
    assert "Claude" in listed
    assert "\x1b" not in listed
    ended = run("apps", "oauth", "assistant", "--end").stdout
    assert "1 program that was connected" in ended
    assert not good(store, tokens)
    assert good(store, other)
    assert json.loads(run("apps", "oauth", "assistant", "--json").stdout) == []
    assert json.loads(run("apps", "oauth", "assistant", "--end", "--json").stdout) == {"ended": 0}


@pytest.mark.parametrize("command", [["disable"], ["remove", "--yes"]], ids=["disable", "remove"])
def test_an_app_that_is_switched_off_or_removed_takes_along_what_is_connected(
    command: list[str], config: Path, store: Store
) -> None:
    tokens, other = connected(store), connected(store, "other")
    done = run("apps", command[0], "assistant", "--here", *command[1:])
    assert done.returncode == 0, done.stderr
    assert "1 program that was connected by OAuth" in done.stdout
    assert not good(store, tokens)
    assert good(store, other)
