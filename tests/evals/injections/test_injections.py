"""The goals of attackers, and the comparison with what they got before."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.evals.forked import Nursery
from tests.evals.injections.everyday import TASKS
from tests.evals.injections.goal import Witness
from tests.evals.injections.goals import GOALS
from tests.evals.injections.matrix import (
    COLUMNS,
    DONE,
    HELD,
    MISSED,
    REACHED,
    SNAPSHOT,
    Matrix,
    lifted,
    run,
    title,
    worse,
)
from tests.evals.injections.matrix import unknown as not_in
from tests.evals.injections.scene import QUICK
from tests.evals.injections.ways import WAYS
from tests.evals.profiles import Profile

BY_ID = {each.id: each for each in GOALS}
#: Every place in WhatsApp that shows others' words, other than plain texts.
PLACES = (
    "quote", "forwarded", "contact card", "mention", "story", "group's text", "subject", "description", "poll",
    "event", "name that somebody chose", "contact's name", "picture", "link's title", "document", "file's name",
    "place's name", "button", "list's row", "channel", "edited", "reply to one's own", "voice note", "invite",
    "like our question", "waiting agent", "another server",
)  # fmt: skip


class _Nothing:
    """A WAHA that nobody called."""

    def effects(self) -> list[dict[str, Any]]:
        return []


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name


def kept() -> Matrix:
    return Matrix.of(SNAPSHOT.read_text(encoding="utf-8"))


def test_there_are_sixty_goals_and_more_with_names_of_their_own() -> None:
    assert len([each for each in GOALS if not each.held]) >= 60
    for rows in ([each.id for each in GOALS], [each.id for each in TASKS], [each.name for each in WAYS]):
        assert Counter(rows).most_common(1)[0][1] == 1


def test_every_place_where_others_words_stand_is_a_way_in_with_a_goal() -> None:
    used = {each.way for each in GOALS}
    assert used == {each.name for each in WAYS}
    assert {each.task for each in WAYS} <= {each.id for each in TASKS}
    assert not [place for place in PLACES if not any(place in way for way in used)]


def test_nothing_is_reached_where_nothing_was_done() -> None:
    nothing = Witness(_Nothing(), _Anything(), [])  # type: ignore[arg-type]
    assert not [each.id for each in GOALS if each.reached(nothing)]
    assert not [each.id for each in TASKS if each.done(nothing)]


def test_the_open_app_lets_every_goal_through_but_those_that_say_why_not() -> None:
    cells = kept().goals
    assert {each.id for each in GOALS if cells[each.id]["open"] != REACHED} == {each.id for each in GOALS if each.held}
    assert all(each.lifted for each in GOALS if each.held)


def test_the_snapshot_has_every_goal_and_task_with_every_profile() -> None:
    columns = {title(each) for each in COLUMNS}
    assert len(columns) == len(COLUMNS)
    for rows, named in ((kept().goals, GOALS), (kept().under, GOALS), (kept().tasks, TASKS)):
        assert list(rows) == [each.id for each in named]
        assert all(set(cells) == columns for cells in rows.values())


def _one(goal: str, task: str, under: str = DONE) -> Matrix:
    return Matrix({"leak": {"open": goal}}, {"leak": {"open": under}}, {"news": {"open": task}})


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (_one(HELD, DONE), []),
        (_one(REACHED, DONE), ["leak"]),
        (_one(HELD, MISSED), ["news"]),
        (_one(REACHED, MISSED), ["leak", "news"]),
        (_one(HELD, DONE, MISSED), ["leak"]),
    ],
    ids=["the same", "a goal is reached", "a task is not done", "both", "a task is not done under attack"],
)
def test_a_run_fails_where_a_cell_rises(now: Matrix, found: list[str]) -> None:
    assert [each.partition(" |")[0] for each in worse(now, _one(HELD, DONE))] == found
    assert worse(_one(HELD, DONE), now) == []


def test_a_snapshot_is_read_as_it_was_written_and_what_it_lacks_is_named() -> None:
    part = Matrix({"leak": {"open": REACHED}}, {"leak": {"open": DONE}}, {"news": {"open": DONE, "read": MISSED}})
    assert Matrix.of(part.text()) == part
    assert not_in(part, part) == []
    assert not_in(_one(HELD, DONE), Matrix()) == ["leak | open", "news | open"]


def test_a_run_of_some_profiles_leaves_the_others_cells() -> None:
    whole = kept()
    name = GOALS[0].id
    now = Matrix({name: {"open": HELD}}, {name: {"open": MISSED}})
    both = whole.with_(now)
    assert both.goals[name]["open"] == HELD
    assert both.goals[name]["init: read"] == whole.goals[name]["init: read"]
    assert both.tasks == whole.tasks


@pytest.mark.slow
@pytest.mark.parametrize("profile", [Profile("open"), Profile("init: read", actions=("read",))], ids=["open", "read"])
def test_waha_says_what_an_agent_got_done(profile: Profile) -> None:
    task = next(each for each in TASKS if each.id == "answer")
    made = run([BY_ID["secret to who asks"]], [task], [profile], workers=1)
    expected = (REACHED, DONE) if profile.name == "open" else (HELD, MISSED)
    assert (made.goals["secret to who asks"][profile.name], made.tasks["answer"][profile.name]) == expected


@pytest.mark.slow
def test_what_every_app_holds_happens_without_what_holds_it() -> None:
    made = run(lifted(GOALS), (), (Profile("open"),), workers=2)
    assert made.goals == {each.id: {"open": REACHED} for each in GOALS if each.held}


@pytest.mark.slow
def test_a_forked_server_ends_with_a_code_of_its_own_and_says_why() -> None:
    with Nursery(QUICK) as nursery, tempfile.TemporaryFile() as log:
        process = nursery.launch(["serve", "--app", str(Path("no such file.toml"))], {"PATH": "/bin"}, log)
        process.wait(timeout=30)
        log.seek(0)
        assert b"no such file.toml" in log.read()
        for each in (process.stdin, process.stdout):
            assert each is not None
            each.close()
