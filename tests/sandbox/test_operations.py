"""Every operation of the contract that a session key may use, on all engines."""

from __future__ import annotations

import pytest

from tests.sandbox.box import MAYA, Box
from tests.sandbox.examples import EXAMPLES, Known, lacked
from waha_mcp.sandbox.contract import contract

pytestmark = pytest.mark.anyio

#: Where engines deviate from WAHA's own document: their raw message after a text, messages of one-to-one chats without
#: a participant, and after a forward only that it was sent.
AGAINST_THE_DOCUMENT = {
    "gows": set(),
    "noweb": {"ChattingController_sendText"},
    "webjs": {
        "ChattingController_sendText",
        "ChattingController_forwardMessage",
        "ChattingController_getMessages",
        "ChatsController_getChatMessage",
        "ChatsController_getChatMessages",
        "EventsController_sendEvent",
    },
    "wpp": {"ChattingController_forwardMessage"},
}
NOT_FOR_SESSION_KEYS = {"McpController_post"}


def test_every_operation_a_session_key_may_use_has_an_example() -> None:
    wanted = {each.id for each in contract().operations if each.action not in ("admin", "create")}
    named = [each.operation_id for each in EXAMPLES]
    assert len(named) == len(set(named))
    assert set(named) == wanted - NOT_FOR_SESSION_KEYS


@pytest.mark.slow
async def test_every_operation_answers_as_the_contract_says(each: Box) -> None:
    await each.has(*await lacked(each))
    known = Known(call=(await each.control("POST", "calls", **{"from": MAYA}))["id"])
    against: set[str] = set()
    for example in EXAMPLES:
        operation = example.operation
        if example.status:
            await each.control("POST", "session", status=example.status)
        body, query = example.filled_body(known), example.filled_query(known)
        if body is not None or operation.body_required:
            assert contract().body_errors(operation, body) == [], example.operation_id
        answer = await each.ask(operation.method, example.url(known), body, params=query)
        assert answer.status_code == operation.success, (example.operation_id, answer.text)
        value = None
        if answer.headers.get("content-type", "").startswith("application/json"):
            value = answer.json()
            if contract().response_errors(operation, answer.status_code, value):
                against.add(operation.id)
        if example.learn:
            example.learn(known, answer.text if value is None else value)
    assert against == AGAINST_THE_DOCUMENT[each.engine]


async def test_what_an_engine_lacks_is_a_501_that_names_the_engine(each: Box) -> None:
    named = {example.operation_id: example for example in EXAMPLES}
    missing = await lacked(each) & named.keys()
    assert missing
    for operation_id in missing:
        example = named[operation_id]
        if example.status:
            continue
        known = Known(text="1", poll="2", group="3@g.us", channel="4@newsletter")
        answer = await each.ask(
            example.operation.method,
            example.url(known),
            example.filled_body(known),
            params=example.filled_query(known),
        )
        assert answer.status_code == 501, operation_id
        told = answer.json()
        assert told["error"] == "Not Implemented"
        assert f"'{each.engine.upper()}' engine" in told["message"]


async def test_the_engines_differ_in_what_they_lack(gows: Box) -> None:
    star = {"session": "default", "messageId": "x", "chatId": MAYA, "star": True}
    assert (await gows.ask("PUT", "/api/star", star)).status_code == 501
    await gows.has("ChattingController_setStar")
    assert (await gows.ask("PUT", "/api/star", star)).status_code == 200
    await gows.control("POST", "engine", reset=True)
    assert (await gows.ask("PUT", "/api/star", star)).status_code == 501
