"""What is found in texts of each script, as people type it; the same cases are shown in docs/search.md."""

from __future__ import annotations

from datetime import UTC

import pytest

from tests.history.recall import BEGIN, CASES, END, PAGE, table
from tests.tables import DOCS, written
from waha_mcp.history.matching import Sought
from waha_mcp.history.query import parse
from waha_mcp.history.records import record_from
from waha_mcp.waha.messages import NOBODY
from waha_mcp.whatsapp.folding import fold_text

SAM = "12025550123@c.us"
FOUND = [(case.script, case.text, query) for case in CASES for query in case.found]
NOT_FOUND = [(case.script, case.text, query) for case in CASES for query in case.not_found]


def line(text: str, query: str) -> str | None:
    row = {"id": f"false_{SAM}_A1", "timestamp": 1_790_000_000, "from": SAM, "fromMe": False, "body": text}
    record = record_from(row)
    assert record is not None
    match = Sought(parse(query, UTC)).match(record, NOBODY)
    return None if match is None else match.line


@pytest.mark.parametrize(("script", "text", "query"), FOUND)
def test_a_text_is_found_as_people_type_it(script: str, text: str, query: str) -> None:
    assert line(text, query) == text


@pytest.mark.parametrize(("script", "text", "query"), FOUND)
def test_an_index_of_folded_texts_finds_it_too(script: str, text: str, query: str) -> None:
    folded = fold_text(text)
    for alternatives in Sought(parse(query, UTC)).sieve(lambda chat: (chat,)).words:
        assert any(each in folded for each in alternatives)


@pytest.mark.parametrize(("script", "text", "query"), NOT_FOUND)
def test_another_word_does_not_find_it(script: str, text: str, query: str) -> None:
    assert line(text, query) is None


def test_the_table_in_the_docs_is_that_of_these_cases() -> None:
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    assert written(page, table(), BEGIN, END) == page
