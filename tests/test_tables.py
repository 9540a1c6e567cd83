"""Generated sections of the docs."""

from __future__ import annotations

import pytest

from tests.tables import written

BEGIN, END = "<!-- a: generated -->", "<!-- a: end -->"


def test_the_section_is_put_between_its_marks_and_nothing_else_is_touched() -> None:
    page = written("# Reliability\n\nBefore.\n", "old", BEGIN, END)
    assert page == f"# Reliability\n\nBefore.\n\n{BEGIN}\n\nold\n\n{END}\n"
    assert written(f"{page}\nAfter.\n", "new", BEGIN, END) == f"{page}\nAfter.\n".replace("old", "new")
    assert written("", "new", BEGIN, END) == f"{BEGIN}\n\nnew\n\n{END}\n"
    with pytest.raises(SystemExit, match="without"):
        written(f"{BEGIN}\nold", "new", BEGIN, END)
