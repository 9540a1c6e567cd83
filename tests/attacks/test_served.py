"""Over HTTP, a valid key reaches nobody else's state, whatever is sent with it; a web page reaches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import FRIEND, SECRET
from tests.attacks.judge import Judge
from tests.harness import NO_PACE_TEXT
from tests.http_server import LEGACY, Answer, Caller, Served, http_server, write_app
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.toolsets import TOOLSETS

YES = {"approval": {"action": "accept", "content": {"approve": True}}}
ASKING = NO_PACE_TEXT + '[approval]\nwhen = "send"\n'
#: A server that keeps few bridges.
FEW = "import waha_mcp.bridges as bridges\nbridges.MOST = 10\n"


@dataclass
class Place:
    """A server with two Apps of one account that ask before they send, and two that do not."""

    server: Served
    sandbox: SandboxInfo

    def caller(self, key: str, version: str = "2026-07-28") -> Caller:
        return self.server.caller(self.sandbox.keys[key], version=version, elicits=True)


@pytest.fixture(scope="module")
def place(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    apps, state, outbox = (tmp_path_factory.mktemp(name) for name in ("apps", "state", "outbox"))
    (outbox / "door.txt").write_text(SECRET)
    write_app(apps, "one", sandbox, sandbox.keys["full"], ASKING)
    write_app(apps, "two", sandbox, sandbox.keys["read_send"], ASKING)
    write_app(apps, "fast", sandbox, sandbox.keys["send"], outbox=str(outbox), exclude=["send_poll"])
    with http_server("--apps", str(apps), "--sessions", state=state) as server:
        yield Place(server, sandbox)


@pytest.fixture
def judge(sandbox: SandboxInfo) -> Iterator[Judge]:
    found = Judge(sandbox)
    found.forget()
    yield found
    found.close()


def answered(caller: Caller, state: str, text: str) -> Answer:
    return caller.tool("send_text", more={"requestState": state, "inputResponses": YES}, chat=FRIEND, text=text)


def test_an_answer_to_one_keys_question_is_taken_with_no_other(place: Place, text: str, judge: Judge) -> None:
    with place.caller("full") as one, place.caller("read_send") as two:
        state = str(one.tool("send_text", chat=FRIEND, text=text).result["requestState"])
        assert not answered(two, state, text).good
        assert judge.reached() == []
        assert answered(one, state, text).good
    assert judge.delivered(FRIEND, text) == 1


def test_a_session_of_one_key_is_ended_with_no_other(place: Place) -> None:
    with place.caller("full", LEGACY) as one, place.caller("read_send", LEGACY) as two:
        one.opened()
        stolen = {**two.headers, "Mcp-Session-Id": one.headers["Mcp-Session-Id"], "MCP-Protocol-Version": LEGACY}
        assert two.send("DELETE", "/mcp", stolen).status == 404
        assert one.tool("get_status").good


def test_a_key_beside_another_is_none(place: Place, text: str, judge: Judge) -> None:
    keys = [place.sandbox.keys["send"], "key_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
    with place.server.caller(None) as caller:
        for first, second in (keys, keys[::-1]):
            both = {"X-Api-Key": first, "Authorization": f"Bearer {second}"}
            assert caller.tool("send_text", both, chat=FRIEND, text=text).status == 401
    assert judge.effects() == []


def test_a_header_brings_back_no_tool_that_the_app_leaves_out(place: Place, text: str, judge: Judge) -> None:
    poll: dict[str, Any] = {"chat": FRIEND, "question": text, "options": ["yes", "no"]}
    with place.caller("send") as fast:
        for toolset in sorted(TOOLSETS):
            answer = fast.tool("send_poll", {"X-Toolsets": toolset}, **poll)
            assert not answer.good
    assert judge.effects() == []


def test_an_agent_that_may_only_read_by_its_header_sends_nothing(place: Place, text: str, judge: Judge) -> None:
    with place.caller("send") as fast:
        for headers in ([("X-Read-Only", "true")], [("X-Read-Only", "false"), ("X-Read-Only", "true")]):
            assert not fast.tool("send_text", headers, chat=FRIEND, text=text).good
    assert judge.effects() == []


def test_a_file_of_the_servers_machine_does_not_get_out(place: Place, judge: Judge) -> None:
    with place.caller("send") as fast:
        assert not fast.tool("send_media", chat=FRIEND, kind="file", path="door.txt").good
    assert judge.reached() == []


def test_a_page_under_a_rebound_name_sends_nothing(place: Place, text: str, judge: Judge) -> None:
    with place.caller("send") as fast:
        port = place.server.address[1]
        rebound = {"Host": f"rebound.example:{port}", "Origin": f"http://127.0.0.1:{port}"}
        assert fast.tool("send_text", rebound, chat=FRIEND, text=text).status == 421
    assert judge.effects() == []


def test_a_page_of_another_origin_sends_nothing(place: Place, text: str, judge: Judge) -> None:
    with place.caller("send") as fast:
        for origin in ("https://evil.example", f"http://127.0.0.1:{place.server.address[1]}.evil.example", "null"):
            assert fast.tool("send_text", {"Origin": origin}, chat=FRIEND, text=text).status == 403
    assert judge.effects() == []


def test_the_key_of_a_disabled_app_does_not_get_the_template(
    sandbox: SandboxInfo, tmp_path: Path, text: str, judge: Judge
) -> None:
    template, apps = tmp_path / "template.toml", tmp_path / "apps"
    apps.mkdir()
    template.write_text(NO_PACE_TEXT)
    write_app(apps, "off", sandbox, sandbox.keys["send"], enabled=False)
    options = ("--open", "--url", sandbox.url, "--template", str(template), "--apps", str(apps))
    with http_server(*options, state=tmp_path / "state") as server, server.caller(sandbox.keys["send"]) as caller:
        assert caller.tool("send_text", chat=FRIEND, text=text).status == 401
    assert judge.effects() == []


def test_narrowing_crowds_out_no_other_app(sandbox: SandboxInfo, tmp_path: Path) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    write_app(apps, "modest", sandbox, sandbox.keys["read"])
    write_app(apps, "greedy", sandbox, sandbox.keys["full"], toolsets=["all"])
    toolsets = sorted(TOOLSETS - {"all"})
    with (
        http_server("--apps", str(apps), state=tmp_path / "state", first=FEW) as server,
        server.caller(sandbox.keys["read"]) as modest,
        server.caller(sandbox.keys["full"]) as greedy,
    ):
        wish = greedy.message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        with ExitStack() as streams:
            for number in range(1, 15):
                chosen = ",".join(each for bit, each in enumerate(toolsets) if number >> bit & 1)
                # In the end the greedy client is refused, and no other.
                with suppress(AssertionError):
                    next(streams.enter_context(greedy.stream(wish, {"X-Toolsets": chosen})))
            assert modest.tool("get_status").good
