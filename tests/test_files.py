"""Files and folders on full disks and under any umask, in separate processes."""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import environment
from tests.platforms import mode_of, posix
from waha_mcp.files import create_atomically, make_folder, make_private, write_atomically
from waha_mcp.sandbox import SandboxInfo

#: Runs `waha-mcp` where no file can grow beyond a size in bytes: the write that would is the one that fails.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[1:] = sys.argv[2:]
from waha_mcp.__main__ import main
main()
"""

#: The same, but only from the moment when a tool saves a file, since the store is written before.
LIMITED_SAVES = """
import resource, sys
from waha_mcp.tools.messages import convert
save, size = convert.create_atomically, int(sys.argv[1])
def limited(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return save(*arguments)
convert.create_atomically = limited
sys.argv[1:] = sys.argv[2:]
from waha_mcp.__main__ import main
main()
"""


def limited(size: int, *arguments: str, script: str = LIMITED, **env: str) -> subprocess.CompletedProcess[str]:
    # Coverage would write its own file, and fail.
    given = {name: value for name, value in environment(**env).items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-c", script, str(size), *arguments],
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("step", ["write", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("old", [None, "before"], ids=["new", "over an old one"])
def test_a_disk_that_fails_at_any_step_leaves_what_was_there_and_nothing_else(
    step: str, number: int, old: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.toml"
    if old is not None:
        path.write_text(old)

    def fails(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    if step == "write":
        real = os.fdopen

        class Full:
            """A file that takes half of what is written."""

            def __init__(self, descriptor: int, mode: str) -> None:
                self._file = real(descriptor, mode)

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                self._file.close()

            def write(self, data: bytes) -> None:
                self._file.write(data[: len(data) // 2])
                fails()

        monkeypatch.setattr(os, "fdopen", Full)
    else:
        monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match=os.strerror(number)) as failed:
        write_atomically(path, "after", 0o600)
    assert (failed.value.errno, failed.value.filename) == (number, str(path))
    if old is None:
        with pytest.raises(OSError, match=os.strerror(number)):
            create_atomically(path, b"after", 0o600)
    monkeypatch.undo()
    assert left_in(tmp_path) == ([] if old is None else ["a.toml"])
    assert old is None or path.read_text() == old


def test_a_new_file_goes_neither_over_another_nor_through_a_link(tmp_path: Path) -> None:
    there, target, link = tmp_path / "there", tmp_path / "target", tmp_path / "link"
    there.write_text("mine")
    for path in (there, link):
        if path == link:
            try:
                link.symlink_to(target)
            except OSError:
                pytest.skip("no links here")
        with pytest.raises(FileExistsError):
            create_atomically(path, b"other", 0o600)
    assert there.read_text() == "mine"
    assert not target.exists()
    assert left_in(tmp_path) == ["link", "there"]


@posix
def test_a_new_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        create_atomically(tmp_path / "a", b"x", 0o600)
        write_atomically(tmp_path / "b", "x", 0o640)
    finally:
        os.umask(before)
    assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "b")) == (0o600, 0o640)


def test_a_long_name_has_room_for_the_file_beside_it(tmp_path: Path) -> None:
    create_atomically(tmp_path / ("語" * 80), b"x", 0o600)
    assert left_in(tmp_path) == ["語" * 80]


@posix
@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o277, 0o777], ids=oct)
def test_folders_that_are_made_are_the_users_alone_and_those_that_were_there_stay(umask: int, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    before = os.umask(umask)
    try:
        make_folder(shared / "a" / "b")
        make_folder(shared)
    finally:
        os.umask(before)
    assert [mode_of(path) for path in (shared, shared / "a", shared / "a" / "b")] == [0o755, 0o700, 0o700]


@posix
@pytest.mark.parametrize("mode", [0o777, 0o755, 0o750, 0o701, 0o500], ids=oct)
def test_a_folder_of_our_own_is_closed_where_it_stands_open(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    make_private(folder)
    assert mode_of(folder) == 0o700


@posix
def test_a_folder_of_somebody_else_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    make_private(tmp_path)
    assert mode_of(tmp_path) == 0o755


def test_where_a_file_stands_no_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for make in (make_folder, make_private):
        with pytest.raises(OSError, match=r"."):
            make(tmp_path / "a" / "b")
        with pytest.raises(OSError, match=r"."):
            make(tmp_path / "a")


@posix
@pytest.mark.parametrize("umask", [0, 0o077, 0o277], ids=oct)
@pytest.mark.parametrize("there", [False, True], ids=["new", "standing open"])
def test_the_folders_of_state_are_closed_whatever_the_umask(
    umask: int, there: bool, tmp_path: Path, sandbox_process: SandboxInfo
) -> None:
    state, home = tmp_path / "made" / "state", tmp_path / "made"
    if there:
        (state / "waha-mcp" / "asking").mkdir(parents=True)
        (state / "waha-mcp" / "asking" / "trail.jsonl").write_text("")
        for path in [*state.rglob("*"), state]:
            path.chmod(0o777)
    app = tmp_path / "asking.toml"
    key = sandbox_process.keys["read_send"]
    app.write_text(f'id = "asking"\nurl = "{sandbox_process.url}"\nkey = "{key}"\napproval = "send"\n')
    app.chmod(0o600)
    script = f"import os; os.umask({umask}); from waha_mcp.__main__ import main; main()"
    arguments = ["call", "send_text", json.dumps({"chat": "12025550123@c.us", "text": "Hi"}), "--app", str(app)]
    for _ in range(2):  # the second call can use what the first one made
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=environment(XDG_STATE_HOME=str(state)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "waiting for approval" in done.stderr, done.stderr
        assert "cannot be written" not in done.stderr
    own = state / "waha-mcp"
    assert [mode_of(path) for path in (own, own / "asking")] == [0o700] * 2
    assert {mode_of(path) for path in own.rglob("*") if path.is_file()} == {0o600}
    assert mode_of(state) == (0o777 if there else 0o700)  # the user's own, if it existed
    assert there or mode_of(home) == 0o700


@posix
def test_a_full_disk_leaves_no_half_of_a_saved_file(tmp_path: Path, sandbox_process: SandboxInfo) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    app = tmp_path / "full.toml"
    app.write_text(
        f'url = "{sandbox_process.url}"\nkey = "{sandbox_process.keys["full"]}"\n'
        f'toolsets = ["all"]\noutbox = "{outbox}"\n'
    )
    app.chmod(0o600)
    wish = json.dumps({"kind": "voice", "save_as": "note", "data": base64.b64encode(b"OggS" * 20_000).decode()})
    call, state = ("call", "convert_media", wish, "--app", str(app)), str(tmp_path / "state")
    done = limited(300, *call, script=LIMITED_SAVES, XDG_STATE_HOME=state)
    assert done.returncode == 1, done.stderr
    assert "The outbox folder cannot be written to (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(outbox) == []
    done = limited(2**30, *call, XDG_STATE_HOME=state)
    assert done.returncode == 0, done.stderr
    assert left_in(outbox) == ["note.ogg"]


@posix
def test_a_full_disk_leaves_a_definition_and_a_clients_file_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "waha-mcp"
    folder.mkdir()
    definition = folder / "mine.toml"
    definition.write_text('# mine\nurl = "http://127.0.0.1:3000"\nkey = "key_0123456789abcdef"\n')
    definition.chmod(0o600)
    before = definition.read_bytes()
    done = limited(10, "apps", "disable", "mine", "--here", XDG_CONFIG_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"waha-mcp: {definition}: File too large\n"
    assert left_in(folder) == ["mine.toml"]
    assert definition.read_bytes() == before


@posix
def test_a_full_disk_leaves_a_clients_file_and_the_copy_of_it_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {}, "other": "x" * 5000}))
    app = tmp_path / "mine.toml"
    app.write_text('url = "http://127.0.0.1:3000"\nkey = "key_0123456789abcdef"\n')
    app.chmod(0o600)
    arguments = ["install", "cursor", "--app", str(app), "--config", str(file)]
    assert limited(2**20, *arguments, HOME=str(tmp_path)).returncode == 0
    (copy,) = tmp_path.glob("*.bak")
    before, kept = file.read_bytes(), copy.read_bytes()
    done = limited(1000, "uninstall", "cursor", "--config", str(file), HOME=str(tmp_path))
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert (file.read_bytes(), copy.read_bytes()) == (before, kept)
    assert left_in(tmp_path) == sorted([file.name, app.name, copy.name])
