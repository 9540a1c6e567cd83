"""Real clients do everything in the table, and fail only where it names their own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients_real.clients import CLIENTS, Client
from tests.clients_real.driven import driven, place
from tests.clients_real.environments import NotInstalled
from tests.clients_real.scenario import LINES, outcomes
from tests.tables import DOCS


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_a_client_does_every_line_but_its_own_limits(client: Client, tmp_path: Path) -> None:
    try:
        with driven(client, tmp_path) as process:
            found = outcomes(process)
    except NotInstalled as why:
        pytest.skip(f"NOT INSTALLED: {client.title}: {why}")
    limits = {line: limit.outcome for line, limit in client.limits.items()}
    assert found == dict.fromkeys(LINES, "") | limits
    for limit in client.limits.values():
        assert place(client, limit)


def test_the_page_has_a_row_for_each_client() -> None:
    rows = [line for line in (DOCS / "clients.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[1:]] == [client.title for client in CLIENTS]
