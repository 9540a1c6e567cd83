"""Real hosts on a scripted model: `init`, `install`, and a day of an agent, as the host's model sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts_real.hosts import HOSTS
from tests.hosts_real.lines import LINES
from tests.hosts_real.packages import NotInstalled
from tests.hosts_real.world import desk


@pytest.mark.parametrize("name", HOSTS)
def test_every_line_holds_but_the_hosts_own_limits_and_these_are_still_there(name: str, tmp_path: Path) -> None:
    host = HOSTS[name]
    try:
        with desk(host, tmp_path) as made:
            day = made.day()
    except NotInstalled as error:
        pytest.skip(f"{host.title} could not be installed: {error}")
    failed: dict[str, str] = {}
    for line, (_, check) in LINES.items():
        try:
            check(day)
        except AssertionError as error:
            failed[line] = str(error)
    assert failed.keys() == host.limits.keys(), {line: failed.get(line) for line in failed.keys() ^ host.limits.keys()}
