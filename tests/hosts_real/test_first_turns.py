"""With an opening that was kept on a start before, a model has the tools in its first turn; every host opens alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts_real.first_turns import CONDITIONS, EAGER, STARTED, flaws, started
from tests.hosts_real.packages import NotInstalled


@pytest.mark.parametrize("name", STARTED)
def test_a_later_start_is_answered_from_the_prepared_opening_and_has_the_tools_in_its_first_turn(
    name: str, tmp_path: Path
) -> None:
    host = STARTED[name]
    try:
        # Without a prepared opening the result is only measured, for the page.
        starts = started(host, tmp_path, 3 if host in EAGER else 1, CONDITIONS[:1])
    except NotInstalled as error:
        pytest.skip(f"{host.title} could not be installed: {error}")
    assert flaws(host, starts) == []
