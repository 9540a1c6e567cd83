"""Every attack is proved by a defence without which it succeeds; `python -m tests.attacks` runs the proof."""

from __future__ import annotations

from pathlib import Path

import pytest

import waha_mcp
from tests.attacks.defences import SAMPLE, WITHOUT, Defence, holds, short
from tests.attacks.table import DEFENCES

ROOT = Path(waha_mcp.__file__).parent


def test_every_case_has_a_defence(request: pytest.FixtureRequest) -> None:
    cases = [short(item.nodeid) for item in request.session.items if "tests/attacks/" in item.nodeid]
    patterns = [*WITHOUT, *(each for defence in DEFENCES for each in defence.cases)]
    assert [case for case in cases if not any(holds(pattern, case) for pattern in patterns)] == []


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_what_switches_a_defence_off_is_in_the_code_once(defence: Defence) -> None:
    for file, old, new in defence.off:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert source.count(old) == 1
        compile(source.replace(old, new), file, "exec")


def test_the_sample_is_of_the_table() -> None:
    assert set(SAMPLE) <= {defence.name for defence in DEFENCES}
