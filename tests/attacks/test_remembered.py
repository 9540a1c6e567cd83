"""The local index: attempts of others to put words into it, to get words out of it, or to attribute words to others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, Hijacked, hijacked
from waha_mcp.history.index import Index
from waha_mcp.history.records import Record, Sieve
from waha_mcp.sandbox import SandboxInfo

MUM, DAD, FAMILY = "12025550102@c.us", "12025550101@c.us", "120363079422555556@g.us"
#: One chat may not be read; all others are indexed.
KEEPING = f'index = true\n[chats]\nread = {{ deny = ["{SEALED}"] }}\n' + FAST
#: No pauses between the steps of filling.
AT_ONCE = "from waha_mcp import bridge, indexing\nbridge.LISTING_FIRST = indexing.PAUSE = 0.0\n"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def keeper(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent whose App keeps an index, once the index is complete."""
    with hijacked(sandbox, tmp_path_factory.mktemp("keeper"), KEEPING, first=AT_ONCE) as agent:
        agent.judge.arrive(SEALED, SECRET)
        after_what_came(agent)
        yield agent


def kept(agent: Hijacked, *words: str) -> list[Record]:
    """The messages in the file that contain all of these folded words."""
    found = []
    for path in (agent.state / "waha-mcp").glob("*/index-*.sqlite"):
        with closing(Index(path)) as index:
            sieve = Sieve(words=tuple((word,) for word in words))
            found += [each.record for each in index.search(sieve, most=100_000) if index.doubtful() is None]
    return found


def after_what_came(agent: Hijacked) -> None:
    """Wait until everything that arrived before is in the file."""
    marker = f"after that {next(_numbers)}"
    agent.judge.arrive(FRIEND, marker)
    agent.judge.await_(lambda: marker in [each.text for each in kept(agent)])


def test_nothing_of_a_sealed_chat_is_in_the_file(keeper: Hijacked) -> None:
    keeper.judge.arrive(SEALED, SECRET)
    keeper.call("get_messages", chat=SEALED)
    after_what_came(keeper)
    assert SEALED not in {each.chat for each in kept(keeper)}
    files = [path.read_bytes() for path in (keeper.state / "waha-mcp").glob("*/index-*")]
    assert any(b"after that" in data for data in files)
    assert not any(SECRET.encode() in data for data in files)


@pytest.mark.parametrize(
    ("to", "by", "attack"),
    [(FAMILY, {"from": MUM}, (FAMILY, {"from": DAD})), (FRIEND, {}, (ATTACKER, {}))],
    ids=["in the same group", "in another chat"],
)
def test_a_message_with_anothers_id_puts_no_words_into_their_mouth(
    to: str, by: dict[str, str], attack: tuple[str, dict[str, str]], sandbox: SandboxInfo, tmp_path: Path
) -> None:
    bare, promise, forged = f"3EB0FEED{next(_numbers):04}", "I will not sell", "I sell it all"

    def of_id(agent: Hijacked) -> list[Record]:
        return [each for each in kept(agent) if each.key.id == bare]

    with hijacked(sandbox, tmp_path, KEEPING, first=AT_ONCE) as agent:
        agent.judge.arrive(to, promise, id=bare, **by)
        after_what_came(agent)
        [before] = of_id(agent)
        # Not while it receives events: a message with an id that was received before is dropped.
        agent.kill()
        chat, other = attack
        agent.judge.arrive(chat, forged, id=bare, **other)
    with hijacked(sandbox, tmp_path, KEEPING, first=AT_ONCE) as agent:
        after_what_came(agent)
        agent.judge.await_(lambda: len(of_id(agent)) == 2)
        assert before in of_id(agent)
        assert [each.sender == before.sender for each in of_id(agent) if each.text == forged] == [False]


def test_a_deletion_by_somebody_else_is_only_believed_where_waha_has_it_so(keeper: Hijacked) -> None:
    one = keeper.judge.arrive(FAMILY, "the proof of it", **{"from": MUM})
    after_what_came(keeper)
    [before] = [each for each in kept(keeper) if each.text == "the proof of it"]
    path = f"/api/default/chats/{FAMILY}/messages/{one}"
    keeper.judge.fault(
        path, count=9, status=200, body=json.dumps(keeper.judge.get(path)), content_type="application/json"
    )
    keeper.judge.ask("POST", "/sandbox/events", {"kind": "revoked", "messageId": one, "from": ATTACKER})
    after_what_came(keeper)
    keeper.judge.no_faults()
    assert [each for each in kept(keeper) if each.text == "the proof of it"] == [before]


def test_what_is_to_be_seen_once_is_not_in_the_file(keeper: Hijacked) -> None:
    keeper.judge.arrive(FRIEND, "only for your eyes", mimetype="image/jpeg", raw={"isViewOnce": True})
    after_what_came(keeper)
    assert "only for your eyes" not in [each.text for each in kept(keeper)]


@pytest.mark.parametrize("before", ["half of a pair \ud83c", "a zero \0"], ids=ascii)
def test_no_letter_hides_what_stands_behind_it(before: str, keeper: Hijacked) -> None:
    number = next(_numbers)
    keeper.judge.arrive(ATTACKER, f"{before} kestrel{number}")
    after_what_came(keeper)
    assert len(kept(keeper, f"kestrel{number}")) == 1


@pytest.mark.parametrize("word", ['"', 'ten" of', '" or "', '"" near(', "a*", "^a", "folded: a", "-a"])
def test_syntax_in_a_word_means_nothing(word: str, keeper: Hijacked) -> None:
    number = next(_numbers)
    keeper.judge.arrive(FRIEND, f"{number} begins {word} ends")
    after_what_came(keeper)
    assert [each.text for each in kept(keeper, f"{number} begins {word} ends")] == [f"{number} begins {word} ends"]
    assert kept(keeper, f"{number} begins {word} never") == []
