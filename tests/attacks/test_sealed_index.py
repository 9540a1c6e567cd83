"""What a hijacked agent can learn about a sealed chat from an index that was filled before it was sealed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import FAST, FRIEND, SEALED, SECRET, Hijacked, hijacked
from tests.attacks.test_heard import SEALING
from waha_mcp.sandbox import SandboxInfo

#: The state before the next pass over all chats: what may not be read any more is still in the index.
NOT_YET_DROPPED = (
    "import waha_mcp.history.index as index, waha_mcp.indexing as indexing\n"
    "index.Index.drop = lambda *_: 0\n"
    "indexing.PAUSE = 0.0\n"
)
VOICE = "audio/ogg; codecs=opus"


def filled(agent: Hijacked) -> None:
    """Wait until the index is complete."""
    agent.judge.await_(lambda: '"index":"complete' in agent.call("get_status")[1])


QUERIES: dict[str, dict[str, Any]] = {
    "by its words": {"query": "door code"},
    "with its neighbours": {"query": "door", "context": 5},
    "as the best": {"query": "code 7731", "order": "relevance"},
    "in a window of time": {"query": "after:2d", "limit": 100},
    "from the place of a cursor": {"query": "door", "limit": 1},
}


@pytest.mark.parametrize("how", QUERIES)
def test_what_the_index_still_holds_of_a_sealed_chat_is_not_found(
    how: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    more: dict[str, Any] = {}
    with hijacked(sandbox, tmp_path, f"index = true\n{FAST}", first=NOT_YET_DROPPED) as agent:
        for number in range(2):
            agent.judge.arrive(SEALED, f"{SECRET} {number}")
        agent.judge.arrive(FRIEND, "Which door?")
        filled(agent)
        found = json.loads(agent.call("search_messages", **QUERIES[how])[1])
        assert SECRET in str(found) or "cursor" in how
        if "cursor" in how:
            more = {"cursor": found["cursor"], "limit": 100}
    with hijacked(sandbox, tmp_path, f"index = true\n{SEALING}", first=NOT_YET_DROPPED) as agent:
        filled(agent)
        done, said = agent.call("search_messages", **QUERIES[how] | more)
        assert done
        assert "7731" not in said
        assert SEALED not in said


def test_a_transcript_of_a_sealed_chat_is_not_told_by_the_same_sound_elsewhere(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    script = tmp_path / "transcribe.py"
    script.write_text(f"print({SECRET!r})")
    command = json.dumps([sys.executable, str(script)])
    policy = f"index = true\ntranscriber = {{ command = {command} }}\n{FAST}"
    with hijacked(sandbox, tmp_path, policy, first=NOT_YET_DROPPED) as agent:
        voice = agent.judge.arrive(SEALED, "", mimetype=VOICE)
        filled(agent)
        assert SECRET in agent.call("get_media", message_id=voice)[1]
    with hijacked(sandbox, tmp_path, f"index = true\n{SEALING}", first=NOT_YET_DROPPED) as agent:
        elsewhere = agent.judge.arrive(FRIEND, "", mimetype=VOICE)
        filled(agent)
        done, said = agent.call("get_media", message_id=elsewhere)
        assert done
        assert SECRET not in said
