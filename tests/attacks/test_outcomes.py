"""Unknown outcomes: a possible effect is neither denied nor repeated, and a request that never left is denied."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks.front import (
    Does,
    Front,
    after,
    answer,
    cut,
    drips,
    half_closed,
    reset,
    says,
    silent,
    zeros,
)
from tests.attacks.hijacked import FAST, FRIEND, SOONER, VICTIM, Hijacked, hijacked
from waha_mcp.sandbox import SandboxInfo

MESSAGE = f"/api/default/chats/{FRIEND}/messages/"
#: The text as it appears in a request.
LOOKS = f"GET {MESSAGE.replace('@', '%40')}"
SEND = "POST /api/sendText"


def insists(agent: Hijacked, text: str, chat: str = FRIEND) -> list[str]:
    """Repeat the call once, and then several times at once: none may go through. Returns the answers."""
    again = ("send_text", {"chat": chat, "text": text})
    outcomes = [agent.call(*again[:1], **again[1]), *agent.at_once([again] * 3)]
    assert not any(done for done, _ in outcomes), outcomes
    return [said for _, said in outcomes]


def may_have_happened(said: str) -> None:
    """The answer does not deny the effect, and does not suggest a retry."""
    assert "not sent" not in said
    assert "ry again" not in said
    assert "unknown" in said or "not known" in said


# WAHA continues after its answer was lost

LATE: dict[str, dict[str, Any]] = {
    "after our time-out": {"late": 3.0},
    "after the connection broke": {"drop": True},
    "after a proxy's 502": {"status": 502, "body": ""},
    "after a proxy's 503": {"status": 503, "body": '{"message": "busy"}'},
    "after a proxy's 504 with a page": {"status": 504, "body": "<html>", "content_type": "text/html"},
    "after a proxy's 408": {"status": 408, "body": "{}"},
    "after an error inside": {"status": 500, "body": '{"exception": {}}'},
    "after a redirect": {"status": 302, "headers": {"location": "/login"}},
    "after a redirect that keeps the method": {"status": 307, "headers": {"location": "https://192.0.2.1/"}},
    "after a page with 200": {"status": 200, "body": "<html>", "content_type": "text/html"},
    "after a page with 403": {"status": 403, "body": "<html>", "content_type": "text/html"},
    "after a proxy's own 403": {"status": 403, "body": '{"message": "Forbidden"}'},
    "after a proxy's empty 400": {"status": 400, "body": ""},
    "after a proxy's 413 with a page": {"status": 413, "body": "<html>", "content_type": "text/html"},
    "after a proxy's own 429": {"status": 429, "body": '{"message": "Too Many Requests"}'},
    "after a proxy's own 401": {"status": 401, "body": '{"message": "No API key found"}'},
    "after half an answer": {"malformed": True},
    "after a part of an answer": {"status": 206, "body": '{"id": 1}'},
    "after a 202 of a queue": {"status": 202, "body": '{"queued": true}'},
    "after an answer that is too large": {"oversize": 11 * 2**20},
}  # fmt: skip


@pytest.mark.parametrize("how", LATE)
def test_what_waha_does(how: str, agent: Hijacked, text: str) -> None:
    agent.judge.fault("/api/sendText", **{"late": 60.0} | LATE[how])
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert not done
    may_have_happened(said)
    for each in insists(agent, text):
        may_have_happened(each)
    assert agent.judge.delivered(FRIEND, text) == 1


# Something between us and WAHA fails after WAHA has done it

SPOILS: dict[str, Does] = {
    "cuts the answer's body": cut(0.9),
    "cuts the answer's headers": cut(0.1),
    "passes nothing on": cut(0),
    "resets the connection": reset,
    "closes its own direction first": half_closed,
    "says nothing": silent,
    "drips headers": drips(b"HTTP/1.1 201 Created\r\nX-Padding: " + b"x" * 2000),
    "drips a body": drips(answer(b" " * 2000), at_once=110),
    "speaks another protocol": after(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "promises more than it gives": after(answer(b"{}").replace(b"Length: 2", b"Length: 200")),
    "ends in the middle of a chunk": after(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}"),
    "only says to go on": after(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "packs it twice": after(answer(zeros(1), "201 Created", "Content-Encoding: gzip, gzip")),
    "answers with a part": after(answer(b'{"id": 1}', "206 Partial Content", "Content-Range: bytes 0-7/400")),
    "answers that there is no content": after(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "breaks the packing": after(answer(b"{}", "201 Created", "Content-Encoding: gzip")),
    "answers with a login page": after(answer(b"<html>Log in", kind="text/html")),
    "answers 500 in WAHA's words": after(answer(b'{"statusCode": 500, "message": "Error"}', "500 Oops")),
}


@pytest.mark.parametrize("how", SPOILS)
def test_what_is_found_afterwards_is_sent_once_where_a_proxy(how: str, agent: Hijacked, way: Front, text: str) -> None:
    way.rules[SEND] = SPOILS[how]
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert way.hits == [SEND]
    assert done, said
    way.rules.clear()
    assert all("was done" in each for each in insists(agent, text))
    assert agent.judge.delivered(FRIEND, text) == 1


# Something that answers in WAHA's place

NO_MESSAGE: dict[str, bytes] = {
    "an empty object": answer(b"{}"),
    "a word": answer(b'{"ok": true}'),
    "null": answer(b"null"),
    "no body": answer(b""),
    "a text": answer(b"OK", kind="text/plain"),
}


@pytest.mark.parametrize("what", NO_MESSAGE)
def test_nothing_is_told_as_sent_where_200_comes_with(what: str, agent: Hijacked, way: Front, text: str) -> None:
    way.rules[SEND] = says(NO_MESSAGE[what])
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert way.hits == [SEND]
    assert agent.judge.delivered(FRIEND, text) == 0
    assert not done, said


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a reaction": ("react", "PUT /api/reaction", {"emoji": "👍"}),
    "an edit": ("edit_message", "PUT /api/default/chats/", {"text": "other words"}),
    "a deletion": ("delete_message", "DELETE /api/default/chats/", {}),
}
NO_WORD: dict[str, bytes] = {
    "a text": answer(b"OK please log in", kind="text/plain"),
    "an error": answer(b'{"error": "upstream unavailable"}'),
    "an error's code": answer(b'{"statusCode": 500, "message": "Internal server error"}'),
    "not ok": answer(b'{"ok": false}'),
    "no result": answer(b'{"result": false}'),
    "a failure by its status": answer(b'{"status": "error"}'),
    "a number": answer(b"7"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("said", NO_WORD)
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_told_as_done_where_something_else_answers(
    change: str, said: str, agent: Hijacked, way: Front, text: str
) -> None:
    done, sent = agent.call("send_text", chat=FRIEND, text=text)
    assert done, sent
    agent.judge.forget()
    tool, operation, arguments = CHANGES[change]
    way.rules[operation] = says(NO_WORD[said])
    done, told = agent.call(tool, message_id=json.loads(sent)["message_id"], **arguments)
    assert agent.judge.effects() == []
    assert not done, told
    assert "unknown" in told


def test_an_id_that_comes_again_finds_no_older_message(agent: Hijacked, way: Front, text: str) -> None:
    way.rules["GET /api/default/new-message-id"] = says(answer(b'{"id": "3EB0BBBBBBBBBBBBBBBB"}'))
    assert agent.call("send_text", chat=FRIEND, text=f"{text} first")[0]
    way.rules[SEND] = says(answer(b"", "502 Bad Gateway"))
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert not done
    may_have_happened(said)
    assert agent.judge.delivered(FRIEND, text) == 0


# Look-ups that prove nothing

OURS = b'{"id": "true_12025550123@c.us_3EB0FFFFFFFFFFFFFFFF", "fromMe": true, "body": "Only once"}'
JUNK: dict[str, bytes] = {
    "an empty object": answer(b"{}"),
    "null": answer(b"null"),
    "a list": answer(b"[]"),
    "true": answer(b"true"),
    "a text": answer(b"yes", kind="text/plain"),
    "another message": answer(OURS),
    "no message but its text": answer(b'{"fromMe": true, "body": "Only once"}'),
    "a page": answer(b"<html>", kind="text/html"),
    "that there is none": answer(b'{"statusCode": 404, "message": "Not Found"}', "404 Not Found"),
    "that it may not say": answer(b'{"statusCode": 403, "message": "Forbidden"}', "403 Forbidden"),
    "that the engine cannot": answer(b'{"statusCode": 501, "message": "no"}', "501 Not Implemented"),
    "nothing": b"",
}


@pytest.mark.parametrize("what", JUNK)
def test_it_stays_unknown_where_a_look_up_answers(what: str, agent: Hijacked, way: Front, text: str) -> None:
    way.rules |= {SEND: cut(0), LOOKS: says(JUNK[what])}
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert {SEND, LOOKS} == set(way.hits)
    assert not done
    may_have_happened(said)
    del way.rules[SEND]
    for each in insists(agent, text):
        may_have_happened(each)
    assert agent.judge.delivered(FRIEND, text) == 1


def test_somebody_elses_message_under_our_id_is_not_ours(agent: Hijacked, way: Front, text: str) -> None:
    way.rules |= {
        "GET /api/default/new-message-id": says(answer(b'{"id": "3EB0AAAAAAAAAAAAAAAA"}')),
        SEND: says(b""),
        LOOKS: says(answer(f'{{"id": "false_{FRIEND}_3EB0AAAAAAAAAAAAAAAA", "fromMe": false}}'.encode())),
    }
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert len(set(way.hits)) == 3
    assert not done
    may_have_happened(said)
    assert agent.judge.delivered(FRIEND, text) == 0


# Without an id beforehand

NO_ID: dict[str, bytes] = {
    "is broken": answer(b'{"statusCode": 500}', "500 Oops"),
    "is not implemented": answer(b'{"statusCode": 501, "message": "no"}', "501 Not Implemented"),
    "gives none": answer(b"{}"),
    "gives a number": answer(b'{"id": 7}'),
    "gives a page": answer(b"<html>", kind="text/html"),
}


@pytest.mark.parametrize("how", NO_ID)
def test_the_same_text_in_the_chat_proves_nothing_where_the_maker_of_ids(
    how: str, agent: Hijacked, way: Front, text: str
) -> None:
    way.rules |= {"GET /api/default/new-message-id": says(NO_ID[how]), SEND: cut(0)}
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert SEND in way.hits
    way.rules.clear()
    assert not done
    may_have_happened(said)
    insists(agent, text)
    assert agent.judge.delivered(FRIEND, text) == 1


def test_an_engine_that_makes_no_ids_leaves_it_unknown(agent: Hijacked, text: str) -> None:
    agent.judge.lacks("ChattingController_getNewMessageId")
    agent.judge.fault("/api/sendText", drop=True, after=True)
    done, said = agent.call("send_text", chat=FRIEND, text=text)
    assert not done
    may_have_happened(said)
    insists(agent, text)
    assert agent.judge.delivered(FRIEND, text) == 1


def test_a_key_that_may_only_send_leaves_it_unknown(
    sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("sendonly")
    with hijacked(sandbox, folder, FAST, key="send", actions=("send",), first=SOONER) as agent:
        for what in ({"drop": True, "after": True}, {"late": 0.2, "status": 504, "body": ""}):
            agent.judge.fault("/api/sendText", **what)
            done, said = agent.call("send_text", chat=FRIEND, text=f"{text} {what}")
            assert not done
            may_have_happened(said)
            insists(agent, f"{text} {what}")
            assert agent.judge.delivered(FRIEND, f"{text} {what}") == 1


# Requests that never left


def test_what_nobody_took_was_not_sent_and_goes_out_when_tried_again(agent: Hijacked, way: Front, text: str) -> None:
    way.shut()
    try:
        for _ in range(2):
            done, said = agent.call("send_text", chat=FRIEND, text=text)
            assert not done
            assert "not sent" in said
    finally:
        way.open()
    assert agent.call("send_text", chat=FRIEND, text=text)[0]
    assert agent.judge.delivered(FRIEND, text) == 1


def test_forty_texts_that_nobody_took_all_go_out_when_tried_again(agent: Hijacked, way: Front, text: str) -> None:
    calls = [("send_text", {"chat": VICTIM, "text": f"{text} {n}"}) for n in range(40)]
    way.shut()
    try:
        assert all(not done and "not sent" in said for done, said in agent.at_once(calls))
    finally:
        way.open()
    assert all(done for done, _ in agent.at_once(calls))
    assert len(agent.judge.reached()) == 40


# Cancelled


def test_forty_texts_cancelled_before_they_left_all_go_out_when_tried_again(
    agent: Hijacked, way: Front, text: str
) -> None:
    held = threading.Event()

    def hold(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
        held.wait(20)

    way.rules["GET /api/default/new-message-id"] = hold
    numbers = [agent.begin("send_text", chat=VICTIM, text=f"{text} {n}") for n in range(40)]
    agent.judge.await_(lambda: len(way.hits) >= 40)
    for number in numbers:
        agent.cancel(number)
    assert agent.call("get_status")[0]
    way.rules.clear()
    held.set()
    assert agent.judge.effects() == []
    calls = [("send_text", {"chat": VICTIM, "text": f"{text} {n}"}) for n in range(40)]
    assert all(done for done, _ in agent.at_once(calls))
    assert len(agent.judge.reached()) == 40


def test_a_text_cancelled_while_it_waits_for_its_turn_goes_out_when_tried_again(
    sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    pace = FAST.replace("gap = [0, 0]", "gap = [2.5, 2.5]")
    with hijacked(sandbox, tmp_path_factory.mktemp("turns"), pace) as agent:
        for n in range(5):
            agent.judge.forget()
            assert agent.call("send_text", chat=FRIEND, text=f"{text} first {n}")[0]
            number = agent.begin("send_text", chat=FRIEND, text=f"{text} {n}")
            assert agent.call("get_status")[0]
            agent.cancel(number)
            said = "under way"
            while "under way" in said:  # the cancelled call may take a moment to end
                done, said = agent.call("send_text", chat=FRIEND, text=f"{text} {n}")
            assert agent.judge.delivered(FRIEND, f"{text} {n}") == 1, said
            if done:
                return  # cancelled while it waited; on a busy machine its turn may have come first
    pytest.fail("each text went out before it was cancelled")


CANCELLED: dict[str, dict[str, Any]] = {
    "before WAHA answered": {"delay": 60.0, "after": True},
    "before WAHA did it": {"late": 60.0},
}


@pytest.mark.parametrize("when", CANCELLED)
def test_a_text_cancelled_after_it_left_is_not_sent_again(when: str, agent: Hijacked, text: str) -> None:
    agent.judge.fault("/api/sendText", **CANCELLED[when])
    number = agent.begin("send_text", chat=FRIEND, text=text)
    agent.judge.await_request("/api/sendText")
    agent.cancel(number)
    for each in insists(agent, text):
        if when == "before WAHA answered":
            assert "did go out" in each or "was done" in each
        else:
            may_have_happened(each)
    assert agent.judge.delivered(FRIEND, text) == 1


def test_the_same_at_once_goes_out_once(agent: Hijacked, text: str) -> None:
    outcomes = agent.at_once([("send_text", {"chat": FRIEND, "text": text})] * 12)
    assert sum(done for done, _ in outcomes) == 1
    assert agent.judge.delivered(FRIEND, text) == 1


@pytest.mark.parametrize("answered", ["with what was sent", "with a proxy's 504"])
def test_a_text_that_left_is_guarded_whatever_becomes_of_the_same_beside_it(
    answered: str, agent: Hijacked, way: Front, text: str
) -> None:
    agent.judge.fault("/api/default/new-message-id", delay=60.0)
    waits = agent.begin("send_text", chat=FRIEND, text=text)
    agent.judge.await_request("/api/default/new-message-id")
    let = threading.Event()

    def hold(connection: socket.socket, hand_on: Callable[[], bytes]) -> None:
        given = hand_on()
        let.wait(20)
        connection.sendall(given if answered == "with what was sent" else answer(b"", "504 Gateway Time-out"))

    way.rules |= {SEND: hold, LOOKS: says(JUNK["that there is none"])}
    leaves = agent.begin("send_text", chat=FRIEND, text=text, allow_repeat=True)
    agent.judge.await_request("/api/sendText")
    agent.cancel(waits)
    assert agent.call("get_status")[0]
    let.set()
    done, said = agent.outcome(leaves)
    assert done is (answered == "with what was sent"), said
    assert "had an internal error" not in said
    way.rules.clear()
    insists(agent, text)
    assert agent.judge.delivered(FRIEND, text) == 1


# Changes other than a text

OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sendLocation": ("send_location", {"chat": FRIEND, "latitude": 1.5, "longitude": 2.5}),
    "sendPoll": ("send_poll", {"chat": FRIEND, "question": "When?", "options": ["a", "b"]}),
    "sendFile": ("send_media", {"chat": FRIEND, "kind": "file", "path": "menu.txt"}),
}


@pytest.mark.parametrize("operation", OTHERS)
def test_no_other_change_is_done_again_either(operation: str, agent: Hijacked) -> None:
    tool, arguments = OTHERS[operation]
    agent.judge.fault(f"/api/{operation}", late=60.0, status=504, body="")
    for _ in range(3):
        done, said = agent.call(tool, **arguments)
        assert not done
        may_have_happened(said)
    agent.judge.settle()
    assert len(agent.judge.reached()) == 1
