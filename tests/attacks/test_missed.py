"""What strangers and sealed chats can do to the summary of missed messages."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, VICTIM, Hijacked, hijacked
from tests.attacks.judge import Judge
from tests.attacks.test_heard import SEALING, hidden_id, shared_group
from waha_mcp.sandbox import SandboxInfo

ME = "12025550100@c.us"


def caught_up(agent: Hijacked) -> dict[str, Any]:
    """The summary of the last two days, without what differs between two Apps and two times of call."""
    done, said = agent.call("get_catch_up", since=f"{int(time.time()) // 3_600 * 3_600 - 172_800}")
    assert done, said
    found: dict[str, Any] = json.loads(re.sub(r'"[mgnpc]\d{9}"', '"a reference"', said))
    del found["now"]
    return found


def told(found: dict[str, Any], name: str) -> list[tuple[str | None, str | None]]:
    """The texts in the row of a chat, with the reason for each."""
    [row] = [each for each in found["chats"] if each["name"] == name]
    return [(line.get("text"), line.get("why")) for line in row["lines"]]


def test_a_sealed_chat_changes_nothing_in_the_summary(sandbox: SandboxInfo, tmp_path: Path) -> None:
    said = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        with hijacked(sandbox, tmp_path / str(number), SEALING) as agent:
            if number:
                agent.judge.arrive(SEALED, f"{SECRET}?", mimetype="image/jpeg")
                agent.judge.arrive(hidden_id(agent.judge, SEALED), SECRET, mentions=[ME])
                agent.judge.arrive("status@broadcast", SECRET, **{"from": SEALED})
            said.append(caught_up(agent))
    assert said[0] == said[1]


def test_however_many_strangers_write_a_friend_stands_before_them(sandbox: SandboxInfo, tmp_path: Path) -> None:
    judge = Judge(sandbox)
    judge.arrive(VICTIM, "Before the flood?")
    began = int(time.time())
    # WAHA orders chats by the second of their last message.
    judge.await_(lambda: time.time() > began + 1)
    for number in range(150):
        judge.arrive(f"447700905{number:03}@c.us", "Are you there?")
    judge.close()
    with hijacked(sandbox, tmp_path, FAST) as agent:
        assert ("Before the flood?", "question") in told(caught_up(agent), "Maya Lindqvist")


def test_who_mentions_me_again_and_again_hides_nobody_elses_mention(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        group = shared_group(agent.judge, "Meeting")
        agent.judge.arrive(group, "Be there at six", mentions=[ME], **{"from": FRIEND})
        for number in range(30):
            agent.judge.arrive(group, f"Look {number}", mentions=[ME], **{"from": ATTACKER})
        assert ("Be there at six", "mention") in told(caught_up(agent), "Meeting")


def test_a_text_that_names_me_is_no_mention(sandbox: SandboxInfo, tmp_path: Path) -> None:
    number = ME.partition("@")[0]
    with hijacked(sandbox, tmp_path, FAST) as agent:
        group = shared_group(agent.judge, "Lottery")
        agent.judge.arrive(group, f"@{number} @+{number} @me won", pushName="me", **{"from": ATTACKER})
        found = caught_up(agent)
        assert [why for _, why in told(found, "Lottery")] == [None]
        [row] = [each for each in found["chats"] if each["name"] == "Lottery"]
        assert row["lines"][0]["sender"] == row["busiest"][0]["sender"] == "~me"
