"""The contents of `pytest -m quick`, and that it starts no processes."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest

from tests import quick
from tests.conftest import COLLECTED


def helper() -> None:
    partial(subprocess.run, [sys.executable, "-c", ""])


class Holder:
    def method(self) -> None:
        helper()


def by_a_helper() -> None:
    helper()


def inside_another_function() -> None:
    def inner() -> None:
        Holder()

    inner()


def by_nothing() -> None:
    assert pytest


@pytest.mark.parametrize(
    ("function", "starts"), [(helper, True), (by_a_helper, True), (inside_another_function, True), (by_nothing, False)]
)
def test_a_process_is_found_behind_helpers_classes_and_inner_functions(function: object, starts: bool) -> None:
    assert quick.starts_process(function) is starts


def test_this_is_quick(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("quick")


def test_a_quick_test_that_starts_a_process_after_all_fails() -> None:
    # By a name that the search for process starts does not know.
    run = vars(sys.modules["subprocess"])["run"]
    with pytest.raises(RuntimeError, match="test_a_quick_test_that_starts_a_process_after_all_fails counts as quick"):
        run([sys.executable, "-c", ""], check=True)


def test_most_tests_are_quick_and_so_is_something_of_every_folder(request: pytest.FixtureRequest) -> None:
    found = request.config.stash[COLLECTED]
    if len({test.partition("::")[0] for test in found}) < 40:
        pytest.skip("not the whole suite")
    assert sum(found.values()) > 0.75 * len(found)
    folders: dict[str, bool] = {}
    for test, chosen in found.items():
        folder = test.partition("::")[0].rpartition("/")[0]
        folders[folder] = folders.get(folder, False) or chosen
    assert [folder for folder, chosen in folders.items() if not chosen] == []


@pytest.mark.parametrize("number", range(20))
def test_of_many_cases_a_few_are_quick_the_first_and_the_last_among_them(
    number: int, request: pytest.FixtureRequest
) -> None:
    quick_one = request.node.get_closest_marker("quick") is not None
    if number in (0, 19):
        assert quick_one
    alike = [each for each in request.session.items if each.name.startswith("test_of_many_cases_a_few")]
    assert sum(each.get_closest_marker("quick") is not None for each in alike) == min(len(alike), quick.CASES)
