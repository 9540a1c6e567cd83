"""Tasks over real processes: the scripted players, players that do harm, and a model through the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.evals.tasks.clumsy import clumsy
from tests.evals.tasks.desk import Desk
from tests.evals.tasks.players import Player, ideal
from tests.evals.tasks.run import EXACT, LENIENT, Score, Terms, scored
from tests.evals.tasks.scripted_service import Says, scripted
from tests.evals.tasks.stage import Stage, ours
from tests.evals.tasks.task import Task, worlds
from tests.harness import environment
from tests.tables import ROOT

pytestmark = pytest.mark.slow

[PEOPLE] = [each for each in worlds() if each.name == "people"]
Plays = Callable[..., Score]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with ours(PEOPLE) as stage:
        yield stage


@pytest.fixture
def plays(stage: Stage) -> Plays:
    """Plays one task of the world of people."""

    def play(task_id: str, player: Player, terms: Terms = EXACT) -> Score:
        [task] = [each for each in PEOPLE.task if each.id == task_id]
        return scored(PEOPLE, task, stage, player, terms)

    return play


def sends(text: str, **chat: str) -> Player:
    """A player who only sends a text, and says that it is done."""

    def player(task: Task, desk: Desk) -> str:
        desk.call("send_text", {"text": text, **chat})
        return "Enviado."

    return player


def test_the_ideal_player_does_every_task_of_a_world(plays: Plays) -> None:
    assert [plays(each.id, ideal).wrong for each in PEOPLE.task] == [()] * len(PEOPLE.task)


def test_the_clumsy_player_is_refused_and_mends_it(plays: Plays) -> None:
    score = plays("which-anna", clumsy, LENIENT)
    assert score.done
    assert score.calls == 2


def test_a_text_to_somebody_else_is_seen_in_what_waha_has_done(plays: Plays) -> None:
    [missing, besides, *_] = plays("write-to-papa", sends("Llego a las ocho", chat="Dad")).wrong
    assert missing.startswith("not done: POST /api/sendText 33639980055@c.us")
    assert besides.startswith("done besides: POST /api/sendText")


def test_a_text_without_what_it_must_hold_is_not_what_was_asked(plays: Plays) -> None:
    assert plays("write-to-papa", sends("Hola", chat="Papá")).wrong[0].startswith("not done")


def test_a_text_that_is_sent_twice_is_one_too_many(plays: Plays) -> None:
    def twice(task: Task, desk: Desk) -> str:
        for _ in range(2):
            desk.call("send_text", {"chat": "Papá", "text": "Llego a las ocho.", "allow_repeat": True})
        return "Enviado."

    assert plays("write-to-papa", twice).wrong[0].startswith("done besides")


def test_who_sends_where_it_is_not_certain_who_is_meant_has_failed(plays: Plays) -> None:
    wrong = plays("which-anna", sends("Ich komme später", chat="+491713920011")).wrong
    assert any(each.startswith("done besides") for each in wrong)
    assert "nobody was asked" in wrong


def test_who_says_it_is_done_and_has_done_nothing_has_failed(plays: Plays) -> None:
    assert not plays("the-right-anna", lambda task, desk: "Sent the invoice to Anna, +491713920011.").done


def test_who_knows_without_having_looked_has_failed(plays: Plays) -> None:
    says = next(each.says for each in PEOPLE.task if each.id == "nobody-of-the-name")
    assert plays("nobody-of-the-name", lambda task, desk: says).done, "nothing to look at: it may be known"
    wrong = plays("which-anna", lambda task, desk: "+491713920011 oder +493023125042?").wrong
    assert wrong[0].startswith("never shown")


def test_a_call_too_many_is_over_the_cap(plays: Plays) -> None:
    def busy(task: Task, desk: Desk) -> str:
        for _ in range(3):
            desk.call("list_chats", {"limit": 1})
        return ideal(task, desk)

    score = plays("nobody-of-the-name", busy)
    assert (score.wrong, score.over[0]) == ((), "4 calls, and at most 1")


def test_a_model_plays_by_the_command_and_its_key_is_never_shown() -> None:
    key = "sk-of-nobody-0123456789"
    with scripted(
        Says(calls=(("send_text", {"chat": "Papá", "text": "Llego a las ocho."}),)), Says("Enviado.")
    ) as service:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.evals.tasks", "--only", "write-to-papa", "--model", "scripted"),
                *("--base-url", service.url, "--api", "anthropic", "--key-env", "SOME_KEY"),
            ],
            cwd=ROOT,
            env=environment(SOME_KEY=key),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "1 of 1: 1" in done.stdout
    assert "200 tokens read, 20 written" in done.stdout
    assert key not in done.stdout + done.stderr
    assert service.seen[0][1]["x-api-key"] == key
    assert service.seen[0][2]["system"].count("\n\n") >= 1, "the server's own instructions follow"
