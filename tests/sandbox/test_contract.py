"""WAHA's contract as data: routing and checks."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from waha_mcp.app.actions import Action
from waha_mcp.sandbox.contract import Operation, contract

KNOWN_ACTIONS = {*Action, "server", "list", "create", "admin", "none", "unknown"}


def op(operation_id: str) -> Operation:
    return contract().by_id[operation_id]


def test_the_contract_has_all_operations_of_its_waha_version() -> None:
    assert contract().waha == "2026.9.2"
    assert len(contract().operations) == len(contract().by_id) == 192


def test_the_contract_is_loaded_once() -> None:
    assert contract() is contract()


@pytest.mark.parametrize("operation", contract().operations, ids=lambda each: each.id)
def test_every_operation_is_routed_to_itself_and_demands_a_known_action(operation: Operation) -> None:
    path = operation.path
    for param in operation.params:
        if param.where == "path":
            path = path.replace(f"{{{param.name}}}", f"a%40{param.name}")
    found = contract().match(operation.method, path)
    assert found is not None
    assert found[0] is operation
    assert all(value == f"a@{name}" for name, value in found[1].items())
    assert operation.action in KNOWN_ACTIONS
    assert 200 <= operation.success < 300


@cache
def checked(definitions: str) -> None:
    """Hold the definitions that the schemas of all bodies share (as JSON) against the meta-schema, once."""
    Draft202012Validator.check_schema({"$defs": json.loads(definitions)})


@pytest.mark.parametrize("operation", contract().operations, ids=lambda each: each.id)
def test_every_schema_is_one_that_jsonschema_accepts(operation: Operation) -> None:
    contract().body_errors(operation, {"no": "sense"})
    contract().query_errors(operation, {param.name: "x" for param in operation.query})
    for status in operation.responses:
        contract().response_errors(operation, status, {"no": "sense"})
    validator = contract().body_validator(operation)
    if validator is not None:
        schema = validator.schema
        assert isinstance(schema, dict)
        own = dict(schema)
        checked(json.dumps(own.pop("$defs")))
        validator.check_schema(own)


def test_a_literal_segment_beats_a_parameter() -> None:
    routed = {
        "/api/default/chats/overview": "ChatsController_getChatsOverview",
        "/api/default/groups/count": "GroupsController_getGroupsCount",
        "/api/default/channels/search/views": "ChannelsController_getSearchViews",
        "/api/contacts/all": "ContactsController_getAll",
        "/api/default/lids/count": "LidsController_getLidsCount",
    }
    for path, operation_id in routed.items():
        found = contract().match("GET", path)
        assert found is not None
        assert found[0].id == operation_id


def test_path_parameters_are_unescaped_and_a_final_slash_changes_nothing() -> None:
    found = contract().match("get", "/api/my%20box/chats/12025550123%40c.us/messages/")
    assert found is not None
    assert found[1] == {"session": "my box", "chatId": "12025550123@c.us"}


@pytest.mark.parametrize("path", ["/", "/api", "/api/nowhere", "/api/default/chats/a/b/c/d/e"])
def test_what_is_no_route_matches_nothing(path: str) -> None:
    assert contract().match("GET", path) is None
    assert contract().match("PATCH", "/api/sendText") is None


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"session": "default", "chatId": "1@c.us", "text": "hi"}, None),
        ({"session": "default", "chatId": "1@c.us", "text": "hi", "id": None, "linkPreview": False}, None),
        ({"chatId": "1@c.us", "text": "hi"}, "session"),
        ({"session": "default", "text": "hi"}, "chatId"),
        ({"session": "default", "chatId": 1, "text": "hi"}, "chatId"),
        (None, "body"),
    ],
)
def test_a_body_is_held_against_its_schema(body: Any, wrong: str | None) -> None:
    errors = contract().body_errors(op("ChattingController_sendText"), body)
    assert (errors == []) if wrong is None else (wrong in " ".join(errors))


def test_oddities_of_the_published_document_do_not_refuse_what_waha_takes() -> None:
    vote = {"session": "default", "chatId": "1@c.us", "pollMessageId": "a", "votes": ["One", "Two"]}
    assert contract().body_errors(op("ChattingController_sendPollVote"), vote) == []
    poll = {"name": "When?", "options": ["a", "b"], "multipleAnswers": True}
    body = {"session": "default", "chatId": "1@c.us", "poll": poll}
    assert contract().body_errors(op("ChattingController_sendPoll"), body) == []
    both = {"mimetype": "image/png", "url": "https://example.com/a.png", "data": "aGk="}
    image = {"session": "default", "chatId": "1@c.us", "file": both}
    assert contract().body_errors(op("ChattingController_sendImage"), image) == []


def test_an_operation_without_a_body_takes_none() -> None:
    assert contract().body_errors(op("SessionsController_start"), {}) == []
    assert contract().body_errors(op("SessionsController_start"), {"force": True}) != []


def test_a_query_is_held_against_its_parameters() -> None:
    messages = op("ChatsController_getChatMessages")
    assert contract().query_errors(messages, {"limit": "20", "downloadMedia": "false", "filter.ack": "READ"}) == []
    for bad in ({"limit": "many"}, {"downloadMedia": "maybe"}, {"filter.ack": "SEEN"}, {"page": "2"}):
        assert contract().query_errors(messages, bad) != []
    assert contract().query_errors(op("ContactsController_getAll"), {}) != []
    assert contract().query_errors(op("GroupsController_getGroups"), {"exclude": ["participants"]}) == []


def test_an_answer_is_held_against_the_schema_of_its_status() -> None:
    get_me = op("SessionsController_getMe")
    assert contract().response_errors(get_me, 200, {"id": "1@c.us", "pushName": "A", "lid": None}) == []
    assert contract().response_errors(get_me, 200, {"id": "1@c.us"}) != []
    assert contract().response_errors(get_me, 200, None) == []
    assert contract().response_errors(get_me, 404, {"message": "anything"}) == []
