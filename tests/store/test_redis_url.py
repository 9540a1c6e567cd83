"""How the user names the store: which URLs are accepted, the errors for others, and who gets to see a password."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import environment, run
from tests.redis_server import RedisServer
from tests.serving import free_port
from waha_mcp.app.definition import AppError
from waha_mcp.log import _Redacting, without_secrets
from waha_mcp.places import state_root
from waha_mcp.store.folders import VARIABLE, app_ids, user_store
from waha_mcp.store.redis_url import parse_redis_url
from waha_mcp.store.sqlite import Sqlite


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("redis://localhost", ("localhost", 6379, 0, None, None)),
        (" redis://127.0.0.1:7000/3 ", ("127.0.0.1", 7000, 3, None, None)),
        ("redis://:word@redis:6379/", ("redis", 6379, 0, None, "word")),
        ("redis://waha%2Dmcp:w%2Ford@10.0.0.5", ("10.0.0.5", 6379, 0, "waha-mcp", "w/ord")),
        ("rediss://user:word@redis.example.com:6380/1", ("redis.example.com", 6380, 1, "user", "word")),
        ("redis://[::1]:6379/0", ("::1", 6379, 0, None, None)),
    ],
)
def test_the_parts_of_a_url(text: str, found: tuple[object, ...]) -> None:
    url = parse_redis_url(text)
    password = url.password and url.password.get_secret_value()
    assert (url.host, url.port, url.database, url.user, password) == found
    assert url.tls is text.startswith("rediss")
    assert url.options.get("ssl_check_hostname", False) is url.tls


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("localhost:6379", "must be a URL such as"),
        ("http://localhost", "must be a URL such as"),
        ("unix:///run/redis.sock", "must be a URL such as"),
        ("redis://", "must be a URL such as"),
        ("redis://localhost:port", "must be a URL such as"),
        ("redis://localhost:0", "must be a URL such as"),
        ("redis://localhost/first", "the number of a database"),
        ("redis://localhost/0#x", "must be a URL such as"),
        ("redis://:sample-word@redis.example.com", "unencrypted to redis.example.com; use rediss://"),
        ("redis://203.0.113.5", "unencrypted to 203.0.113.5"),
        ("rediss://redis.example.com?ssl_cert_reqs=none", "no option but ssl_ca_certs"),
        ("redis://localhost?ssl_ca_certs=/etc/ca.pem", "no option but ssl_ca_certs"),
        ("redis://localhost?socket_timeout=60", "no option but ssl_ca_certs"),
        ("redis://:sample-word@a b", "must be host names only"),
    ],
)
def test_a_url_that_is_not_taken_is_told_in_one_line_without_its_password(
    text: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(AppError, match=VARIABLE) as told:
        user_store()
    assert says in str(told.value)
    assert "sample-word" not in str(told.value)
    assert "\n" not in str(told.value)


def test_without_the_variable_it_is_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "  "):
        if value is None:
            monkeypatch.delenv(VARIABLE, raising=False)
        else:
            monkeypatch.setenv(VARIABLE, value)
        with closing(user_store()) as store:
            assert isinstance(store, Sqlite)


def test_its_password_is_in_no_log_line_and_in_no_other_programs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "redis://:sample%2Fpassword%2F1@localhost")
    user_store().close()
    line = _Redacting().format(
        logging.LogRecord("waha_mcp", 40, "f", 1, "sample%2Fpassword%2F1 sample/password/1", None, None)
    )
    assert "password" not in line
    given = {VARIABLE: "redis://x", "MINE": "sample/password/1", "TOO": "a sample%2Fpassword%2F1", "OTHER": "kept"}
    assert without_secrets(given) == {"OTHER": "kept"}


# Commands


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("pause",), ("resume",), ("approvals",), ("approve", "x"), ("forget", "--all", "--yes"), ("store",),
        ("log", "--app", "default"), ("tools",), ("serve",),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_every_command_says_in_one_line_that_the_url_is_wrong(command: tuple[str, ...]) -> None:
    trail = state_root() / "default" / "trail.jsonl"
    trail.parent.mkdir(parents=True)
    trail.write_text("{}\n")
    env = {VARIABLE: "redis://:sample-word@redis.example.com", "WAHA_API_KEY": "k", "WAHA_URL": "http://localhost:9"}
    done = run(*command, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith(f"waha-mcp: {VARIABLE}: plain redis://")
    assert "sample-word" not in line


@pytest.mark.slow
def test_commands_of_two_machines_use_the_same_store(redis_server: RedisServer, tmp_path: Path) -> None:
    machines = [
        {VARIABLE: redis_server.url, "XDG_STATE_HOME": str(tmp_path / name), "XDG_CONFIG_HOME": str(tmp_path / name)}
        for name in ("one", "other")
    ]
    assert run("pause", env=machines[0]).returncode == 0
    assert "Paused by the user since" in run("pause", env=machines[1]).stdout
    assert run("resume", env=machines[1]).stdout == "All Apps may act again.\n"
    assert run("resume", env=machines[0]).stdout == "There was no pause of all Apps.\n"
    for machine in machines:
        [memory] = (Path(machine["XDG_STATE_HOME"]) / "waha-mcp").glob("store.redis-*")
        assert memory.read_text().strip()
    assert not list(tmp_path.glob("*/waha-mcp/store.sqlite"))


@pytest.mark.slow
def test_the_command_says_whether_the_store_can_be_used_and_accepts_a_loss_of_data(
    redis_server: RedisServer,
) -> None:
    env = {VARIABLE: redis_server.url}
    there = run("store", env=env)
    assert (there.returncode, there.stdout) == (0, f"Redis at 127.0.0.1:{redis_server.port} can be used.\n")
    assert "had lost nothing" in run("store", "--accept-loss", env=env).stdout
    assert run("pause", env=env).returncode == 0
    with redis_server.client() as client:
        client.flushall()
    lost = run("store", env=env)
    assert lost.returncode == 1
    assert "it has lost data" in lost.stderr
    assert "it has lost data" in run("pause", env=env).stderr
    accepted = run("store", "--accept-loss", env=env)
    assert "All machines go on with what it has" in accepted.stdout
    assert run("resume", env=env).stdout == "There was no pause of all Apps.\n"
    nowhere = run("store", env={VARIABLE: f"redis://127.0.0.1:{free_port()}"})
    assert (nowhere.returncode, len(nowhere.stderr.splitlines())) == (1, 1)
    assert "file on this machine" in run("store").stdout
    assert run("store", "--accept-loss").returncode == 2


def test_the_memory_of_a_store_is_no_app() -> None:
    state_root().mkdir(parents=True)
    (state_root() / "store.redis-0123456789abcdef").mkdir()
    assert app_ids() == []


@pytest.mark.slow
def test_a_server_that_has_no_redis_library_says_so() -> None:
    lines = """
import sys
sys.modules["redis"] = None
sys.argv = ["waha-mcp", "serve"]
from waha_mcp.__main__ import main
main()
"""
    env = environment(**{VARIABLE: "redis://localhost", "WAHA_API_KEY": "k", "WAHA_URL": "http://localhost:9"})
    done = subprocess.run(
        [sys.executable, "-c", lines], env=env, capture_output=True, text=True, check=False, timeout=60, input=""
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "pip install 'waha-mcp[redis]'" in line
