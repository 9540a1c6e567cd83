"""A client's answers to our questions, as raw lines to a real process, in both protocol eras."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import COMMAND, environment, sandbox_server
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store.sqlite import Sqlite

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
SAM = "12025550123@c.us"


class Talk:
    """Lines to and from a server whose App requires approval."""

    def __init__(self, process: subprocess.Popen[str], sandbox: SandboxInfo) -> None:
        self.process = process
        self._sandbox = sandbox
        self._numbers = itertools.count(1)

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def request(self, method: str, params: dict[str, Any]) -> int:
        number = next(self._numbers)
        self.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        return number

    def read(self) -> Any:
        """The next message that is not a notification."""
        assert self.process.stdout is not None
        while "id" not in (message := json.loads(self.process.stdout.readline())):
            pass
        return message

    def result(self, number: int) -> Any:
        message = self.read()
        assert message["id"] == number
        return message["result"]

    def handshake(self) -> None:
        client = {"name": "test", "version": "1"}
        number = self.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": client},
        )
        self.result(number)
        self.write('{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def send_text(self, text: str, **params: Any) -> int:
        return self.request("tools/call", {"name": "send_text", "arguments": {"chat": SAM, "text": text}} | params)

    def sent(self) -> list[str]:
        """The texts that the sandbox was told to send, by its own log."""
        headers = {"X-Api-Key": self._sandbox.admin_key}
        log = httpx.get(f"{self._sandbox.url}/sandbox/requests", headers=headers).json()
        return [entry["body"]["text"] for entry in log if entry["path"] == "/api/sendText"]


@pytest.fixture(scope="module")
def own_sandbox() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


@contextmanager
def talking(sandbox: SandboxInfo, folder: Path) -> Iterator[Talk]:
    app = folder / "asking.toml"
    app.write_text(f'url = "{sandbox.url}"\nkey = "{sandbox.keys["read_send"]}"\napproval = "send"\n')
    app.chmod(0o600)
    with subprocess.Popen(
        [*COMMAND, "serve", "--app", str(app)],
        env=environment(XDG_STATE_HOME=str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Talk(process, sandbox)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(timeout=10) == 0
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asking")


@pytest.fixture(scope="module")
def legacy(own_sandbox: SandboxInfo, folder: Path) -> Iterator[Talk]:
    with talking(own_sandbox, folder) as talk:
        talk.handshake()
        yield talk


@pytest.fixture(scope="module")
def modern(own_sandbox: SandboxInfo, folder: Path) -> Iterator[Talk]:
    with talking(own_sandbox, folder) as talk:
        yield talk


@pytest.fixture(autouse=True)
def nothing_waits(folder: Path) -> Iterator[None]:
    """No question is left between tests: an App may have only a few open."""
    yield
    with closing(Sqlite(folder / "waha-mcp" / "store.sqlite")) as store:
        for row in store.rows("question"):
            store.swap("question", row.key, row.value, None)


def is_filed(result: Any, folder: Path) -> bool:
    """Whether a call says that its question waits out of the agent's reach, and it does."""
    said = json.dumps(result)
    with closing(Sqlite(folder / "waha-mcp" / "store.sqlite")) as store:
        entries = [json.loads(row.value) for row in store.rows("question")]
    waiting = [entry["id"] for entry in entries if entry["state"] == "waiting"]
    return (
        result["isError"]
        and any(f"waiting for approval, id {number}" in said for number in waiting)
        and "refused" not in said
        and "had an internal error" not in said
    )


YES = '{"action":"accept","content":{"approve":true}}'
#: Answers that neither accept nor decline.
NONSENSE = {
    "null": "null",
    "empty": "{}",
    "a list": "[]",
    "a list with a yes": f"[{YES}]",
    "a string": '"accept"',
    "true": "true",
    "no action": '{"content":{"approve":true}}',
    "action null": '{"action":null,"content":{"approve":true}}',
    "an unknown action": '{"action":"yes","content":{"approve":true}}',
    "an action in capitals": '{"action":"ACCEPT","content":{"approve":true}}',
    "an action as a list": '{"action":["accept"],"content":{"approve":true}}',
    "no content": '{"action":"accept"}',
    "content null": '{"action":"accept","content":null}',
    "content as a list": '{"action":"accept","content":["approve"]}',
    "content as a string": '{"action":"accept","content":"approve"}',
    "an empty content": '{"action":"accept","content":{}}',
    "text for a tick": '{"action":"accept","content":{"approve":"true"}}',
    "yes for a tick": '{"action":"accept","content":{"approve":"yes"}}',
    "a number for a tick": '{"action":"accept","content":{"approve":1}}',
    "a fraction for a tick": '{"action":"accept","content":{"approve":1.0}}',
    "null for a tick": '{"action":"accept","content":{"approve":null}}',
    "a list for a tick": '{"action":"accept","content":{"approve":[true]}}',
    "an object for a tick": '{"action":"accept","content":{"approve":{"a":true}}}',
    "another field": '{"action":"accept","content":{"Approve":true}}',
    "a tick outside": '{"action":"accept","approve":true}',
    "cancel": '{"action":"cancel"}',
    "cancel with a tick": '{"action":"cancel","content":{"approve":true}}',
    "a huge number": '{"action":"accept","content":{"approve":1e9999}}',
    "half a pair": r'{"action":"accept","content":{"approve":"\ud800"}}',
}
#: Whole messages in place of an answer; %d is the id of the question.
BROKEN = {
    "an error": '{"jsonrpc":"2.0","id":%d,"error":{"code":-32601,"message":"Method not found"}}',
    "an error that is null": '{"jsonrpc":"2.0","id":%d,"error":null}',
    "an error that is text": '{"jsonrpc":"2.0","id":%d,"error":"no"}',
    "an error without a code": '{"jsonrpc":"2.0","id":%d,"error":{"message":"no"}}',
    "a yes and an error": '{"jsonrpc":"2.0","id":%d,"result":' + YES + ',"error":{"code":1,"message":"no"}}',
    "a yes of JSON-RPC 1": '{"jsonrpc":"1.0","id":%d,"result":' + YES + "}",
    "a yes under a string of another number": '{"jsonrpc":"2.0","id":"%d","result":{}}',
}
LINES = {name: '{"jsonrpc":"2.0","id":%d,"result":' + result + "}" for name, result in NONSENSE.items()} | BROKEN


def asked(talk: Talk, text: str) -> tuple[int, int]:
    """The ids of a call in the older era and of the question that it leads to."""
    call = talk.send_text(text)
    question = talk.read()
    assert question["method"] == "elicitation/create"
    assert text in question["params"]["message"]
    return call, question["id"]


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_request_that_is_answered_with_neither_yes_nor_no_is_filed_and_nothing_is_sent(
    line: str, legacy: Talk, folder: Path, request: pytest.FixtureRequest
) -> None:
    text = request.node.name
    call, question = asked(legacy, text)
    legacy.write(line.replace("%d", str(question)))
    assert is_filed(legacy.result(call), folder)
    assert text not in legacy.sent()


def test_an_answer_to_another_question_answers_nothing(legacy: Talk, folder: Path) -> None:
    call, question = asked(legacy, "To another")
    for other in (question + 1, question - 1, -question, None, f"{question}x", [question], 0):
        legacy.write(json.dumps({"jsonrpc": "2.0", "id": other, "result": json.loads(YES)}))
    ping = legacy.request("ping", {})
    assert legacy.result(ping) == {}  # the earlier ones have been read, and the call still waits
    assert "To another" not in legacy.sent()
    legacy.write(json.dumps({"jsonrpc": "2.0", "id": question, "result": {"action": "cancel"}}))
    assert is_filed(legacy.result(call), folder)
    # The late yes is for a question that is closed.
    legacy.write(json.dumps({"jsonrpc": "2.0", "id": question, "result": json.loads(YES)}))
    assert legacy.result(legacy.request("ping", {})) == {}
    assert "To another" not in legacy.sent()


@pytest.mark.parametrize("extra", ['"x":{"y":[1]}', '"_meta":{"a":1}', '"approve":false'])
def test_a_yes_is_a_yes_whatever_stands_beside_it(extra: str, legacy: Talk, modern: Talk) -> None:
    yes = '{"action":"accept","content":{"approve":true},' + extra + "}"
    call, question = asked(legacy, f"Yes {extra}")
    legacy.write(f'{{"jsonrpc":"2.0","id":{question},"result":{yes}}}')
    assert not legacy.result(call)["isError"]
    assert legacy.sent().count(f"Yes {extra}") == 1
    state = state_of(modern, f"Yes, too {extra}")
    responses = {"approval": json.loads(yes), "another": {"action": "nonsense"}}
    result = modern.result(retry(modern, f"Yes, too {extra}", inputResponses=responses, requestState=state))
    assert not result["isError"], result
    assert modern.sent().count(f"Yes, too {extra}") == 1


@pytest.mark.parametrize("no", ['{"action":"decline"}', '{"action":"accept","content":{"approve":false}}'])
def test_a_persons_no_is_told_as_one(no: str, legacy: Talk, modern: Talk) -> None:
    call, question = asked(legacy, f"No {no}")
    legacy.write(f'{{"jsonrpc":"2.0","id":{question},"result":{no}}}')
    assert "Declined at the client" in json.dumps(legacy.result(call))
    state = state_of(modern, f"No, too {no}")
    call = retry(modern, f"No, too {no}", inputResponses={"approval": json.loads(no)}, requestState=state)
    assert "Declined at the client" in json.dumps(modern.result(call))
    assert not [text for text in modern.sent() if text.startswith("No")]


def test_a_client_that_leaves_while_it_is_asked_ends_the_call_and_the_process(
    own_sandbox: SandboxInfo, tmp_path: Path
) -> None:
    with talking(own_sandbox, tmp_path) as talk:  # this closes stdin and must see a clean end
        talk.handshake()
        asked(talk, "Left alone")
    assert "Left alone" not in talk.sent()


def retry(talk: Talk, text: str, **params: Any) -> int:
    return talk.send_text(text, _meta=META, **params)


def state_of(talk: Talk, text: str) -> str:
    """The state under which a call of the newer era asks."""
    asking = talk.result(retry(talk, text))
    assert asking["resultType"] == "input_required"
    assert text in asking["inputRequests"]["approval"]["params"]["message"]
    state: str = asking["requestState"]
    return state


RESPONSES = {name: f'{{"approval":{answer}}}' for name, answer in NONSENSE.items()} | {
    "responses empty": "{}",
    "responses as a list": f"[{YES}]",
    "responses as a string": '"yes"',
    "the answer itself": YES,
    "under another name": f'{{"approve":{YES}}}',
    "to another kind of question": '{"approval":{"roots":[]}}',
}


@pytest.mark.parametrize("responses", RESPONSES.values(), ids=RESPONSES)
def test_a_round_trip_that_comes_back_with_neither_yes_nor_no_is_filed_and_nothing_is_sent(
    responses: str, modern: Talk, folder: Path, request: pytest.FixtureRequest
) -> None:
    text = request.node.name
    state = state_of(modern, text)
    number = retry_raw(modern, text, responses, state)
    message = modern.read()
    assert message["id"] == number
    if "9999" in responses or "ud800" in responses:  # not a JSON-RPC message: the call was not made
        assert message["error"]["code"] == -32600
    else:
        assert is_filed(message["result"], folder)
    assert text not in modern.sent()


def retry_raw(talk: Talk, text: str, responses: str, state: str) -> int:
    number = next(talk._numbers)
    params = {"name": "send_text", "arguments": {"chat": SAM, "text": text}, "_meta": META, "requestState": state}
    line = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    talk.write(line[:-2] + f', "inputResponses": {responses}' + "}}")
    return number


@pytest.mark.parametrize("state", [None, 5, True, [], {}, "", "made-up"], ids=repr)
def test_a_yes_under_a_state_that_is_none_of_ours_is_asked_again(state: Any, modern: Talk) -> None:
    text = f"State {state!r}"
    again = modern.result(retry(modern, text, inputResponses={"approval": json.loads(YES)}, requestState=state))
    assert again["resultType"] == "input_required"
    assert text not in modern.sent()


def test_a_state_is_good_for_one_answer_to_its_own_question(modern: Talk) -> None:
    yes = {"approval": json.loads(YES)}
    state = state_of(modern, "First")
    foreign = modern.result(retry(modern, "Second", inputResponses=yes, requestState=state))
    assert foreign["resultType"] == "input_required"
    state = state_of(modern, "First")
    assert not modern.result(retry(modern, "First", inputResponses=yes, requestState=state))["isError"]
    reused = modern.result(
        modern.request(
            "tools/call",
            {
                "name": "send_text",
                "arguments": {"chat": SAM, "text": "First", "allow_repeat": True},
                "_meta": META,
                "inputResponses": yes,
                "requestState": state,
            },
        )
    )
    assert reused["resultType"] == "input_required"
    assert [text for text in modern.sent() if text in ("First", "Second")] == ["First"]
