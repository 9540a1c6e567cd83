"""In a real host, a model that asks a person and waits goes on with what the person has answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts_real.asking import SHORT, asked, flaws
from tests.hosts_real.hosts import CLAUDE_CODE, CODEX, GEMINI_CLI, Host
from tests.hosts_real.packages import NotInstalled


@pytest.mark.parametrize("host", [CLAUDE_CODE, CODEX, GEMINI_CLI], ids=lambda host: host.name)
def test_a_model_that_asks_and_waits_passes_on_what_the_answer_says(host: Host, tmp_path: Path) -> None:
    try:
        found = asked(host, tmp_path, SHORT)
    except NotInstalled as error:
        pytest.skip(f"{host.title} could not be installed: {error}")
    assert flaws(host, found) == []
    # It really waited: there was no answer yet.
    assert min(question.waited or 0 for question in found.questions) >= SHORT
