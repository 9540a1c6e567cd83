"""Without the store: effects are refused with advice, and reading continues. And several real processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Admin, opened_store, run
from tests.policy.common import MAYA, SAM, bridge_with, effects
from waha_mcp.places import state_root
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import StoreAway
from waha_mcp.store.sqlite import Sqlite

pytestmark = pytest.mark.anyio

TEXT = {"chat": SAM, "text": "Hello"}


def damaged(path: Path) -> None:
    path.write_bytes(b"no store" * 1000)


def newer(path: Path) -> None:
    with_one = opened_store()
    with_one.get("a", "key")
    assert with_one._connection is not None
    with_one._connection.execute("PRAGMA user_version = 99")


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("away", [damaged, newer, a_folder])
async def test_nothing_is_sent_and_reading_goes_on(
    away: Callable[[Path], None], sandbox: SandboxInfo, admin: Admin
) -> None:
    state_root().mkdir(parents=True)
    away(state_root() / "store.sqlite")
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        for _ in range(2):
            with pytest.raises(Refusal, match="so this was not done") as refused:
                await bridge.call("send_text", TEXT)
            with pytest.raises(Refusal, match="so this was not done"):
                await bridge.call("mark_read", {"chat": SAM})
            assert refused.value.decision == "store away"
            assert str(state_root() / "store.sqlite") in str(refused.value)
            assert "\n" not in str(refused.value)
        assert await effects(admin) == []
        await bridge.call("list_chats", {})
        await bridge.call("get_messages", {"chat": SAM})


async def test_after_damage_it_goes_on_once_the_user_has_moved_the_file_away(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_text", TEXT)
        store = state_root() / "store.sqlite"
        data = store.read_bytes()
        store.unlink()
        store.write_bytes(b"no store" + data[8:])
        with pytest.raises(Refusal, match="damaged"):
            await bridge.call("send_text", TEXT | {"text": "Another"})
        for each in state_root().glob("*.damaged-*"):
            each.unlink()
        await bridge.call("send_text", TEXT | {"text": "Another"})


async def test_what_is_done_is_not_denied_because_it_cannot_be_written_down(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridge_with(sandbox) as bridge:
        swap = Sqlite.swap

        def only_what_begins(
            store: Sqlite, table: str, key: str, before: str | None, after: str | None, **more: Any
        ) -> bool:
            if table != "account" and (table, before) != ("attempt", None):
                raise StoreAway("The store is away.")
            return swap(store, table, key, before, after, **more)

        with monkeypatch.context() as away:
            away.setattr(Sqlite, "swap", only_what_begins)
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", TEXT)


# Several processes


def calls(sandbox: SandboxInfo, folder: Path, texts: list[str], fields: str = "") -> list[int]:
    """The exit codes of `waha-mcp call send_text`, two at a time."""
    app = folder / "beside.toml"
    app.write_text(f'id = "beside"\nurl = "{sandbox.url}"\nkey = "{sandbox.keys["read_send"]}"\n{fields}')
    if sys.platform != "win32":
        app.chmod(0o600)

    def call(text: str) -> int:
        wish = json.dumps({"chat": MAYA, "text": text})
        return run("call", "send_text", wish, "--app", str(app)).returncode

    with ThreadPoolExecutor(2) as beside:
        return sorted(beside.map(call, texts))


@pytest.mark.slow
def test_two_processes_that_may_send_three_send_three(sandbox_process: SandboxInfo, tmp_path: Path) -> None:
    pace = '[pace]\ntotal = "3/hour"\nchat = ""\ngap = [0, 0]\n'
    assert calls(sandbox_process, tmp_path, [f"Number {n}" for n in range(6)], pace) == [0, 0, 0, 1, 1, 1]


@pytest.mark.slow
def test_of_processes_that_send_the_same_one_does(sandbox_process: SandboxInfo, tmp_path: Path) -> None:
    assert calls(sandbox_process, tmp_path, ["The very same"] * 4) == [0, 1, 1, 1]
