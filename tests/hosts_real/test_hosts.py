"""Real hosts on a scripted model: `init`, `install`, and a day of an agent, as the host's model sees it.

A line that stands in a host's `limits` must fail there: once it passes, the limit goes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hosts_real.hosts import HOSTS, Host
from tests.hosts_real.lines import LINES
from tests.hosts_real.packages import NotInstalled
from tests.hosts_real.world import Day, desk

_days: dict[str, Day | str] = {}


def cases() -> list[object]:
    return [
        pytest.param(host, name, id=f"{host.name}-{name}", marks=pytest.mark.xdist_group(host.name))
        for host in HOSTS.values()
        for name in LINES
    ]


@pytest.fixture(scope="session")
def day_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Host], Day]:
    """The day of a host, which is lived once in a test process."""

    def lived(host: Host) -> Day:
        if host.name not in _days:
            try:
                with desk(host, tmp_path_factory.mktemp(host.name)) as made:
                    _days[host.name] = made.day()
            except NotInstalled as error:
                _days[host.name] = f"{host.title} could not be installed: {error}"
        day = _days[host.name]
        if isinstance(day, str):
            pytest.skip(day)
        return day

    return lived


@pytest.mark.parametrize(("host", "name"), cases())
def test_a_day_of_an_agent(host: Host, name: str, day_of: Callable[[Host], Day]) -> None:
    _, check = LINES[name]
    day = day_of(host)
    if name in host.limits:
        with pytest.raises(AssertionError):
            check(day)
    else:
        check(day)
