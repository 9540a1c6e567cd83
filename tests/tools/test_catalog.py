"""The catalog: arguments, schemas and exposure follow from one record per tool."""

import subprocess
import sys
from itertools import chain, combinations
from typing import Annotated, Any

import pytest
from pydantic import Field, SecretStr

from tests.one_tool import unlisted
from waha_mcp.app.actions import Action, Evidence, Grant
from waha_mcp.app.definition import App
from waha_mcp.tools.catalog import CATALOG, READS, ArgumentError, Context, Tool, exposed, tool, why_hidden
from waha_mcp.tools.toolsets import TOOLSETS
from waha_mcp.waha.models import Result

EVERY = frozenset(Action)


class Made(Result):
    """Words for maintainers."""

    number: int = Field(description="A number")
    note: str | None = None


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool with every kind of parameter, in a catalog made for the test."""
    monkeypatch.setattr("waha_mcp.tools.catalog._TOOLS", dict(CATALOG))

    @tool(title="Make", action=Action.READ, calls=["GET /api/version"], hints=READS, toolset="making")
    async def make_it(
        number: Annotated[int, Field(ge=1, description="How many")],
        note: Annotated[str, Field(description="What for")] | None = None,
        loud: Annotated[bool, Field(description="Whether")] = False,
        *,
        ctx: Context,
    ) -> Made:
        """Make it.

        In two lines.
        """
        return Made(number=number)

    from waha_mcp.tools import catalog

    return catalog._TOOLS["make_it"]


def app(**fields: Any) -> App:
    return App(key=SecretStr("scoped-key-1234"), **fields)


def test_a_function_is_the_whole_tool(made: Tool) -> None:
    assert (made.name, made.title, made.toolset) == ("make_it", "Make", "making")
    assert made.description == "Make it.\n\nIn two lines."
    assert made.result is Made


def test_two_tools_of_one_name_are_a_mistake(made: Tool) -> None:
    async def make_it(*, ctx: Context) -> Made:
        """Again."""
        return Made(number=1)

    with pytest.raises(AssertionError):
        tool(title="Make", action=None, calls=[], hints=READS)(make_it)


def test_the_input_schema_holds_the_parameters_and_no_noise(made: Tool) -> None:
    assert made.input_schema == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "number": {"type": "integer", "description": "How many; from 1"},
            "note": {"type": "string", "description": "What for"},
            "loud": {"type": "boolean", "description": "Whether"},
        },
        "required": ["number"],
    }


def test_arguments_are_checked_and_completed(made: Tool) -> None:
    assert made.parse({"number": 2}) == {"number": 2, "note": None, "loud": False}
    assert made.parse({"number": 2, "note": None})["note"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["number: required"]),
        ({"number": 0}, ["number: ", "1"]),
        ({"number": "many"}, ["number: ", "integer"]),
        ({"number": 1, "loud": "perhaps", "note": {"a": 1}}, ["loud: ", "note: "]),
        (
            {"number": 1, "nmber": 2},
            ["nmber: unknown", "did you mean number?", "number (required), note, loud"],
        ),
    ],
)
def test_wrong_arguments_are_all_named_with_what_would_be_right(
    made: Tool, arguments: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ArgumentError) as caught:
        made.parse(arguments)
    for word in ["make_it", *words]:
        assert word in str(caught.value)


def test_what_was_passed_is_not_echoed(made: Tool) -> None:
    with pytest.raises(ArgumentError) as caught:
        made.parse({"number": "s3cr3t", "note": ["s3cr3t"], "x" * 5000: 1})
    assert "s3cr3t" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_no_tool_takes_what_it_does_not_know(name: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        CATALOG[name].parse({"no_such_property": 1})
    assert "no_such_property: unknown" in str(caught.value)


@pytest.mark.parametrize(
    "actions", [frozenset(c) for c in chain.from_iterable(combinations(Action, n) for n in range(7))], ids=sorted
)
def test_what_is_exposed_is_what_is_not_hidden(actions: frozenset[Action]) -> None:
    grant = Grant.initial(actions)
    shown = exposed(app(toolsets=["all"]), grant)
    assert [t.name for t in shown] == [t.name for t in CATALOG.values() if t.action is None or t.action in actions]
    assert all(why_hidden(t, app(toolsets=["all"]), grant) is None for t in shown)


def test_a_hidden_tool_says_why() -> None:
    send = CATALOG["send_text"]
    grant = Grant.initial(EVERY)
    assert "'core'" in (why_hidden(send, app(toolsets=[]), grant) or "")
    assert "'send'" in (why_hidden(send, app(), grant.with_evidence({Action.SEND: Evidence.REFUSED})) or "")
    assert why_hidden(send, app(), grant.refused("a problem")) == "a problem"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"toolsets": ["core"]}, False),
        ({"toolsets": ["groups_admin"]}, False),
        ({"toolsets": ["core", "destructive"]}, False),
        ({"toolsets": ["groups_admin", "destructive"]}, True),
        ({"toolsets": ["all"]}, True),
        ({"toolsets": ["core"], "include": ["delete_group"]}, True),
        ({"toolsets": ["all"], "exclude": ["delete_group"]}, False),
        ({"include": ["delete_group"], "exclude": ["delete_group"]}, False),
    ],
    ids=str,
)
def test_what_takes_away_needs_both_its_toolsets_or_its_own_name_and_can_be_left_out(
    fields: dict[str, Any], shown: bool
) -> None:
    tool = CATALOG["delete_group"]
    assert (why_hidden(tool, app(**fields), Grant.initial(EVERY)) is None) is shown
    assert why_hidden(tool, app(**fields), Grant.initial(frozenset({Action.READ}))) is not None


def test_the_status_is_hidden_by_no_grant() -> None:
    assert why_hidden(CATALOG["get_status"], app(), Grant().refused("a problem")) is None


def test_toolsets_are_those_of_the_tools_and_all() -> None:
    assert {name for t in CATALOG.values() for name in t.toolsets} | {"all"} == TOOLSETS


@pytest.mark.tools
def test_every_module_with_tools_stands_under_their_toolsets() -> None:
    assert not unlisted(), unlisted()


@pytest.mark.parametrize("toolset", sorted(TOOLSETS - {"all", "destructive"}))
def test_a_start_up_loads_every_tool_of_a_chosen_toolset_and_no_other_module(toolset: str) -> None:
    code = (
        "from waha_mcp.tools.catalog import CATALOG\nfrom waha_mcp.tools.toolsets import load_tools\n"
        f"load_tools([{toolset!r}])\n"
        "print(*(f'{t.name}:{t.toolset}' for t in CATALOG.values()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = dict(pair.split(":") for pair in done.stdout.split())
    assert {t.name for t in CATALOG.values() if t.toolset == toolset} <= loaded.keys()
    assert ("core" in loaded.values()) is (toolset == "core")
