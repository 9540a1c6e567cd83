"""The model player: both APIs over real HTTP, what the services do wrong, and what a task's end is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.evals.tasks.desk import Desk
from tests.evals.tasks.model_player import APIS, LONGEST_PAUSE, SYSTEM, TRIES, TURNS, ModelPlayer
from tests.evals.tasks.scripted_service import Fails, Says, Service, scripted
from tests.evals.tasks.task import Task

KEY = "sk-of-nobody-0123456789"
TOOL = {"name": "look", "description": "Look.", "inputSchema": {"type": "object", "properties": {}}, "annotations": {}}
TASK = Task(
    id="t", language="en", prompt="What is there?", calls=({"look": {}},), says="", found=("soup",), most=(1, 9)
)
LOOK = Says("Let me see.", (("look", {"deep": True}),))


class Canned:
    """A server that answers each call with its arguments."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def ask(self, method: str, **params: Any) -> Any:
        self.calls.append(params)
        return {"content": [{"type": "text", "text": "soup"}]}


class Table:
    """A player, its server and the pauses that it made."""

    def __init__(self, api: str) -> None:
        self.api = api
        self.server = Canned()
        server: Any = self.server
        self.desk = Desk(server, [TOOL])
        self.pauses: list[float] = []

    def play(self, service: Service) -> str:
        base = service.url + ("/v1" if self.api == "openai" else "")
        player = ModelPlayer(APIS[self.api], "scripted", base, KEY, "Be brief.", pause=self.pauses.append)
        self.player = player
        try:
            return player(TASK, self.desk)
        finally:
            player.close()


@pytest.fixture(params=sorted(APIS))
def table(request: pytest.FixtureRequest) -> Table:
    return Table(request.param)


def test_it_calls_what_the_model_calls_and_says_what_it_says(table: Table) -> None:
    with scripted(LOOK, Says("There is soup.")) as service:
        assert table.play(service) == "There is soup."
    assert table.server.calls == [{"name": "look", "arguments": {"deep": True}}]
    assert (table.player.spent.read, table.player.spent.written) == (200, 20)


def test_what_is_posted_is_the_prompt_the_instructions_the_tools_and_the_results(table: Table) -> None:
    with scripted(LOOK, Says("There is soup.")) as service:
        table.play(service)
    path, headers, body = service.seen[1]
    system = f"{SYSTEM}\n\nBe brief."
    if table.api == "openai":
        assert (path, headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
        asked, said, result = body["messages"][1:]
        assert body["messages"][0] == {"role": "system", "content": system}
        assert body["tools"][0]["function"] == {
            "name": "look",
            "description": "Look.",
            "parameters": TOOL["inputSchema"],
        }
        assert result == {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "soup"}
    else:
        assert (path, headers["x-api-key"], headers["anthropic-version"]) == ("/v1/messages", KEY, "2023-06-01")
        asked, said, result = body["messages"]
        assert body["system"] == system
        assert body["tools"] == [{"name": "look", "description": "Look.", "input_schema": TOOL["inputSchema"]}]
        [block] = result["content"]
        assert block == {
            "type": "tool_result",
            "tool_use_id": said["content"][1]["id"],
            "content": "soup",
            "is_error": False,
        }
    assert asked == {"role": "user", "content": TASK.prompt}
    assert "temperature" not in body


def test_several_calls_of_one_turn_are_answered_together(table: Table) -> None:
    with scripted(Says(calls=(("look", {}), ("look", {"deep": True}))), Says("Done.")) as service:
        assert table.play(service) == "Done."
    assert len(table.server.calls) == 2
    last = service.seen[1][2]["messages"][-2:]
    results = last if table.api == "openai" else last[1]["content"]
    assert len(results) == 2


@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_service_that_is_busy_is_asked_again(table: Table, status: int) -> None:
    with scripted(Fails(status), Fails(status), Says("There is soup.")) as service:
        assert table.play(service) == "There is soup."
    assert table.pauses == [1.0, 2.0]


def test_it_waits_as_long_as_the_service_says_up_to_a_limit(table: Table) -> None:
    with scripted(Fails(429, after="7"), Fails(429, after="86400"), Fails(503, after="soon"), Says("Soup.")) as service:
        assert table.play(service) == "Soup."
    assert table.pauses == [7.0, LONGEST_PAUSE, 4.0]


def test_a_connection_that_ends_is_tried_again(table: Table) -> None:
    with scripted(Fails(drop=True), Says("Soup.")) as service:
        assert table.play(service) == "Soup."


def test_a_service_that_stays_away_ends_the_task(table: Table) -> None:
    with scripted(*[Fails(500)] * TRIES) as service:
        assert table.play(service).startswith("(no answer: 500")
    assert len(service.seen) == TRIES


def test_a_refused_key_ends_the_task_at_once_and_is_not_repeated(table: Table) -> None:
    with scripted(Fails(401)) as service:
        said = table.play(service)
    assert said.startswith("(no answer: 401")
    assert KEY not in said
    assert "[key]" in said


@pytest.mark.parametrize("written", ['{"deep": tru', "[1]", '"look"'])
def test_arguments_that_are_no_object_are_told_to_the_model_and_count_as_a_call(table: Table, written: str) -> None:
    with scripted(Says(calls=(("look", written),)), LOOK, Says("There is soup.")) as service:
        assert table.play(service) == "There is soup."
    assert [each.error for each in table.desk.made] == [True, False]
    assert "no JSON object" in str(service.seen[1][2]["messages"][-1])
    assert len(table.server.calls) == 1


def test_a_tool_that_there_is_not_is_told_to_the_model(table: Table) -> None:
    with scripted(Says(calls=(("lok", {}),)), Says("I cannot.")) as service:
        assert table.play(service) == "I cannot."
    assert table.server.calls == []
    assert "There is no tool lok." in str(service.seen[1][2]["messages"][-1])


@pytest.mark.parametrize(
    ("api", "stop", "said"),
    [
        ("openai", "length", "(cut off) There is"),
        ("openai", "content_filter", "(refused) There is"),
        ("anthropic", "max_tokens", "(cut off) There is"),
        ("anthropic", "refusal", "(refused) There is"),
    ],
)
def test_a_turn_that_is_cut_off_or_refused_is_no_last_word(api: str, stop: str, said: str) -> None:
    with scripted(Says("There is", stop=stop)) as service:
        assert Table(api).play(service) == said


def test_a_turn_that_pauses_goes_on() -> None:
    with scripted(Says("Hm.", stop="pause_turn"), Says("Soup.")) as service:
        assert Table("anthropic").play(service) == "Soup."


def test_a_model_that_never_ends_is_stopped(table: Table) -> None:
    with scripted(*[LOOK] * TURNS) as service:
        assert table.play(service) == f"(not done after {TURNS} turns)"
    assert len(table.server.calls) == TURNS
