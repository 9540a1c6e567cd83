"""The tasks as data: how many, in which languages, and that all they name is there."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.evals.tasks.clumsy import SEED, WRONG_NAMES, damaged, mended
from tests.evals.tasks.paths import NotThere, filled
from tests.evals.tasks.peer_players import FOLDER, peer_tasks
from tests.evals.tasks.report import IDEAL, WHAT
from tests.evals.tasks.task import Task, World, worlds
from tests.evals.tasks.verdict import holds
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.tools.toolsets import load_tools

TASKS = [(world, task) for world in worlds() for task in world.task]
EACH = pytest.mark.parametrize(("world", "task"), TASKS, ids=[task.id for _, task in TASKS])


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    load_tools()


def test_there_are_forty_tasks_spread_evenly_over_six_languages() -> None:
    languages = Counter(task.language for _, task in TASKS)
    assert len(TASKS) == IDEAL == 40
    assert sorted(languages.values()) == [6, 6, 7, 7, 7, 7]
    assert {world.name for world in worlds()} == WHAT.keys()


@EACH
def test_every_tool_of_a_task_is_offered_in_its_world_and_takes_the_arguments(world: World, task: Task) -> None:
    named = {tool for way in task.accepted for tool in way}
    assert named <= CATALOG.keys()
    assert {CATALOG[each].toolset for each in named} <= {*world.app.toolsets}
    for tool, arguments in task.reference:
        assert arguments.keys() <= CATALOG[tool].arguments.model_fields.keys()


@EACH
def test_the_reference_says_what_an_answer_must_hold(world: World, task: Task) -> None:
    if "{" not in task.says:
        assert holds(task.says, task.answer) == []
    assert not task.asks or "?" in task.says


@EACH
def test_the_caps_are_those_of_the_reference(world: World, task: Task) -> None:
    assert task.most[0] == len(task.calls)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_another_server_does_every_task_or_a_reason_stands_there(name: str) -> None:
    tasks = peer_tasks(name)
    assert tasks.keys() == {task.id for _, task in TASKS}
    assert all(bool(each.calls) != bool(each.cannot) for each in tasks.values())
    answers = {task.id: task.answer for _, task in TASKS}
    assert all(each.cannot or not holds(each.says, answers[id_]) for id_, each in tasks.items())


# Values from answers

ANSWER = '{"hits":[{"id":"m1","text":"tea"},{"id":"m2","text":"soup","size":7}],"cursor":"c1"}'


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("{1.cursor}", "c1"),
        ("{1.hits.0.id}", "m1"),
        ("{1.hits.~soup.id}", "m2"),
        ("{1.hits.~soup.size}", 7),
        ("It is {1.hits.1.text}, {1.hits.~soup.size}.", "It is soup, 7."),
        ({"a": ["{1.cursor}"]}, {"a": ["c1"]}),
        ("{2~id: (\\S+)\\nName: soup}", "m2"),
        (4, 4),
    ],
)
def test_a_value_is_taken_from_an_earlier_answer(value: Any, found: Any) -> None:
    assert filled(value, [ANSWER, "id: m1\nName: tea\nid: m2\nName: soup"]) == found


@pytest.mark.parametrize("value", ["{1.hits.~cake.id}", "{1.hits.5.id}", "{1.nothing}", "{3.cursor}", "{2~(cake)}"])
def test_what_no_answer_holds_is_not_made_up(value: str) -> None:
    with pytest.raises(NotThere):
        filled(value, [ANSWER, "no JSON"])


def test_texts_are_compared_without_case_accents_and_forms_of_digits() -> None:
    assert holds("Die Summe: 41,90 €", ["41,90|41.90"]) == []
    assert holds("رقمه +٤٤ ٧٧٠٠ ٩٠٠١٢٩", ["447700900129"]) == []
    assert holds("Sí, MÉXICO", ["mexico", "lima"]) == ["lima"]


# The clumsy player


@EACH
def test_the_damage_is_the_same_each_time_and_never_changes_nothing(world: World, task: Task) -> None:
    for tool, arguments in task.reference:
        schema = CATALOG[tool].input_schema
        sent = [damaged(arguments, schema, random.Random(f"{SEED}/{task.id}")) for _ in range(2)]
        assert sent[0] == sent[1]
        assert sent[0] != arguments or not schema["properties"]


def test_wrong_names_are_wrong() -> None:
    taken = {name for tool in CATALOG.values() for name in tool.arguments.model_fields}
    assert WRONG_NAMES.keys() <= taken


UNKNOWN = (
    "Wrong arguments for send_text. chat: required (Name, number with + or id); to: unknown property (did you mean "
    "chat?); send_text takes chat (required), text (required)"
)
NOBODY = (
    "chat: nobody is saved under exactly the name 'Ana', and nothing was done. Ask the user who is meant, and pass "
    "that id:\n- 1@c.us: person saved as 'Anna Schmidt', last active X\n"
    "- 2@c.us: person saved as 'Ana Sousa', no chat yet"
)
MEANT = {"chat": "Anna Schmidt", "limit": 5, "message_id": "m123456789"}


@pytest.mark.parametrize(
    ("error", "sent", "again"),
    [
        (UNKNOWN, {"to": "Anna", "text": "x"}, {"chat": "Anna", "text": "x"}),
        (NOBODY, {"chat": "Ana"}, {"chat": "1@c.us"}),
        (f"{UNKNOWN}. {NOBODY}", {"to": "Ana", "text": "x"}, {"chat": "1@c.us", "text": "x"}),
        (
            "message_id: m1 was not given by any answer to this App; take it again",
            {"message_id": "m1"},
            {"message_id": "m123456789"},
        ),
        ("Wrong arguments for t. limit: should be a valid integer", {"limit": "five"}, {"limit": 5}),
        ("Wrong arguments for t. colour: unknown property; t takes chat", {"colour": "x"}, {}),
        ("Wrong arguments for t. kind: must be one of a, b; did you mean image?", {"kind": "imge"}, {"kind": "image"}),
        ("cursor: damaged", {"cursor": "c9"}, {}),
        ("WAHA is away.", {"chat": "Ana"}, None),
    ],
)
def test_the_rule_takes_what_an_error_offers_and_else_what_was_meant(error: str, sent: Any, again: Any) -> None:
    assert mended(error, sent, MEANT) == again


def test_of_two_candidates_of_the_meant_name_the_rule_takes_neither() -> None:
    two = NOBODY.replace("Ana Sousa", "Anna Schmidt")
    assert mended(two, {"chat": "Ana"}, MEANT) == {"chat": "Anna Schmidt"}
