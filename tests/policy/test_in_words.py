"""What an App lets its agents do, as text."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import OCCASIONS
from waha_mcp.policy.in_words import asked_before


@pytest.mark.parametrize("occasion", OCCASIONS)
def test_every_occasion_for_a_question_has_words(occasion: str) -> None:
    [words] = asked_before(App.model_validate({"key": SecretStr("k"), "approval": occasion}))
    assert words
