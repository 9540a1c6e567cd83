"""The store in Redis: when Redis is away, has lost data or may lose it, and what happens when an answer is lost."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from redis import Redis as Client

from tests.forwarding import Forwarder
from tests.redis_server import RedisServer
from tests.serving import free_port
from tests.store.processes import ended, go, start
from waha_mcp.store import Count, Full, Limit, StoreAway, away
from waha_mcp.store import redis as redis_store
from waha_mcp.store.redis import Redis
from waha_mcp.store.redis_url import parse_redis_url

pytestmark = pytest.mark.slow

KEEPS = ("--appendonly", "yes", "--appendfsync", "always")
ONE = Limit(1, 3600)


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Redis]:
    with closing(redis_server.store()) as made:
        yield made


@contextmanager
def own_server(folder: Path, *options: str, port: int | None = None) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options, port=port)
    try:
        yield server.start()
    finally:
        server.end()


def refused(store: Redis, says: str) -> str:
    """The error of every kind of step when the store is away: one line, with a next step."""
    texts = set()
    steps: list[Callable[[], object]] = [
        lambda: store.get("a", "key"),
        lambda: store.rows("a"),
        lambda: store.swap("a", "key", None, "value"),
        lambda: store.claim("a", {"key": "value"}),
        lambda: store.take([Count("key")]),
        lambda: store.check([Count("key", (ONE,))]),
        lambda: store.process,
        lambda: store.alive("nobody"),
    ]
    for step in steps:
        with pytest.raises(StoreAway, match=says) as told:
            step()
        texts.add(str(told.value))
    [text] = texts
    assert "\n" not in text
    assert text.startswith(f"The store in Redis at {store.url.where} cannot be used: ")
    assert away(store) == text
    return text


# What cannot be used


def test_where_nobody_listens_that_is_said() -> None:
    with closing(Redis(parse_redis_url(f"redis://127.0.0.1:{free_port()}"))) as store:
        assert "address in WAHA_MCP_STORE" in refused(store, "Connection refused")


def test_a_password_that_is_missing_or_wrong_is_told_without_it(tmp_path: Path) -> None:
    with own_server(tmp_path / "redis", "--requirepass", "sample-right-word") as server:
        for login, says in (
            ("", "asks for a password"),
            (":sample-wrong-word@", "does not accept the user and password"),
        ):
            url = parse_redis_url(f"redis://{login}127.0.0.1:{server.port}")
            with closing(Redis(url)) as store:
                assert "sample" not in refused(store, says)
                assert "sample" not in repr(store.url)
        with closing(Redis(parse_redis_url(f"redis://:sample-right-word@127.0.0.1:{server.port}"))) as store:
            assert store.swap("a", "key", None, "value")


def test_a_user_with_the_rights_that_the_error_names_can_use_it_and_one_with_less_cannot(
    redis_server: RedisServer,
) -> None:
    with redis_server.client() as client:
        rights = "{waha-mcp}:*"
        client.execute_command(
            *("ACL", "SETUSER", "enough", "on", ">word", f"~{rights}", f"&{rights}"),
            *("+@all", "-@dangerous", "+info"),
        )
        client.execute_command("ACL", "SETUSER", "less", "on", ">word", f"~{rights}", "+info", "+evalsha", "+eval")
        client.execute_command("ACL", "SETUSER", "elsewhere", "on", ">word", "~other:*", "+@all")
        try:
            for user in ("less", "elsewhere"):
                with closing(Redis(parse_redis_url(f"redis://{user}:word@127.0.0.1:{redis_server.port}"))) as store:
                    refused(store, r"its user may not do that \(ACL\)")
            with closing(Redis(parse_redis_url(f"redis://enough:word@127.0.0.1:{redis_server.port}"))) as store:
                assert store.swap("a", "key", None, "value")
                assert store.alive(store.process)
                store.trim("a", "", 0)
                store.give_back(store.take([Count("key")]))
                store.publish("message")
                store.flush()
        finally:
            client.execute_command("ACL", "DELUSER", "enough", "less", "elsewhere")


def test_a_redis_that_may_evict_keys_is_refused_until_that_is_changed(store: Redis, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        try:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "volatile-ttl")
            refused(store, "Set maxmemory-policy to noeviction")
            client.config_set("maxmemory-policy", "noeviction")
            assert store.swap("a", "key", None, "value")
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")


def test_an_eviction_policy_that_is_set_later_is_noticed_after_a_while(
    store: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.get("a", "key") is None
    with redis_server.client() as client:
        try:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
            monkeypatch.setattr(redis_store, "LOOK", 0.0)
            refused(store, "noeviction")
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")


def test_with_its_memory_full_nothing_is_written_by_halves_and_reading_goes_on(
    store: Redis, redis_server: RedisServer
) -> None:
    store.swap("a", "key", None, "value")
    with redis_server.client() as client:
        try:
            client.config_set("maxmemory", "1mb")
            for step in (
                lambda: store.swap("a", "key", "value", "other"),
                lambda: store.swap("a", "new", None, "x"),
                lambda: store.take([Count("key"), Count("other")]),
                lambda: store.claim("a", {"one": "1", "two": "2"}),
            ):
                with pytest.raises(StoreAway, match="memory is full"):
                    step()
            assert store.get("a", "key") == "value"
            assert str(away(store)).endswith("or make room.")
        finally:
            client.config_set("maxmemory", "0")
    assert [row.key for row in store.rows("a")] == ["key"]
    assert store.take([Count("key", (ONE,))])


def test_a_replica_is_refused_also_once_the_primary_has_become_one(tmp_path: Path) -> None:
    with own_server(tmp_path / "one") as one, own_server(tmp_path / "two") as two:
        with two.client() as client, closing(two.store()) as store:
            assert store.swap("a", "key", None, "value")
            client.replicaof("127.0.0.1", str(one.port))
            with pytest.raises(StoreAway, match="it is a replica"):
                store.swap("a", "other", None, "value")
            refused(store, "Name its primary")
        with closing(two.store()) as store:
            refused(store, "Name its primary")


def test_keys_of_another_program_are_left_alone(store: Redis, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("{waha-mcp}:rows:a", "theirs")
        with pytest.raises(StoreAway, match="another program uses its keys"):
            store.get("a", "key")
        assert client.get("{waha-mcp}:rows:a") == "theirs"


def test_all_keys_begin_alike(store: Redis, redis_server: RedisServer) -> None:
    store.swap("a", "key", None, "value", expires=store.now() + 60)
    store.claim("b", {"key": "value"})
    store.take([Count("key")])
    assert store.alive(store.process)
    with redis_server.client() as client:
        assert {str(key).partition(":")[0] for key in client.scan_iter()} == {"{waha-mcp}"}


# TLS


def test_with_tls_its_certificate_is_checked(tmp_path: Path) -> None:
    import trustme

    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-key-file", str(tmp_path / "key.pem"), "--tls-cert-file", str(tmp_path / "cert.pem"))
    with own_server(tmp_path / "redis", *tls, *files, "--tls-ca-cert-file", str(tmp_path / "ca.pem")) as server:
        with closing(Redis(parse_redis_url(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}"))) as store:
            assert store.swap("a", "key", None, "value")
        for query in ("", f"?ssl_ca_certs={tmp_path / 'other.pem'}"):
            with closing(Redis(parse_redis_url(f"rediss://127.0.0.1:{port}{query}"))) as store:
                refused(store, "TLS: ")
        with closing(Redis(parse_redis_url(f"rediss://127.0.0.1:{server.port}"))) as store:
            refused(store, "does it speak TLS there")


# Away for a while


def test_one_that_hangs_is_away_soon_for_all_threads_and_makes_no_step_later(redis_server: RedisServer) -> None:
    with closing(redis_server.store(timeout=0.5)) as store:
        store.swap("a", "key", None, "value")
        redis_server.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreAway, match="has not answered"):
                store.swap("a", "key", "value", "too late")
            with pytest.raises(StoreAway, match="has not answered"):
                store.take([Count("key", (ONE,))])
            assert time.monotonic() - began < 1.5
            time.sleep(0.6)
        finally:
            redis_server.signal(signal.SIGCONT)
        assert when_there(lambda: store.get("a", "key")) == "value"
        assert store.take([Count("key", (ONE,))])


def when_there(step: Callable[[], str | None]) -> str | None:
    """The result of a step, once Redis is there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return step()
        except StoreAway:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def test_after_a_restart_with_its_data_it_goes_on_and_what_was_counted_counts(tmp_path: Path) -> None:
    with own_server(tmp_path / "redis", *KEEPS) as server, closing(server.store()) as store:
        store.swap("a", "key", None, "value")
        store.take([Count("key", (ONE,))])
        server.end(kill=True)
        with pytest.raises(StoreAway, match="cannot be reached"):
            store.get("a", "key")
        server.start()
        assert store.get("a", "key") == "value"
        with pytest.raises(Full):
            store.take([Count("key", (ONE,))])


def test_a_connection_that_was_closed_meanwhile_costs_no_step(store: Redis, redis_server: RedisServer) -> None:
    store.swap("a", "key", None, "1")
    for number in range(1, 5):
        with redis_server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert store.swap("a", "key", str(number), str(number + 1))


# Lost data


def test_a_restart_without_its_data_is_noticed_until_the_user_accepts_it(tmp_path: Path) -> None:
    memory = tmp_path / "store.redis"
    with own_server(tmp_path / "redis") as server:
        with closing(server.store(memory)) as store, closing(server.store()) as beside:
            store.take([Count("key", (ONE,))])
            beside.swap("a", "key", None, "value")
            assert memory.stat().st_mode & 0o777 == 0o600
            server.end(kill=True)
            server.start()
            assert "waha-mcp store --accept-loss" in refused(store, "it has lost data")
            # All others see it, too, including new processes.
            refused(beside, "it has lost data")
            with closing(server.store()) as new:
                refused(new, "it has lost data")
                assert new.accept_loss()
                assert not new.accept_loss()
            for each in (store, beside):
                assert each.get("a", "key") is None
                assert each.swap("a", "key", each.get("a", "key"), None)
            assert store.take([Count("key", (ONE,))])
            with pytest.raises(Full):
                beside.take([Count("key", (ONE,))])
        # The record of this machine has been updated.
        with closing(server.store(memory)) as later, pytest.raises(Full):
            later.take([Count("key", (ONE,))])


def test_what_was_lost_while_nobody_ran_is_noticed_by_the_machine_that_remembers(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    memory = tmp_path / "store.redis"
    with closing(redis_server.store(memory)) as store:
        store.swap("a", "key", None, "value")
    with redis_server.client() as client:
        client.flushall()
    with closing(redis_server.store()) as elsewhere:
        elsewhere.swap("a", "key", None, "new")
        with closing(redis_server.store(memory)) as store:
            refused(store, "it has lost data")
        refused(elsewhere, "it has lost data")
        with closing(redis_server.store(memory)) as store:
            assert store.accept_loss()
            assert store.get("a", "key") == "new"
        assert elsewhere.get("a", "key") == "new"


def test_an_older_state_of_the_same_store_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    with own_server(folder) as server, closing(server.store()) as store:
        store.take([Count("key", (Limit(9, 3600),))])
        with server.client() as client:
            client.save()
        shutil.copy(folder / "dump.rdb", tmp_path / "older.rdb")
        store.take([Count("key", (Limit(9, 3600),))])
        server.end()
        shutil.copy(tmp_path / "older.rdb", folder / "dump.rdb")
        server.start()
        refused(store, "it has lost data")
        assert store.accept_loss()
        # From now on its data counts.
        with pytest.raises(Full):
            store.take([Count("key", (ONE,))])


def test_a_memory_that_cannot_be_written_is_told_in_the_log_alone(
    redis_server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    with closing(redis_server.store(tmp_path / "file" / "store.redis")) as store:
        assert store.swap("a", "key", None, "value")
        assert store.get("a", "key") == "value"
    [line] = [record.getMessage() for record in caplog.records]
    assert "cannot be recorded" in line


# Answers that are lost


def test_a_step_whose_answer_is_lost_is_made_once_and_its_answer_is_true(redis_server: RedisServer) -> None:
    with (
        closing(Forwarder(redis_server.port)) as way,
        closing(Redis(parse_redis_url(f"redis://127.0.0.1:{way.port}"))) as store,
    ):
        store.get("a", "key")
        way.cut()
        assert store.swap("a", "key", None, "one")
        way.cut()
        assert store.swap("a", "key", "one", "two")
        way.cut()
        assert not store.swap("a", "key", "one", "three")
        way.cut()
        assert store.swap("a", "key", "two", None)
        store.check([])
        way.cut()
        taken = store.take([Count("key", (ONE,)), Count("other", (ONE,))])
        store.check([Count("key", (Limit(2, 60),))])
        way.cut()
        with pytest.raises(Full):
            store.take([Count("key", (ONE,))])
        way.cut()
        store.give_back(taken)
        store.check([Count("key", (ONE,))])
        way.cut()
        assert store.claim("r", {"m1": "long"}) == {"m1": "long"}
        assert way.cuts == 0


# Who is alive


def test_a_process_that_was_killed_is_not_alive_after_a_while(redis_server: RedisServer, store: Redis) -> None:
    lines = """
import waha_mcp.store.redis as redis
redis.BEAT, redis.LIVES = 0.1, 1.0
print(store.process, flush=True)
sys.stdin.readline()
"""
    killed, ends = (start(redis_server.url, lines) for _ in range(2))
    names = []
    for each in (killed, ends):
        go(each)
        assert each.stdout is not None
        names.append(each.stdout.readline().strip())
    time.sleep(1.5)
    assert [store.alive(name) for name in names] == [True, True]
    killed.kill()
    killed.communicate()
    deadline = time.monotonic() + 10
    while store.alive(names[0]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert store.alive(names[1])
    go(ends)
    ended([ends])


def test_a_process_that_counted_as_dead_comes_back_under_another_id(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "BEAT", 0.1)
    # Long enough that a busy machine delays no heartbeat and no answer by as much.
    monkeypatch.setattr(redis_store, "LIVES", 2.0)
    with closing(redis_server.store()) as store, closing(redis_server.store()) as other:
        first = store.process
        assert other.alive(first)
        redis_server.signal(signal.SIGSTOP)
        time.sleep(2.5)
        redis_server.signal(signal.SIGCONT)
        second = when_there(lambda: store.process) or ""
        assert second != first
        assert not other.alive(first)
        assert other.alive(second)
        store.close()
        assert not other.alive(second)
        third = store.process
        assert third not in (first, second)
        assert other.alive(third)


# A cluster


def until_up(client: Client) -> None:
    """Wait until a node says that the cluster is up, with all its slots."""
    deadline = time.monotonic() + 30
    told = ""
    while "cluster_state:ok" not in told or "cluster_slots_ok:16384" not in told:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        told = client.eval("return redis.call('CLUSTER', 'INFO')", 0)


def test_in_a_cluster_it_finds_the_node_with_its_keys_and_follows_them(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    first_options, second_options = (("--cluster-enabled", "yes", "--cluster-port", str(port)) for port in ports)
    with own_server(tmp_path / "one", *first_options) as one, own_server(tmp_path / "two", *second_options) as two:
        with one.client() as first, two.client() as second:
            second.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", two.port, ports[1])
            until_up(first)
            until_up(second)
        with closing(one.store()) as store:
            assert store.swap("a", "key", None, "value")
            assert store.take([Count("key", (ONE,))])
            assert store.rows("a")
            store.publish("topic")
            store.flush()
            # The other node takes the keys over, without their data.
            two.end(kill=True)
            with pytest.raises(StoreAway, match="cannot be reached"):
                store.get("a", "key")
            with one.client() as client:
                client.execute_command("CLUSTER", "DELSLOTSRANGE", 0, 16383)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                until_up(client)
            refused(store, "it has lost data")
