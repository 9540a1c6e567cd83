"""`waha-mcp apps rotate`: a new key, the old one revoked, and an App that works whichever step fails."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.harness import Admin, run
from tests.platforms import only_mine
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import AppError, load_app, read_definition
from waha_mcp.cli.rotation import Place, rotate, shared_with
from waha_mcp.cli.setup import Plan, make
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.admin_api import Admin as AdminApi
from waha_mcp.waha.admin_api import AdminError
from waha_mcp.waha.errors import Unreachable, WahaError
from waha_mcp.waha.key_probe import examine

pytestmark = pytest.mark.anyio

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a separate user, for this process and those that it starts."""
    found = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def folder(home: dict[str, str]) -> Path:
    return Path(home["XDG_CONFIG_HOME"]) / "waha-mcp"


def definition(home: dict[str, str]) -> Path:
    return folder(home) / "assistant.toml"


async def command(sandbox: SandboxInfo, home: dict[str, str], *arguments: str) -> Done:
    env = home | {"WAHA_ADMIN_KEY": sandbox.admin_key}
    return await anyio.to_thread.run_sync(lambda: run(*arguments, env=env))


async def rotated(sandbox: SandboxInfo, home: dict[str, str], *arguments: str) -> Done:
    return await command(sandbox, home, "apps", "rotate", "assistant", *arguments)


def plan_of(sandbox: SandboxInfo) -> Plan:
    return Plan("assistant", sandbox.url, "default", frozenset({Action.READ, Action.SEND}))


async def set_up(sandbox: SandboxInfo, home: dict[str, str]) -> str:
    """An App as `init` makes it; returns its key."""
    plan = plan_of(sandbox)
    async with AdminApi(plan.app(sandbox.admin_key)) as api:
        await make(api, plan, folder(home))
    return key_of(home)


async def tried(sandbox: SandboxInfo, home: dict[str, str], place: Place | None = None) -> str | None:
    """Rotate without a process; returns the error, or None."""
    plan = plan_of(sandbox)
    try:
        async with AdminApi(plan.app(sandbox.admin_key)) as api:
            assert await rotate(api, plan, place or Place.of(definition(home))) is None
    except (AdminError, WahaError) as error:
        return str(error)
    return None


def key_of(home: dict[str, str], **env: str) -> str:
    return load_app(str(definition(home)), environ=env).key.get_secret_value()


async def works(home: dict[str, str], key: str, **env: str) -> bool:
    """Whether a key may read and send, and no more."""
    app = load_app(str(definition(home)), environ=env).model_copy(update={"key": SecretStr(key)})
    grant = await examine(app)
    return grant.problem is None and {"read", "send"} <= set(grant.actions)


async def keys(admin: Admin) -> set[str]:
    return {row["key"] for row in await admin.request("GET", "/api/keys")}


@pytest.fixture
async def app(sandbox: SandboxInfo, home: dict[str, str]) -> str:
    """An App as `init` makes it; its key."""
    return await set_up(sandbox, home)


async def test_the_new_key_works_and_the_old_one_is_dead(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    before = await keys(admin)
    done = await rotated(sandbox, home)
    assert done.returncode == 0, done.stderr
    assert "App 'assistant' has a new key, in the file assistant.key; the old one no longer works." in done.stdout
    new = key_of(home)
    assert new != app
    assert await works(home, new)
    assert not await works(home, app)
    assert await keys(admin) == before - {app} | {new}
    assert new not in done.stdout + done.stderr
    assert (folder(home) / "assistant.key").stat().st_mode & 0o777 == 0o600
    [mcp] = await admin.request("GET", "/api/apps?session=default")
    assert (mcp["id"], mcp["config"]["key"]) == ("assistant", new)
    assert (await command(sandbox, home, "apps", "update", "assistant", "--actions", "read,send")).returncode == 0
    assert key_of(home) == new


async def test_a_script_reads_what_came_of_it(app: str, sandbox: SandboxInfo, home: dict[str, str]) -> None:
    done = await rotated(sandbox, home, "--json")
    assert json.loads(done.stdout) == {
        "id": "assistant", "key": "in the file assistant.key", "old": "gone", "clients": [], "had_the_same": [],
    }  # fmt: skip


# Where the key is kept


def kept_in(home: dict[str, str], how: str, key: str) -> None:
    (folder(home) / "assistant.key").unlink()
    line = {
        "the definition": f'key = "{key}"',
        "another file": 'key = {file = "~/keys/wa.txt"}',
        "a linked file": 'key = {file = "linked.key"}',
    }[how]
    text = definition(home).read_text().replace('key = {file = "assistant.key"}', f"{line}  # mine")
    assert "# mine" in text
    definition(home).write_text(text)
    real = Path(home["HOME"]) / "keys" / "wa.txt"
    real.parent.mkdir()
    real.write_text(key)
    if how == "a linked file":
        (folder(home) / "linked.key").symlink_to(real)


@pytest.mark.parametrize("how", ["the definition", "another file", "a linked file"])
async def test_the_new_key_is_kept_where_the_old_one_was(
    how: str, app: str, sandbox: SandboxInfo, home: dict[str, str]
) -> None:
    kept_in(home, how, app)
    assert await tried(sandbox, home) is None
    new = key_of(home)
    assert new != app
    assert await works(home, new)
    if how == "the definition":
        assert read_definition(definition(home))["key"] == new
    else:
        assert (Path(home["HOME"]) / "keys" / "wa.txt").read_text().strip() == new
        assert "# mine" in definition(home).read_text()
    assert (folder(home) / "linked.key").is_symlink() == (how == "a linked file")


RING = """
import json, os, pathlib
from keyring.backend import KeyringBackend

class Ring(KeyringBackend):
    priority = 9
    path = pathlib.Path(os.environ["HOME"]) / "ring.json"

    def _all(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get_password(self, service, name):
        return self._all().get(name)

    def set_password(self, service, name, password):
        if os.environ.get("RING_LOCKED"):
            raise RuntimeError("locked")
        self.path.write_text(json.dumps(self._all() | {name: password}))

    def delete_password(self, service, name):
        self.path.write_text(json.dumps({k: v for k, v in self._all().items() if k != name}))
"""


async def test_a_key_in_the_keyring_stays_in_the_keyring_and_a_locked_one_changes_nothing(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("keyring")
    (tmp_path / "ringing.py").write_text(RING)
    (tmp_path / "ring.json").write_text(json.dumps({"other": app}))
    text = definition(home).read_text().replace('{file = "assistant.key"}', '{keyring = "other"}')
    definition(home).write_text(text)
    ringing = home | {"PYTHON_KEYRING_BACKEND": "ringing.Ring", "PYTHONPATH": str(tmp_path)}
    before = await keys(admin)
    done = await rotated(sandbox, ringing | {"RING_LOCKED": "yes"})
    assert done.returncode == 1
    assert "the keyring does not accept 'other' (RuntimeError): unlock it" in done.stderr
    assert "It is removed again, and the App keeps its old key." in done.stderr
    assert await keys(admin) == before
    done = await rotated(sandbox, ringing)
    assert done.returncode == 0, done.stderr
    new = json.loads((tmp_path / "ring.json").read_text())["other"]
    assert new != app
    assert await keys(admin) == before - {app} | {new}


@pytest.mark.parametrize("name", ["MY_KEY", None])
async def test_a_key_from_the_environment_is_made_and_the_user_told_what_to_set(
    name: str | None, app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    line = f'key = {{env = "{name}"}}\n' if name else ""
    text = definition(home).read_text().replace('key = {file = "assistant.key"}\n', line)
    definition(home).write_text(text)
    variable = name or "WAHA_API_KEY"
    before = await keys(admin)
    done = await rotated(sandbox, home | {variable: app})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert (
        f"comes from the variable {variable}, which only you can change: set it to the new key in {folder(home)}"
        in line
    )
    new = (folder(home) / "assistant.key").read_text().strip()
    assert new not in done.stderr
    assert await keys(admin) == before | {new}
    assert await works(home, new, **{variable: new})
    assert await works(home, app, **{variable: new})


@pytest.mark.parametrize("name", ["MY_KEY", None])
async def test_a_key_from_the_environment_stays_and_the_new_one_lies_beside_the_definition(
    name: str | None,
    app: str,
    sandbox: SandboxInfo,
    admin: Admin,
    home: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = f'key = {{env = "{name}"}}\n' if name else ""
    definition(home).write_text(definition(home).read_text().replace('key = {file = "assistant.key"}\n', line))
    monkeypatch.setenv(name or "WAHA_API_KEY", app)
    before, plan = await keys(admin), plan_of(sandbox)
    async with AdminApi(plan.app(sandbox.admin_key)) as api:
        file = await rotate(api, plan, Place.of(definition(home)))
    assert file == folder(home) / "assistant.key"
    assert only_mine(file)
    assert await keys(admin) == before | {file.read_text().strip()}


def test_a_key_that_is_not_found_again_where_it_was_written_is_an_error(home: dict[str, str]) -> None:
    folder(home).mkdir(parents=True)
    definition(home).write_text('key = "one"\n')

    class Elsewhere(Place):
        def read(self) -> SecretStr:
            return SecretStr("one")

    with pytest.raises(AppError, match="another key stands there"):
        Elsewhere(definition(home), None).write(SecretStr("two"))
    Place(definition(home), None).write(SecretStr("three"))
    assert key_of(home) == "three"


# What fails on the way

STEPS: dict[str, dict[str, Any]] = {
    "making the first key": {"path": "/api/keys", "method": "POST", "status": 503},
    "making the first key, whose answer is lost": {"path": "/api/keys", "method": "POST", "drop": True, "after": True},
    "taking the old app away": {"path": "/api/apps/assistant", "method": "DELETE", "status": 503},
    "taking the old app away, unheard": {
        "path": "/api/apps/assistant",
        "method": "DELETE",
        "drop": True,
        "after": True,
    },
    "making the app anew": {"path": "/api/apps", "method": "POST", "status": 503},
    "making the app anew, unheard": {"path": "/api/apps", "method": "POST", "drop": True, "after": True},
    "taking the first key away": {"path": "/api/keys/", "method": "DELETE", "status": 503},
}


@pytest.mark.parametrize("step", STEPS)
async def test_whatever_fails_the_app_works_what_is_left_is_said_and_a_second_try_ends_well(
    step: str, app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    before = await admin.request("GET", "/api/keys")
    await admin.fault(**STEPS[step])
    said = await tried(sandbox, home)
    assert said is not None
    assert "\n" not in said
    now = key_of(home)
    assert await works(home, now)
    for row in await admin.request("GET", "/api/keys"):
        needless = row["key"] != now and row["id"] not in {each["id"] for each in before}
        made = {each["config"]["key"] for each in await admin.request("GET", "/api/apps?session=default")}
        assert not needless or row["id"] in said or row["key"] in made, said
        assert row["key"] not in said
    if now == app:
        assert "works with a new key" not in said
    elif any(row["key"] == app for row in await admin.request("GET", "/api/keys")):
        assert "it may still work: run the command again" in said
    assert await tried(sandbox, home) is None
    new = key_of(home)
    assert new not in (app, now)
    assert await works(home, new)
    assert not await works(home, app)
    [mcp] = await admin.request("GET", "/api/apps?session=default")
    assert mcp["config"]["key"] == new


async def test_a_new_key_that_may_too_little_is_taken_away_again(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    before = await keys(admin)
    await admin.fault("/api/default/status/new-message-id", status=403, body='{"statusCode": 403, "message": "no"}')
    assert await tried(sandbox, home) == "The new key cannot be used: the key lacks send. It is removed again."
    assert (key_of(home), await keys(admin)) == (app, before)


async def test_a_key_whose_removal_fails_as_well_is_named(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    before = {row["id"] for row in await admin.request("GET", "/api/keys")}
    await admin.fault("/api/default/status/new-message-id", status=403, body='{"statusCode": 403, "message": "no"}')
    await admin.fault("/api/keys/", method="DELETE", status=503)
    said = str(await tried(sandbox, home))
    assert said.startswith("The new key cannot be used: the key lacks send. Left in WAHA and used by nobody")
    [new] = {row["id"] for row in await admin.request("GET", "/api/keys")} - before
    assert f"the key {new} (" in said
    assert key_of(home) == app


async def test_an_app_whose_new_key_is_not_good_is_removed_whole(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = AdminApi.save

    async def lesser(api: AdminApi, app_id: str, session: str, actions: Any, **more: Any) -> Any:
        return await made(api, app_id, session, {Action.READ}, **more)

    monkeypatch.setattr(AdminApi, "save", lesser)
    said = str(await tried(sandbox, home))
    assert said.startswith("App 'assistant' works with a new key, and the old one is gone, but WAHA's list of MCP apps")
    assert "The new key cannot be used: the key lacks send. It is removed again." in said
    assert await admin.request("GET", "/api/apps?session=default") == []
    assert await works(home, key_of(home))


async def test_a_key_that_waha_does_not_tell_is_named_by_its_id(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = AdminApi.add_key

    async def untold(*arguments: Any) -> Any:
        return replace(await made(*arguments), key=None)

    before = {row["id"] for row in await admin.request("GET", "/api/keys")}
    monkeypatch.setattr(AdminApi, "add_key", untold)
    said = await tried(sandbox, home)
    [new] = {row["id"] for row in await admin.request("GET", "/api/keys")} - before
    assert said == f"WAHA did not return the new key. Left in WAHA and used by nobody: the key {new}."
    assert key_of(home) == app


async def test_what_cannot_be_looked_up_afterwards_is_not_known(
    app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = AdminApi.key_ids

    async def once(api: AdminApi, session: str) -> set[str]:
        monkeypatch.setattr(AdminApi, "key_ids", never)
        return await listed(api, session)

    async def never(api: AdminApi, session: str) -> set[str]:
        raise Unreachable("WAHA is gone.")

    monkeypatch.setattr(AdminApi, "key_ids", once)
    await admin.fault("/api/keys", method="POST", status=503)
    said = str(await tried(sandbox, home))
    assert said.endswith("Whether a new key of session 'default' is left in WAHA is not known: look at its keys there.")
    assert key_of(home) == app


class Full(Place):
    """A key place on a full disk."""

    def write(self, key: SecretStr) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "assistant.key")


class Doubtful(Place):
    """A key place that fails after it has stored the key, and cannot be read then."""

    def write(self, key: SecretStr) -> None:
        super().write(key)
        (self.definition.parent / "assistant.key").chmod(0)
        self.definition.write_text(self.definition.read_text().replace("assistant.key", "none.key"))
        raise AppError("a strange place")


@pytest.mark.parametrize("kind", [Full, Doubtful])
async def test_a_key_that_cannot_be_stored_is_taken_away_again_unless_it_may_stand_there(
    kind: type[Place], app: str, sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    before = await keys(admin)
    said = await tried(sandbox, home, kind(definition(home), None))
    if kind is Full:
        assert said == (
            "The new key cannot be stored (assistant.key: No space left on device). "
            "It is removed again, and the App keeps its old key."
        )
        assert await keys(admin) == before
    else:
        [new] = [row for row in await admin.request("GET", "/api/keys") if row["key"] not in before]
        assert f"It may be stored there all the same, so it is left in WAHA, with id {new['id']}" in str(said)


async def test_a_waha_without_apps_gets_a_plain_key_again(
    sandbox: SandboxInfo, admin: Admin, home: dict[str, str]
) -> None:
    await admin.fault("/api/apps", status=404, body='{"message": "Cannot GET /api/apps", "statusCode": 404}', count=100)
    old, before = await set_up(sandbox, home), await keys(admin)
    assert await tried(sandbox, home) is None
    assert await keys(admin) == before - {old} | {key_of(home)}


async def test_what_cannot_be_rotated_says_why(app: str, sandbox: SandboxInfo, home: dict[str, str]) -> None:
    assert "no App 'none'" in (await command(sandbox, home, "apps", "rotate", "none")).stderr
    assert (await command(sandbox, home, "apps", "disable", "assistant", "--here")).returncode == 0
    done = await rotated(sandbox, home)
    assert done.returncode == 2
    assert "is disabled, so no key of it works" in done.stderr
    assert (await command(sandbox, home, "apps", "enable", "assistant", "--here")).returncode == 0
    (folder(home) / "assistant.key").write_text(sandbox.admin_key)
    assert "has WAHA's admin key" in (await rotated(sandbox, home)).stderr
    (folder(home) / "assistant.key").unlink()
    assert "cannot read" in (await rotated(sandbox, home)).stderr
    with pytest.raises(AppError):
        key_of(home)


async def test_apps_with_the_same_key_are_named(app: str, sandbox: SandboxInfo, home: dict[str, str]) -> None:
    (folder(home) / "copy.toml").write_text(f'url = "{sandbox.url}"\nkey = "{app}"\n')
    (folder(home) / "copy.toml").chmod(0o600)
    (folder(home) / "broken.toml").write_text('key = {file = "none"}\n')
    done = await rotated(sandbox, home)
    assert done.returncode == 0, done.stderr
    assert "Apps that had the same key have no working key now: copy" in done.stdout


async def test_apps_with_the_same_key_are_those_that_have_it_now(
    app: str, sandbox: SandboxInfo, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, line in {
        "copy": f'key = "{app}"', "other": 'key = "another"', "broken": 'key = {file = "none"}', "variable": "",
    }.items():  # fmt: skip
        (folder(home) / f"{name}.toml").write_text(f'url = "{sandbox.url}"\n{line}\n')
        (folder(home) / f"{name}.toml").chmod(0o600)
    assert shared_with(Place.of(definition(home))) == ["copy"]
    monkeypatch.setenv("WAHA_API_KEY", app)
    assert sorted(shared_with(Place.of(definition(home)))) == ["copy", "variable"]
