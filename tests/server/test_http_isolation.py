"""State that belongs to one key cannot be reached with another over HTTP, even on the same account or process."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.judge import Judge
from tests.harness import NO_PACE_TEXT, sandbox_server
from tests.http_server import LEGACY, MODERN, SOON, Answer, Caller, Headers, Served, http_server, until, write_app
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.toolsets import TOOLSETS

pytestmark = pytest.mark.slow

#: A person whose chat B may neither read nor write to, and one whom both reach.
SEALED, FRIEND = "447700900142@c.us", "12025550123@c.us"
SEALED_NAME = "Maya"
#: A asks before it sends. B may do the same as A, except for the sealed chat.
OF_A = NO_PACE_TEXT + '[approval]\nwhen = "send"\n'
OF_B = NO_PACE_TEXT + f'[chats]\nread = {{ deny = ["{SEALED}"] }}\nsend = {{ deny = ["{SEALED}"] }}\n'
YES = {"approval": {"action": "accept", "content": {"approve": True}}}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@pytest.fixture(scope="module")
def judge(sandbox: SandboxInfo) -> Iterator[Judge]:
    found = Judge(sandbox)
    yield found
    found.close()


@dataclass
class Pair:
    """Two servers on one state folder, with the Apps of two keys; B's key is of the same session or of another."""

    servers: tuple[Served, Served]
    key_a: str
    key_b: str

    def a(self, **options: Any) -> Caller:
        return self.servers[0].caller(self.key_a, **options)

    def b(self, **options: Any) -> Caller:
        return self.servers[0].caller(self.key_b, **options)


def second_session(judge: Judge) -> str:
    """The key of a second session, which is of the same account."""
    judge.ask("POST", "/api/sessions", {"name": "work", "start": True})
    judge.ask("POST", "/sandbox/session", {"session": "work", "status": "WORKING"})
    actions = {"read": True, "send": True, "control": True}
    body = {"isAdmin": False, "session": "work", "isActive": True, "actions": actions}
    return str(judge.ask("POST", "/api/keys", body)["key"])


@pytest.fixture(scope="module", params=["the same session", "another session"])
def pair(
    request: pytest.FixtureRequest, sandbox: SandboxInfo, judge: Judge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder, state = tmp_path_factory.mktemp("apps"), tmp_path_factory.mktemp("state")
    same = request.param == "the same session"
    key_a, key_b = sandbox.keys["full"], sandbox.keys["read_send"] if same else second_session(judge)
    write_app(folder, "alpha", sandbox, key_a, OF_A, toolsets=["all"])
    write_app(folder, "beta", sandbox, key_b, OF_B, toolsets=["all"], session="default" if same else "work")
    with (
        http_server("--apps", str(folder), state=state) as one,
        http_server("--apps", str(folder), state=state) as two,
    ):
        yield Pair((one, two), key_a, key_b)


def ids(answer: Answer, field: str = "messages") -> list[str]:
    return [each["id"] for each in json.loads(answer.words)[field] if "id" in each]


def asked(caller: Caller, **arguments: Any) -> str:
    """The state of a call's question."""
    result = caller.tool("send_text", **arguments).result
    assert result["resultType"] == "input_required", result
    return str(result["requestState"])


def answered(caller: Caller, state: str, answers: Any = YES, **arguments: Any) -> Answer:
    return caller.tool("send_text", more={"requestState": state, "inputResponses": answers}, **arguments)


# References, cursors and positions


def test_references_of_one_key_mean_nothing_to_another(pair: Pair) -> None:
    with pair.a() as a, pair.b() as b:
        listed = a.tool("get_messages", chat=SEALED, limit=5)
        messages = ids(listed)
        [group, *_] = ids(a.tool("list_groups", limit=3), "groups")
        assert messages
        assert group.startswith("g")
        for each in messages:
            assert a.tool("get_message", message_id=each).good
            attempts: list[tuple[str, dict[str, Any]]] = [
                ("get_message", {"message_id": each}),
                ("get_media", {"message_id": each}),
                ("forward_message", {"chat": FRIEND, "message_id": each}),
                ("react", {"message_id": each, "emoji": "x"}),
                ("send_text", {"chat": FRIEND, "text": "quoting", "reply_to": each}),
            ]
            for tool, arguments in attempts:
                answer = b.tool(tool, **arguments)
                assert not answer.good, (tool, answer.text)
                assert SEALED_NAME not in answer.text
        assert not b.tool("get_messages", chat=group).good
        assert not b.tool("get_group", group=group).good


def test_a_listing_is_not_gone_on_with_by_another_key(pair: Pair) -> None:
    with pair.a() as a, pair.b() as b:
        for tool, arguments in (
            ("list_chats", {"limit": 2}),
            ("get_messages", {"chat": FRIEND, "limit": 1}),
            ("search_messages", {"query": "the", "limit": 1}),
        ):
            cursor = json.loads(a.tool(tool, **arguments).words)["cursor"]
            answer = b.tool(tool, **arguments | {"cursor": cursor})
            assert not answer.good, (tool, answer.text)
            assert a.tool(tool, **arguments | {"cursor": cursor}).good


def test_a_place_in_what_happens_is_of_one_key(pair: Pair, judge: Judge) -> None:
    with pair.a() as a, pair.b() as b:
        place = json.loads(a.tool("get_updates").words)["cursor"]
        answer = b.tool("get_updates", after=place)
        assert not answer.good, answer.text
        answer = b.tool("wait_for_messages", after=place, timeout=1)
        assert not answer.good, answer.text


def test_ids_that_are_guessed_beside_a_reference_name_nothing(pair: Pair) -> None:
    with pair.a() as a, pair.b() as b:
        [reference, *_] = ids(a.tool("get_messages", chat=SEALED, limit=1))
        number = int(reference[1:])
        for guess in (
            f"m{number + 1}",
            f"m{number - 1}",
            reference.upper(),
            f" {reference} ",
            f"m{number:012}",
            "m0",
            "m-1",
        ):
            answer = b.tool("get_message", message_id=guess)
            assert not answer.good
            assert SEALED_NAME not in answer.text


# Open questions


def test_a_question_of_one_key_is_answered_with_no_other(pair: Pair, judge: Judge) -> None:
    text = f"A question of A's {pair.key_b[-4:]}"
    with (
        pair.a(elicits=True) as a,
        pair.b(elicits=True) as b,
        pair.servers[1].caller(pair.key_b, elicits=True) as elsewhere,
    ):
        judge.forget()
        state = asked(a, chat=FRIEND, text=text)
        for caller in (b, elsewhere):
            assert not answered(caller, state, chat=SEALED, text=text).good
        # B's own call needs no question: what it sends is its own.
        answered(b, state, chat=FRIEND, text=text + " by B")
        assert judge.delivered(FRIEND, text) == 0
        assert answered(a, state, chat=FRIEND, text=text).good
        assert judge.delivered(FRIEND, text) == 1


CHANGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another text": lambda args: args | {"text": "Something else"},
    "another chat": lambda args: args | {"chat": SEALED},
    "one thing more": lambda args: args | {"link_preview": True},
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
def test_a_yes_is_for_the_very_call_that_was_asked_about(
    change: Callable[[dict[str, Any]], dict[str, Any]], pair: Pair, judge: Judge
) -> None:
    arguments = {"chat": FRIEND, "text": f"Exactly this {change}"}
    judge.forget()
    with pair.a(elicits=True) as a, pair.servers[1].caller(pair.key_a, elicits=True) as elsewhere:
        state = asked(a, **arguments)
        for caller in (a, elsewhere):
            assert not answered(caller, state, **change(arguments)).good
        assert not judge.reached()


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"approval": {"action": "accept"}},
        {"approval": {"action": "decline"}},
        {"other": YES["approval"]},
        {"approval": {"action": "accept", "content": {"approve": "true"}}},
        {"approval": {"action": "accept", "content": {"approve": 1}}},
    ],
    ids=str,
)
def test_a_state_without_a_true_yes_sends_nothing(answers: dict[str, Any], pair: Pair, judge: Judge) -> None:
    arguments = {"chat": FRIEND, "text": f"No yes {answers}"}
    judge.forget()
    with pair.a(elicits=True) as a:
        assert not answered(a, asked(a, **arguments), answers, **arguments).good
    assert not judge.reached()


@pytest.mark.parametrize("state", ["", "x", "A" * 32, "A" * 100_000, "\u0000", "../../etc"])
def test_a_state_that_nobody_was_given_is_none(state: str, pair: Pair, judge: Judge) -> None:
    judge.forget()
    with pair.a(elicits=True) as a:
        assert not answered(a, state, chat=FRIEND, text="With a made-up state").good
    assert not judge.reached()


def test_one_yes_sends_once_whoever_takes_it_and_however_often(pair: Pair, judge: Judge) -> None:
    text = f"Once, at both servers {pair.key_b[-4:]}"
    judge.forget()
    with pair.a(elicits=True) as a:
        state = asked(a, chat=FRIEND, text=text)

    def take(number: int) -> bool:
        with pair.servers[number % 2].caller(pair.key_a, elicits=True) as caller:
            return answered(caller, state, chat=FRIEND, text=text).good

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(6))) == 1
    assert judge.delivered(FRIEND, text) == 1


# Resources, prompts, completions, subscriptions


def test_resources_of_a_sealed_chat_are_not_read_or_watched_by_another_key(pair: Pair) -> None:
    with pair.a() as a, pair.b() as b:
        assert SEALED_NAME in a.ask("resources/read", uri=f"waha://chats/{SEALED}").text
        [message, *_] = ids(a.tool("get_messages", chat=SEALED, limit=1))
        for uri in (
            f"waha://chats/{SEALED}",
            "waha://chats/Maya%20Lindqvist",
            f"waha://messages/{message}",
            "waha://chats/+447700900142",
        ):
            answer = b.ask("resources/read", uri=uri)
            assert '"result"' not in answer.text, answer.text
            assert "can you ask Sam" not in answer.text
        assert "can you ask Sam" not in b.ask("resources/read", uri="waha://unread").text
        for uri in (f"waha://chats/{SEALED}", "waha://chats/Maya%20Lindqvist"):
            listen = b.message("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}})
            assert '"error"' in b.post(listen).text


def test_completions_name_nobody_whom_the_key_may_not_read(pair: Pair) -> None:
    template = {"type": "ref/resource", "uri": "waha://chats/{chat}"}
    prompt = {"type": "ref/prompt", "name": "draft_reply"}
    with pair.a() as a, pair.b() as b:
        for ref in (template, prompt):
            for value in ("Ma", "maya", "44770", ""):
                asked_for = {"ref": ref, "argument": {"name": "chat", "value": value}}
                if value == "Ma":
                    assert "Maya" in a.ask("completion/complete", **asked_for).text
                found = b.ask("completion/complete", **asked_for).text
                assert "Maya" not in found
                assert "447700900142" not in found


def test_prompts_hold_nothing_of_another_key(pair: Pair) -> None:
    with pair.b() as b:
        for name, arguments in (
            ("draft_reply", {"chat": "Maya Lindqvist"}),
            ("find_and_summarize", {"query": "Sam", "chat": "Maya"}),
            ("catch_up", {"focus": "Maya"}),
        ):
            answer = b.ask("prompts/get", name=name, arguments=arguments).text
            assert "can you ask Sam" not in answer
            assert "alpha" not in answer


def test_events_of_a_sealed_chat_are_told_to_who_may_read_it_alone(pair: Pair, judge: Judge) -> None:
    def watching(caller: Caller) -> AbstractContextManager[Iterator[dict[str, Any]]]:
        wish = {"notifications": {"resourceSubscriptions": ["waha://unread"]}}
        return caller.stream(caller.message("subscriptions/listen", wish))

    of_b: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def hear(messages: Iterator[dict[str, Any]]) -> None:
        for each in messages:
            of_b.put(each)

    with pair.a() as a, pair.b() as b, watching(a) as told_a, watching(b) as told_b, ThreadPoolExecutor(1) as pool:
        hears = pool.submit(hear, told_b)
        assert "acknowledged" in next(told_a)["method"]
        assert "acknowledged" in of_b.get(timeout=SOON)["method"]
        place = json.loads(b.tool("get_updates").words)["cursor"]
        judge.arrive(SEALED, "only for A")
        assert next(told_a)["method"] == "notifications/resources/updated"
        assert "only for A" not in b.tool("get_updates", after=place).text
        judge.arrive(FRIEND, "for both")
        assert next(told_a)["method"] == "notifications/resources/updated"
        if pair.key_b == judge.sandbox.keys["read_send"]:
            assert of_b.get(timeout=SOON)["method"] == "notifications/resources/updated"
        # An event only for A would have come a second before.
        assert of_b.empty()
        b.hang_up()
        hears.result(SOON)


# One request among others


def test_requests_with_the_same_ids_and_tokens_at_once_get_their_own_answers(pair: Pair) -> None:
    def of(key: str, number: int) -> str:
        with pair.servers[0].caller(key) as caller:
            params = {"name": "get_status", "arguments": {}, "_meta": {"progressToken": "same"}}
            return caller.post(caller.message("tools/call", params, number=7)).words

    with ThreadPoolExecutor(8) as pool:
        keys = [pair.key_a, pair.key_b] * 8
        for key, words in zip(keys, pool.map(of, keys, range(16)), strict=True):
            assert json.loads(words)["app"] == ("alpha" if key == pair.key_a else "beta")


@pytest.mark.parametrize("version", [LEGACY, MODERN])
def test_a_cancellation_ends_no_request_of_another_key(version: str, pair: Pair, judge: Judge) -> None:
    with pair.a(version=version) as a, pair.b(version=version) as b:
        place = json.loads(a.tool("get_updates").words)["cursor"]
        waits = a.message(
            "tools/call",
            {"name": "wait_for_messages", "arguments": {"after": place, "timeout": 20, "settle": 0}},
            number=99,
        )
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(a.post, waits)
            for _ in range(3):
                b.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}})
            judge.arrive(FRIEND, f"after the cancellation {version}")
            assert f"after the cancellation {version}" in waiting.result(25).words


# A request's own claims

ELSEWHERE: dict[str, list[tuple[str, str]]] = {
    "an App": [("X-App", "alpha"), ("X-Waha-App", "alpha"), ("X-Mcp-App", "alpha"), ("App", "alpha")],
    "a session": [("X-Session", "default"), ("X-Waha-Session", "default")],
    "a URL": [("X-Waha-Url", "http://127.0.0.1:9"), ("X-Url", "http://127.0.0.1:9"), ("Waha-Url", "http://127.0.0.1:9")],
    "a forwarded host": [("X-Forwarded-Host", "alpha"), ("Forwarded", "for=1;host=alpha"), ("X-Forwarded-Path", "/a")],
    "another method": [("X-HTTP-Method-Override", "DELETE"), ("X-Original-URL", "/alpha"), ("X-Rewrite-URL", "/alpha")],
    "actions": [("X-Actions", "read,send,delete"), ("X-Scopes", "all"), ("X-Approval", "never")],
    "a session id": [("Mcp-Session-Id", "alpha")],
}  # fmt: skip


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_no_header_but_the_key_chooses_app_session_or_url(headers: list[tuple[str, str]], pair: Pair) -> None:
    with pair.b() as b:
        answer = b.tool("get_status", headers)
        assert json.loads(answer.words)["app"] == "beta"
        assert b.tools(headers) == b.tools()


@pytest.mark.parametrize("name", ["url", "key", "session", "app", "api_key", "waha_url", "x-api-key"])
def test_no_argument_or_metadata_chooses_app_session_or_url(name: str, pair: Pair) -> None:
    values = {"url": "http://127.0.0.1:9", "waha_url": "http://127.0.0.1:9", "session": "default", "app": "alpha"}
    value = values.get(name, pair.key_a)
    with pair.b() as b:
        for params in (
            {"name": "get_status", "arguments": {name: value}},
            {"name": "get_status", "arguments": {}, "_meta": {name: value}},
            {"name": "get_status", "arguments": {}, name: value},
        ):
            answer = b.post(b.message("tools/call", params))
            assert "alpha" not in answer.text
            assert pair.key_a not in answer.text
            if answer.good:
                assert json.loads(answer.words)["app"] == "beta"


def test_errors_name_no_other_app(pair: Pair) -> None:
    with pair.b() as b:
        for answer in (
            b.tool("get_messages", chat="Nobody at all"),
            b.tool("no_such_tool"),
            b.tool("send_text", chat=SEALED, text="x"),
            b.ask("resources/read", uri="waha://nothing"),
            b.ask("resources/read", uri="file:///etc/passwd"),
            b.ask("prompts/get", name="nothing"),
            b.post(b"["),
            b.post(b"\xff\xfe"),
        ):
            for word in ("alpha", pair.key_a, pair.key_b, SEALED_NAME, "Traceback", ".py", "/tmp"):
                assert word not in answer.text
    for server in pair.servers:
        for word in (pair.key_a, pair.key_b, SEALED_NAME, "Traceback"):
            assert word not in server.log()


# Narrowed requests


NARROW: dict[str, Headers] = {
    "one toolset": {"X-Toolsets": "core"},
    "all": {"X-Toolsets": "all"},
    "all in capitals": {"X-Toolsets": "ALL"},
    "one that the App leaves out": {"X-Toolsets": "groups"},
    "several": {"X-Toolsets": "core,groups,channels,labels"},
    "twice": [("X-Toolsets", "core"), ("X-Toolsets", "groups")],
    "twice, all behind": [("X-Toolsets", "core"), ("X-Toolsets", "all")],
    "nothing": {"X-Toolsets": ""},
    "commas": {"X-Toolsets": ",,,"},
    "an unknown one": {"X-Toolsets": "no_such_toolset"},
    "taken away": {"X-Toolsets": "-core"},
    "with a plus": {"X-Toolsets": "+groups"},
    "letters that look alike": {"X-Toolsets": "\uff47roups"},
    "a wildcard": {"X-Toolsets": "*"},
    "tools": {"X-Tools": "create_group", "X-Include": "create_group", "X-Exclude": ""},
    "not only reading": {"X-Read-Only": "false"},
    "only reading, and not": [("X-Read-Only", "true"), ("X-Read-Only", "false")],
    "not only reading, and reading": [("X-Read-Only", "false"), ("X-Read-Only", "true")],
    "perhaps": {"X-Read-Only": "perhaps"},
    "no value": {"X-Read-Only": ""},
}


@pytest.fixture(scope="module")
def narrow(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with one App that has the toolset core, and one that may only read."""
    folder = tmp_path_factory.mktemp("apps")
    write_app(folder, "plain", sandbox, sandbox.keys["full"])
    write_app(folder, "reading", sandbox, sandbox.keys["read_send"], actions=["read"])
    with http_server("--apps", str(folder), state=tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.mark.parametrize("headers", NARROW.values(), ids=NARROW.keys())
def test_a_header_only_narrows(headers: Headers, narrow: Served, sandbox: SandboxInfo) -> None:
    for key in ("full", "read_send"):
        with narrow.caller(sandbox.keys[key]) as caller:
            whole = caller.tools()
            answer = caller.ask("tools/list", headers)
            if answer.status == 200:
                listed = {each["name"] for each in answer.result["tools"]}
                assert listed <= whole
                if "send_text" not in listed:
                    assert not caller.tool("send_text", headers, chat=FRIEND, text="hidden").good
            else:
                assert answer.status == 400
            for tool in ("create_group", "list_groups"):
                assert not caller.tool(tool, headers, subject="x", participants=[FRIEND]).good


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "1", "yes", " true ", "on"])
def test_only_reading_is_only_reading_or_an_error(
    value: str, narrow: Served, sandbox: SandboxInfo, judge: Judge
) -> None:
    judge.forget()
    headers = {"X-Read-Only": value}
    with narrow.caller(sandbox.keys["full"]) as caller:
        answer = caller.ask("tools/list", headers)
        assert answer.status == 400 or "send_text" not in answer.text.replace("`send_text`", "")
        for tool in ("send_text", "react", "mark_read"):
            assert not caller.tool(tool, headers, chat=FRIEND, text="only reading", message_id="m1", emoji="x").good
    assert judge.effects() == []


def test_narrowed_requests_have_one_pace_and_one_memory_of_repeats(
    sandbox: SandboxInfo, tmp_path: Path, judge: Judge
) -> None:
    pace = '[pace]\ntotal = "3/hour"\nchat = ""\nfirst_contacts = ""\ngap = [0, 0]\n'
    write_app(tmp_path, "paced", sandbox, sandbox.keys["full"], pace)
    judge.forget()
    ways: list[Headers] = [
        {}, {"X-Toolsets": "core"}, {"X-Read-Only": "false"}, {"X-Toolsets": "core", "X-Read-Only": "false"},
        {"X-Toolsets": "core,core"}, {"X-Toolsets": " core"},
    ]  # fmt: skip
    with http_server("--apps", str(tmp_path)) as server, server.caller(sandbox.keys["full"]) as caller:
        for n, headers in enumerate(ways):
            if n:
                assert not caller.tool("send_text", headers, chat=FRIEND, text="Paced 0").good
            caller.tool("send_text", headers, chat=FRIEND, text=f"Paced {n}")
    assert len(judge.reached()) == 3


def test_thousands_of_narrowed_variants_cost_no_more_than_one(sandbox: SandboxInfo, tmp_path: Path) -> None:
    write_app(tmp_path, "plain", sandbox, sandbox.keys["full"], toolsets=["all"])
    names = sorted(TOOLSETS - {"all"})
    with http_server("--apps", str(tmp_path)) as server, server.caller(sandbox.keys["full"]) as caller:
        for number in range(1, 61):
            chosen = [each for bit, each in enumerate(names) if number >> bit & 1]
            assert caller.ask("tools/list", {"X-Toolsets": ",".join(chosen)}).status == 200
        metrics = caller.send("GET", "/metrics").text
        [bridges] = [line.split()[-1] for line in metrics.splitlines() if line.startswith("waha_mcp_bridges ")]
        assert float(bridges) <= 8


# Files of the server's machine


def test_files_of_the_servers_machine_are_out_of_reach_unless_the_app_says_so(
    sandbox: SandboxInfo, tmp_path: Path, judge: Judge
) -> None:
    outbox, downloads, apps = tmp_path / "outbox", tmp_path / "downloads", tmp_path / "apps"
    for each in (outbox, downloads, apps):
        each.mkdir()
    (outbox / "note.txt").write_text("from the server")
    folders = {"outbox": str(outbox), "downloads": str(downloads)}
    write_app(apps, "off", sandbox, sandbox.keys["full"], **folders)
    write_app(apps, "on", sandbox, sandbox.keys["read_send"], **folders, remote_files=True)
    picture = judge.arrive(FRIEND, "look", mimetype="image/jpeg")
    with http_server("--apps", str(apps)) as server:
        with server.caller(sandbox.keys["full"]) as caller:
            judge.forget()
            assert not caller.tool("send_media", chat=FRIEND, kind="file", path="note.txt").good
            assert not caller.tool("send_media", chat=FRIEND, kind="file", path=str(outbox / "note.txt")).good
            assert judge.effects() == []
            caller.tool("get_media", message_id=picture, save=True)
            assert [*downloads.iterdir()] == []
            assert str(tmp_path) not in caller.tool("get_status").text
        with server.caller(sandbox.keys["read_send"]) as caller:
            assert caller.tool("send_media", chat=FRIEND, kind="file", path="note.txt").good
            assert caller.tool("get_media", message_id=picture, save=True).good
            assert len([*downloads.iterdir()]) == 1


# Sessions of the older era


def ends(stream: Iterator[dict[str, Any]]) -> bool:
    """Whether a stream is closed by the server before long."""
    reader = threading.Thread(target=lambda: [*stream], daemon=True)
    reader.start()
    reader.join(15)
    return not reader.is_alive()


@pytest.fixture(scope="module")
def sticky(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, state = tmp_path_factory.mktemp("apps"), tmp_path_factory.mktemp("state")
    key_a, key_b = sandbox.keys["full"], sandbox.keys["read_send"]
    write_app(folder, "alpha", sandbox, key_a, OF_A)
    write_app(folder, "beta", sandbox, key_b, OF_B)
    with http_server("--apps", str(folder), "--sessions", state=state) as server:
        yield Pair((server, server), key_a, key_b)


def test_a_session_of_one_key_is_used_listened_to_and_ended_with_no_other(sticky: Pair) -> None:
    with (
        sticky.a(version=LEGACY) as a,
        sticky.b(version=LEGACY) as b,
        sticky.servers[0].caller(None, version=LEGACY) as stranger,
    ):
        a.opened()
        session = {"Mcp-Session-Id": a.headers["Mcp-Session-Id"]}
        for caller, statuses in ((b, (403, 404)), (stranger, (401,))):
            for answer in (
                caller.tool("get_status", session),
                caller.ask("tools/list", session),
                caller.post(
                    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}, session
                ),
                caller.post({"jsonrpc": "2.0", "id": 1, "result": {}}, session),
                caller.send("GET", "/mcp", caller.headers | session | {"Accept": "text/event-stream"}),
                caller.send("DELETE", "/mcp", caller.headers | session),
            ):
                assert answer.status in statuses
                assert "alpha" not in answer.text
        assert json.loads(a.tool("get_status").words)["app"] == "alpha"


def test_a_session_is_no_key(sticky: Pair) -> None:
    with sticky.a(version=LEGACY) as a:
        a.opened()
        for key in ("", "key_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"):
            assert a.ask("tools/list", {"X-Api-Key": key}).status == 401
        assert a.tools()


def test_an_open_question_of_a_session_is_answered_with_no_other_key(sticky: Pair, judge: Judge) -> None:
    with sticky.a(version=LEGACY) as a, sticky.b(version=LEGACY) as b:
        a.opened(elicitation={})
        judge.forget()
        call = a.message(
            "tools/call", {"name": "send_text", "arguments": {"chat": FRIEND, "text": "Asked of A's person"}}
        )
        with a.stream(call) as messages:
            question = next(each for each in messages if each.get("method") == "elicitation/create")
            yes = {"jsonrpc": "2.0", "id": question["id"], "result": YES["approval"]}
            b.opened(elicitation={})
            b.post(yes)
            assert b.post(yes, {"Mcp-Session-Id": a.headers["Mcp-Session-Id"]}).status in (403, 404)
            assert judge.effects() == []
            assert a.post(yes).status == 202
            assert next(each for each in messages if each.get("id") == call["id"])["result"]["isError"] is False
        assert judge.delivered(FRIEND, "Asked of A's person") == 1


def test_a_session_ends_with_its_key(sandbox: SandboxInfo, judge: Judge, tmp_path: Path) -> None:
    actions = {"read": True}
    key = judge.ask("POST", "/api/keys", {"isAdmin": False, "session": "default", "isActive": True, "actions": actions})
    path = write_app(tmp_path, "brief", sandbox, key["key"])
    write_app(tmp_path, "other", sandbox, sandbox.keys["read"])
    with http_server("--apps", str(tmp_path), "--sessions") as server, server.caller(key["key"], version=LEGACY) as a:
        a.opened()
        head = a.headers | {"Accept": "text/event-stream", "MCP-Protocol-Version": LEGACY}
        with a.stream(None, head, "GET") as told:
            assert a.tool("list_chats").good
            path.unlink()
            until(lambda: a.ask("tools/list").status == 401, 10)
            # The open stream ends, too.
            assert ends(told)


def test_a_stream_of_the_newer_era_ends_with_its_key(sandbox: SandboxInfo, tmp_path: Path) -> None:
    path = write_app(tmp_path, "brief", sandbox, sandbox.keys["full"])
    write_app(tmp_path, "other", sandbox, sandbox.keys["read"])
    with http_server("--apps", str(tmp_path)) as server, server.caller(sandbox.keys["full"]) as a:
        wish = a.message(
            "subscriptions/listen", {"notifications": {"resourceSubscriptions": [f"waha://chats/{FRIEND}"]}}
        )
        with a.stream(wish) as told:
            assert "acknowledged" in next(told)["method"]
            path.unlink()
            assert ends(told)
