"""`waha-mcp index`, and the other commands that show or clear the local index."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pexpect
import pytest
from mcp import Client

from tests.harness import COMMAND, Admin, command_after, environment, payload, run, sandbox_server, stdio_client
from tests.platforms import posix
from tests.policy.common import MAYA, SAM
from waha_mcp.cli.diagnosis import Finding, look
from waha_mcp.history.index import Index
from waha_mcp.indexing import index_files, progress_of
from waha_mcp.sandbox import SandboxInfo

pytestmark = pytest.mark.anyio

#: Makes a server's periodic passes run all the time.
SOON = "from waha_mcp import indexing; indexing.CLAIM = 0.2; indexing.PAUSE = 0.0; "
#: A Python whose SQLite has no trigram tokenizer.
NO_TRIGRAMS = (
    "import waha_mcp.history.index_file as found\n"
    "def lacking(connection): raise found.NoTrigrams('The index needs SQLite 3.34 or newer')\n"
    "found._try_trigrams = lacking\n"
)


class Home:
    """A user's folders, with an App `work` on a sandbox."""

    def __init__(self, folder: Path, sandbox: SandboxInfo) -> None:
        self.sandbox = sandbox
        self.env = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
        self.definition = folder / "config" / "waha-mcp" / "work.toml"
        self.write()

    def write(self, *lines: str, key: str = "read", index: bool = True, url: str | None = None) -> None:
        """Write the App's definition."""
        fields = {"url": url or self.sandbox.url, "key": self.sandbox.keys[key], "index": index}
        self.definition.parent.mkdir(parents=True, exist_ok=True)
        text = [*(f"{name} = {json.dumps(value)}" for name, value in fields.items()), *lines, ""]
        self.definition.write_text("\n".join(text))
        self.definition.chmod(0o600)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, env=self.env)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def file(self) -> dict[str, Any]:
        """What `index status` reports about the App's only index."""
        [app] = self.json("index", "status")
        [file] = app["files"]
        assert isinstance(file, dict)
        return file

    def server(self, first: str = "") -> AbstractAsyncContextManager[Client]:
        """A client on a server with the App."""
        state, config = self.env.values()
        return stdio_client(
            self.sandbox, self.sandbox.keys["read"], "--app", "work", first=first,
            XDG_STATE_HOME=state, XDG_CONFIG_HOME=config,
        )  # fmt: skip

    @property
    def path(self) -> Path:
        [path] = index_files("work")
        return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_process: SandboxInfo) -> Home:
    found = Home(tmp_path, sandbox_process)
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)
    return found


# Building


def test_a_build_reads_all_there_is_and_says_how_much_and_what_not(home: Home) -> None:
    done = home.run("index", "build")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    said = re.fullmatch(r"(\d+) messages of (\d+) chats, complete, after \d+\.\d s: (.*)", first)
    assert said is not None, first
    assert said[3] == str(home.path)
    [lacking] = rest
    assert re.fullmatch(r"Not read, \d+@newsletter: this engine cannot list them\.", lacking)
    file = home.file()
    assert (file["messages"], file["chats"], file["complete"]) == (int(said[1]), int(said[2]), True)
    assert not file["being_filled"]
    with closing(Index(home.path)) as index:
        assert index.counts().messages == int(said[1]) > 500
        assert index.check() is None


@posix
def test_only_the_user_can_read_what_is_indexed(home: Home) -> None:
    home.json("index", "build")
    with closing(Index(home.path)) as index:
        index.note(opened=1)  # so that SQLite's other files exist, too
        beside = sorted(home.path.parent.glob(f"{home.path.stem}*"))
        assert {path.suffix for path in beside} >= {".sqlite", ".lock", ".sqlite-wal", ".sqlite-shm"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in beside} == {0o600}
    assert stat.S_IMODE(home.path.parent.stat().st_mode) == 0o700


def test_a_script_reads_what_a_build_did(home: Home) -> None:
    answer = home.json("index", "build")
    assert answer.pop("seconds") < 60
    assert len(answer.pop("not_read")) == 1
    file = home.file()
    assert answer == {
        "app": "work", "path": file["path"], "messages": file["messages"], "chats": file["chats"],
        "whole_chats": file["chats"], "complete": True, "by_another_process": False, "not_listed": None,
    }  # fmt: skip


def test_an_app_that_is_to_have_none_gets_none(home: Home) -> None:
    home.write(index=False)
    done = home.run("index", "build")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"waha-mcp: the index of App 'work' is off: set index = true in {home.definition}, then build it"
    ]
    assert index_files("work") == []


def test_where_the_key_may_not_read_nothing_is_built_and_what_there_was_goes(home: Home) -> None:
    home.json("index", "build")
    home.write(key="send")
    done = home.run("index", "build")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line == (
        "waha-mcp: no message can be read with this key: action 'read' is refused by WAHA for this key. "
        "Its index was deleted"
    )
    assert index_files("work") == []


def test_where_waha_is_away_it_says_so_in_one_line(home: Home) -> None:
    home.write(url="http://127.0.0.1:9")
    done = home.run("index", "build")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "127.0.0.1:9" in line
    assert "refused" in line


def test_a_sqlite_without_trigrams_is_told_in_one_line(home: Home) -> None:
    command = [*command_after(NO_TRIGRAMS), "index", "build"]
    done = subprocess.run(command, env=environment(**home.env), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "waha-mcp: the index cannot be filled: The index needs SQLite 3.34 or newer"
    )
    assert "Traceback" not in done.stderr


async def test_chats_that_could_not_be_read_are_named_and_stay_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: SandboxInfo, admin: Admin
) -> None:
    here = Home(tmp_path, sandbox)
    for name, value in here.env.items():
        monkeypatch.setenv(name, value)
    await admin.fault(f"/api/default/chats/{MAYA.replace('@', '*')}/messages*", status=404, body="{}", count=1)
    await admin.fault("/api/default/chats/*/messages*", status=500, body="{}", count=2000)
    done = await anyio.to_thread.run_sync(here.run, "index", "build")
    assert done.returncode == 1
    assert "Not read, " in done.stdout
    assert "not everything could be read: the next build, or a server with the App, tries again" in done.stderr
    await admin.request("DELETE", "/sandbox/faults")
    assert (await anyio.to_thread.run_sync(lambda: here.json("index", "build")))["complete"]


@pytest.fixture(scope="module")
def large() -> Iterator[SandboxInfo]:
    with sandbox_server("--messages", "40000") as info:
        yield info


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_on_a_terminal_a_bar_shows_how_far_it_is_and_ctrl_c_ends_it_for_the_next_to_go_on(
    large: SandboxInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Home(tmp_path, large)
    for name, value in here.env.items():
        monkeypatch.setenv(name, value)
    child = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "index", "build"], env=environment(**here.env, TERM="xterm", COLUMNS="80"),
        encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect(r"\[[#-]{10}\] \d+ %  [1-9][\d,]* messages, \d+ of \d+ chats complete, back to \d{4}-\d\d-\d\d +\r")
    child.sendintr()
    child.expect(r"Stopped: ([\d,]+) messages, \d+ of \d+ chats complete, back to .*goes on there\.")
    stopped = int(child.match[1].replace(",", ""))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in (child.before or "")
    file = here.file()
    assert not file["complete"]
    assert not file["being_filled"]
    assert 0 < stopped <= file["messages"] < 40_000
    built = here.json("index", "build")
    assert built["complete"]
    with closing(Index(here.path)) as index:
        assert index.check() is None
        assert index.counts().messages == built["messages"] > 39_000


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_service_manager_ends_it_as_cleanly(
    large: SandboxInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Home(tmp_path, large)
    for name, value in here.env.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen(
        [*COMMAND, "index", "build"], env=environment(**here.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (index_files("work") and here.file()["messages"]):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    assert out.decode().startswith("Stopped: ")


# While a server runs


async def until_complete(client: Any) -> None:
    with anyio.fail_after(60):
        while True:
            found = payload(await client.call_tool("get_status", {})).get("index")
            if (found or "").startswith("complete"):
                return
            await anyio.sleep(0.1)


async def test_a_build_beside_a_server_that_fills_it_says_so(home: Home) -> None:
    async with home.server(SOON) as client:
        await until_complete(client)
        done = await anyio.to_thread.run_sync(lambda: home.json("index", "build"))
        assert (done["by_another_process"], done["complete"]) == (True, True)
        file = await anyio.to_thread.run_sync(home.file)
        assert file["being_filled"]


async def test_what_is_forgotten_while_a_server_runs_is_not_read_again(home: Home) -> None:
    async with home.server(SOON) as client:
        await until_complete(client)
        with closing(Index(home.path)) as index:
            before = index.counts().messages
        done = await anyio.to_thread.run_sync(lambda: home.json("forget", MAYA))
        assert done["problems"] == []
        assert done["indexed_messages"] > 20
        with closing(Index(home.path)) as index:
            assert index.counts().messages == before - done["indexed_messages"]
    # Nor by another process, which makes a pass over all chats.
    assert (await anyio.to_thread.run_sync(lambda: home.json("index", "build")))["messages"] == (
        before - done["indexed_messages"]
    )
    again = await anyio.to_thread.run_sync(lambda: home.json("forget", MAYA))
    assert again["indexed_messages"] == 0


async def test_what_is_dropped_while_a_server_runs_begins_again(home: Home) -> None:
    async with home.server(SOON) as client:
        await until_complete(client)
        before = await anyio.to_thread.run_sync(home.file)
        done = await anyio.to_thread.run_sync(lambda: home.run("index", "drop", "--yes"))
        assert done.stdout.splitlines() == [
            f"{before['path']} is deleted.",
            "It is built again as soon as a server runs with the App, if that has index = true.",
        ]
        with anyio.fail_after(60):
            while True:
                after = await anyio.to_thread.run_sync(home.json, "index", "status")
                if [each["complete"] for each in after[0]["files"]] == [True]:
                    break
                await anyio.sleep(0.1)
        assert after[0]["files"][0]["messages"] == before["messages"]


async def test_an_app_without_an_index_has_none_in_its_status(home: Home) -> None:
    home.write(index=False)
    async with home.server() as client:
        assert "index" not in payload(await client.call_tool("get_status", {}))


# Showing and deleting


def test_the_status_names_settings_and_what_nothing_keeps_up_to_date(home: Home) -> None:
    assert home.run("index", "status").stdout.splitlines() == ["work: on", "  nothing is indexed yet"]
    home.write('retention = "9000d"', 'index_chats = ["people"]')
    home.json("index", "build")
    first, path, state = home.run("index", "status").stdout.splitlines()
    assert first == "work: on (messages of the last 9000 days; chats: people)"
    assert re.fullmatch(rf"  {re.escape(str(home.path))}, \d+\.\d kB", path)
    assert re.fullmatch(r"  \d+ messages of \d+ chats, complete", state)
    [app] = home.json("index", "status", "--app", "work")
    assert (app["retention"], app["index_chats"]) == ("9000d", ["people"])
    with closing(Index(home.path)) as index:
        assert all(each.id.endswith(("@c.us", "@lid")) for each in index.chats())
    home.write(index=False)
    first, *_, last = home.run("index", "status").stdout.splitlines()
    assert first == "work: off"
    assert re.fullmatch(r"  nothing keeps it up to date: \S*waha-mcp index drop --app work, or set index = .*", last)


def test_a_drop_asks_on_a_terminal_and_deletes_what_is_damaged_too(home: Home) -> None:
    home.json("index", "build")
    path = home.path
    path.write_bytes(b"no database" * 1000)
    file = home.file()
    assert "damaged" in file["problem"]
    assert len(file["damaged"]) == 1
    assert Path(file["damaged"][0]).is_file()
    home.json("index", "build")
    assert home.file()["complete"]

    def dropped(answer: str) -> int:
        child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "index", "drop"], env=environment(**home.env), timeout=30)
        child.expect(r"Delete the index of App 'work' \(\d+ messages\)\?")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        return int(child.exitstatus or 0)

    assert dropped("n") == 1
    assert path.exists()
    assert dropped("y") == 0
    assert [each.name for each in path.parent.glob("index-*") if each.suffix != ".lock"] == []
    assert home.run("index", "drop").stdout == "There is no index.\n"


def test_an_app_that_is_removed_takes_its_index_along(home: Home) -> None:
    home.json("index", "build")
    path = home.path
    done = home.run("apps", "remove", "work", "--here", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"So is its index of messages, {path}." in done.stdout.splitlines()
    assert index_files("work") == []
    assert not path.exists()


def test_all_is_forgotten_for_good_damaged_files_included(home: Home) -> None:
    messages = home.json("index", "build")["messages"]
    aside = home.path.with_name(f"{home.path.name}.damaged-20260101T000000Z")
    aside.write_text("messages")
    done = home.json("forget", "--all")
    assert done["indexed_messages"] == messages
    assert not aside.exists()
    assert home.file()["messages"] == 0
    assert home.json("index", "build")["messages"] == 0
    text = home.run("forget", "--all").stdout
    assert text == "Nothing was kept of that.\n"


# Sealed chats


def test_how_far_it_is_tells_nothing_of_chats_that_are_not_shown(home: Home) -> None:
    home.json("index", "build")
    with closing(Index(home.path)) as index:
        everything, without = progress_of(index), progress_of(index, lambda chat: chat != SAM)
        assert (everything.chats - without.chats, everything.whole - without.whole) == (1, 1)
        index.forget(lambda chat: chat == SAM, 0.0)


# The doctor


async def found(home: Home) -> list[Finding]:
    return [each async for each in look(str(home.definition)) if each.about == "index"]


async def test_the_doctor_says_where_it_lies_and_what_is_kept_that_should_not_be(home: Home) -> None:
    [none] = await found(home)
    assert (none.state, none.says) == (
        "ok",
        "nothing is indexed yet; a server with the App begins, or `waha-mcp index build`",
    )
    await anyio.to_thread.run_sync(lambda: home.json("index", "build"))
    [there] = await found(home)
    assert there.state == "ok"
    assert re.fullmatch(rf"{re.escape(str(home.path))}, \d+\.\d kB: \d+ messages of \d+ chats, complete", there.says)

    path = home.path
    other = path.with_name("index-00000000.sqlite")
    with closing(Index(other)) as index:
        index.note(made=1)
    aside = path.with_name(f"{path.name}.damaged-20260101T000000Z")
    aside.write_text("messages")
    warnings = {each.says: each.fix for each in await found(home) if each.state == "warning"}
    assert warnings == {
        f"{aside} is damaged and unusable, and holds messages": f"rm {aside}",
        f"{other} holds the messages of another account, which was paired before": (
            f"rm {other}, unless that account comes back"
        ),
    }
    with closing(Index(other)) as index:
        index.delete()
    aside.unlink()

    home.write(index=False)
    [left] = await found(home)
    assert (left.state, left.says, left.fix) == (
        "warning",
        f"the App has none, and {path} holds messages that nothing keeps up to date or deletes",
        f"`waha-mcp index drop --app work`, or index = true in {home.definition}",
    )
    home.json("index", "status")
    assert home.run("index", "drop", "--yes").stdout.splitlines() == [f"{path} is deleted."]
    assert await found(home) == []
