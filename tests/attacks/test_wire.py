"""Input from the wire: huge or endless answers, malformed lines and invalid answers to questions."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.front import Does, Front, after, answer, drips, says, zeros
from tests.attacks.hijacked import FAST, FRIEND, VICTIM, Hijacked, hijacked
from waha_mcp.policy.approval import decide, waiting
from waha_mcp.sandbox import SandboxInfo

#: MiB that the server's memory may grow by for one answer, of which 10 MiB are read at most.
GROWTH = 100
#: MiB that a bomb decompresses to.
BOMB = 400


# Bombs

CHATS, SEND = "GET /api/default/chats", "POST /api/sendText"


def packed(body: bytes, *encodings: str) -> bytes:
    return answer(body, "200 OK", *(f"Content-Encoding: {each}" for each in encodings))


def zipped_zeros() -> bytes:
    import gzip

    return gzip.compress(zeros(BOMB))


BOMBS = {
    "gzip": lambda: packed(zeros(BOMB), "gzip"),
    "x-gzip": lambda: packed(zeros(BOMB), "x-gzip"),
    "gzip in capitals": lambda: packed(zeros(BOMB), "GZIP"),
    "gzip in gzip": lambda: packed(zipped_zeros(), "gzip, gzip"),
    "gzip in gzip by two headers": lambda: packed(zipped_zeros(), "gzip", "gzip"),
    "identity and gzip": lambda: packed(zeros(BOMB), "identity, gzip"),
    "gzip without a length": lambda: packed(zeros(BOMB), "gzip").replace(b"Content-Length", b"X-Length"),
    "no packing at all": lambda: answer(b" " * BOMB * 2**20),
}  # fmt: skip


def peak(pid: int) -> int:
    """The peak memory (MiB) of a process since the last call of `peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("operation", [CHATS, SEND], ids=["a look", "a change"])
def test_memory_stays_bounded_when_what_is_answered_is(
    operation: str, bomb: str, agent: Hijacked, way: Front, text: str
) -> None:
    what = BOMBS[bomb]()
    peak(agent.pid)
    before = peak(agent.pid)
    way.rules[operation] = says(what) if operation == CHATS else after(what)
    call = ("list_chats", {}) if operation == CHATS else ("send_text", {"chat": VICTIM, "text": text})
    done, said = agent.call(*call[:1], **call[1])
    assert operation in way.hits
    assert peak(agent.pid) - before < GROWTH
    way.rules.clear()
    if operation == SEND:
        # The look-up finds it.
        assert done, said
        assert not agent.call(*call[:1], **call[1])[0]
        assert agent.judge.delivered(VICTIM, text) == 1
    else:
        assert not done


# Slow answers

DRIPS: dict[str, Does] = {
    "headers": drips(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 2000),
    "a body": drips(answer(b"[" + b" " * 2000), at_once=110),
    "chunks": drips(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\n \r\n" * 500,
        at_once=75,
    ),
    "that it goes on": drips(b"HTTP/1.1 102 Processing\r\n\r\n" * 80),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_look_ends_where_waha_drips(what: str, agent: Hijacked, way: Front) -> None:
    way.rules[CHATS] = DRIPS[what]
    number = agent.begin("list_chats")
    # Others are served meanwhile.
    assert agent.call("get_status")[0]
    done, said = agent.outcome(number)
    assert not done
    assert "no complete answer within 2 s" in said


@pytest.mark.parametrize("what", DRIPS)
def test_a_change_ends_as_unknown_where_waha_drips(what: str, agent: Hijacked, way: Front, text: str) -> None:
    nothing = says(answer(b'{"statusCode": 404, "message": "Not Found"}', "404 Not Found"))
    way.rules |= {SEND: DRIPS[what], f"GET /api/default/chats/{FRIEND.replace('@', '%40')}/messages/": nothing}
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert not done
    assert "unknown" in said
    way.rules.clear()
    assert not agent.call("send_text", chat=FRIEND, text=text)[0]
    assert agent.judge.delivered(FRIEND, text) == 1


# Lines


def send_line(number: Any, text: str, **more: Any) -> dict[str, Any]:
    call = {"name": "send_text", "arguments": {"chat": FRIEND, "text": text}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call} | more


#: Lines that contain a send and are not a message.
NO_MESSAGES = {
    "a batch": lambda text: json.dumps([send_line("x", text)]),
    "half a surrogate pair": lambda text: json.dumps(send_line("x", text + "\ud83d")),
    "NaN": lambda text: json.dumps(send_line("x", text) | {"nan": float("nan")}),
    "a number of many digits": lambda text: json.dumps(send_line("x", text) | {"n": 10**4000}),
    "deep nesting": lambda text: json.dumps(send_line("x", text))[:-1] + ', "a": ' + "[" * 90 + "]" * 90 + "}",
    "another protocol": lambda text: json.dumps(send_line("x", text, jsonrpc="1.0")),
    "a method and a result": lambda text: json.dumps(send_line("x", text, result={})),
    "parameters as a list": lambda text: json.dumps(send_line("x", text, params=[1])),
    "two objects": lambda text: json.dumps(send_line("x", text)) * 2,
    "an id that is none": lambda text: json.dumps(send_line([1], text)),
}  # fmt: skip


@pytest.mark.parametrize("line", NO_MESSAGES)
def test_a_line_that_is_no_message_does_nothing_and_is_answered(line: str, agent: Hijacked, text: str) -> None:
    # A new id: one that an earlier case left open would be refused for that.
    number = f"x{secrets.token_hex(4)}"
    agent.line(NO_MESSAGES[line](text).encode().replace(b'"x"', f'"{number}"'.encode()))
    assert agent.call("get_status")[0]
    assert agent.judge.effects() == []
    assert agent.forgotten(None, number)["error"]["code"] in (-32700, -32600)


CANCELS: dict[str, Any] = {
    "a list": [1],
    "an object": {"id": 1},
    "a list of lists": [[1]],
}


@pytest.mark.parametrize("what", CANCELS)
def test_a_cancel_of_nothing_ends_nothing(what: str, agent: Hijacked, text: str) -> None:
    agent.cancel(CANCELS[what])
    assert agent.call("send_text", chat=FRIEND, text=text)[0]
    assert agent.judge.delivered(FRIEND, text) == 1


def test_an_id_in_use_does_nothing_twice(agent: Hijacked, way: Front, text: str) -> None:
    agent.judge.fault("/api/sendText", delay=0.3)
    for each in ("first", "second"):
        agent.line(send_line("same", f"{text} {each}"))
    assert "result" in agent.answer_to("same")
    assert agent.forgotten(None)["error"]["code"] == -32600
    assert agent.judge.delivered(FRIEND, f"{text} first") == 1
    assert agent.judge.delivered(FRIEND, f"{text} second") == 0


# Answers to questions


@pytest.fixture(scope="module")
def asking(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent whose client says that it can ask a person."""
    folder = tmp_path_factory.mktemp("asking")
    with hijacked(sandbox, folder, 'approval = "send"\n' + FAST, asks=True) as agent:
        yield agent


NO_ANSWERS: dict[str, dict[str, Any]] = {
    "nothing": {"result": {}},
    "yes without content": {"result": {"action": "accept"}},
    "yes with null": {"result": {"action": "accept", "content": None}},
    "yes with nothing in it": {"result": {"action": "accept", "content": {}}},
    "yes in words": {"result": {"action": "accept", "content": {"approve": "yes"}}},
    "yes as a number": {"result": {"action": "accept", "content": {"approve": 1}}},
    "yes in a list": {"result": {"action": "accept", "content": {"approve": [True]}}},
    "yes under another name": {"result": {"action": "accept", "content": {"approved": True}}},
    "yes beside a refusal": {"result": {"action": "decline", "content": {"approve": True}}},
    "yes beside giving up": {"result": {"action": "cancel", "content": {"approve": True}}},
    "another action": {"result": {"action": "approve", "content": {"approve": True}}},
    "an error": {"error": {"code": -32601, "message": "Method not found"}},
    "an error that is none": {"error": "no", "session": "default"},
    "an error and a yes": {
        "error": {"code": 1, "message": "x"},
        "result": {"action": "accept", "content": {"approve": True}},
    },
    "a bare yes": {"result": True},
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_nothing_goes_out_where_a_client_answers(
    what: str, asking: Hijacked, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def respond(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question)
        return NO_ANSWERS[what]

    asking.answer = respond
    asking.judge.forget()
    done, said = asking.call("send_text", chat=FRIEND, text=text)
    assert len(asked) == 1
    assert not done
    assert "had an internal error" not in said
    assert asking.judge.effects() == []
    # Fewer than the number of questions that may be open.
    monkeypatch.setenv("XDG_STATE_HOME", str(asking.state))
    for entry in waiting():
        assert decide(entry.id, approve=False)


def test_a_yes_is_good_for_one_call(asking: Hijacked, text: str) -> None:
    answers = iter([{"result": {"action": "accept", "content": {"approve": True}}}])
    asking.answer = lambda question: next(answers, {"result": {"action": "cancel"}})
    assert asking.call("send_text", chat=FRIEND, text=text)[0]
    assert not asking.call("send_text", chat=FRIEND, text=text, allow_repeat=True)[0]
    assert asking.judge.delivered(FRIEND, text) == 1
