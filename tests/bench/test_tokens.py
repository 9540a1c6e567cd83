"""The token gate: what answers and listings cost a model, held by the table in docs/tokens.md."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.bench.tokens import ALLOWED, BEGIN, END, above, committed, measured, section
from tests.tables import DOCS, written


@pytest.fixture(scope="module")
def counted() -> Mapping[str, int]:
    return measured()


@pytest.fixture(scope="module")
def table() -> Mapping[str, int]:
    return committed((DOCS / "tokens.md").read_text(encoding="utf-8"))


def test_nothing_costs_a_model_more_than_three_percent_above_the_table(
    counted: Mapping[str, int], table: Mapping[str, int]
) -> None:
    assert above(counted, table) == []
    assert counted.keys() == table.keys(), "the table has rows that are not counted any more"


def test_the_gate_names_each_row_that_has_grown(counted: Mapping[str, int]) -> None:
    doctored = dict(counted) | {"get_unread": int(counted["get_unread"] / ALLOWED)}
    del doctored["list_groups"]
    assert above(counted, doctored) == [
        f"get_unread: {counted['get_unread']:,}, and {doctored['get_unread']:,} in the table",
        "list_groups: not in the table",
    ]


def test_up_to_three_percent_more_is_let_pass() -> None:
    assert above({"a": 103}, {"a": 100}) == []
    assert above({"a": 104}, {"a": 100}) == ["a: 104, and 100 in the table"]


def test_what_is_written_into_the_page_is_what_the_gate_reads() -> None:
    rows = {"get_messages, 20": 1_801, "a row without an aim": 7}
    assert committed(written("# Tokens\n", section(rows), BEGIN, END)) == rows
