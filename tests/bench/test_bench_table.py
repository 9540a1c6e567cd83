"""How the bench reports its figures: tables, ratios, and whether aims are met. Nothing is timed here."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import pytest

from tests.bench.__main__ import skipped
from tests.bench.calls import burst_verdict
from tests.bench.scale import Seen, flat, median, mixed, verdict
from tests.bench.servers import BARE_NAME
from tests.bench.start import AWAY, COMPILING, FIRST, PREPARED
from tests.bench.start import verdict as start_verdict
from tests.bench.table import Row, Section, added, page, times
from tests.bench.tokens import Peer
from tests.bench.weight import MB, closure
from tests.bench.weight import verdict as memory_verdict

SECTION = Section(
    "Start",
    ["Milliseconds."],
    [
        Row("first", {"listing": "90 ms", "beside": "0.90x"}, 3, "<= 1.0x", True),
        Row("prepared", {"listing": "20 ms", "beside": "0.20x"}, 3, "<= 0.15x", False),
        Row("a peer", {"listing": "30 ms", "to a call": "40 ms"}, 3),
    ],
)
PEER = Peer("a peer", "none", {})


def test_rows_stand_under_each_other_and_a_missed_aim_is_marked() -> None:
    assert SECTION.text().splitlines() == [
        "== Start",
        "Milliseconds.",
        "          listing  beside  to a call  n  aim",
        "first       90 ms   0.90x          –  3  <= 1.0x       ok",
        "prepared    20 ms   0.20x          –  3  <= 0.15x  MISSED",
        "a peer      30 ms       –      40 ms  3",
    ]


def test_a_page_has_the_machine_and_each_section_as_a_table() -> None:
    text = page([SECTION], "2 cores, Python 3.11.7, Linux x86_64; commit 1234567")
    assert "# Performance\n" in text
    assert "\n2 cores, Python 3.11.7, Linux x86_64; commit 1234567.\n" in text
    assert text.endswith(
        "## Start\n\nMilliseconds.\n\n"
        "| | listing | beside | to a call | n | aim | |\n|---|---|---|---|---|---|---|\n"
        "| first | 90 ms | 0.90x | – | 3 | <= 1.0x | ok |\n"
        "| prepared | 20 ms | 0.20x | – | 3 | <= 0.15x | MISSED |\n"
        "| a peer | 30 ms | – | 40 ms | 3 | | |\n"
    )


def test_figures_stand_beside_others_as_ratios_and_differences() -> None:
    assert (times(15, 100), times(3, 2)) == ("0.15x", "1.50x")
    assert (added(5.04, 2.5), added(2, 2.5)) == ("+2.5 ms", "-0.5 ms")


@pytest.mark.parametrize(
    ("name", "listings", "met"),
    [
        (FIRST, {FIRST: 1000}, True),
        (FIRST, {FIRST: 1001}, False),
        (AWAY, {AWAY: 1001}, False),
        (COMPILING, {COMPILING: 9000}, None),
        (PREPARED, {PREPARED: 150}, True),
        (PREPARED, {PREPARED: 151}, False),
        (PREPARED, {PREPARED: 140, "one": 200, "two": 141}, True),
        (PREPARED, {PREPARED: 140, "one": 200, "two": 139}, False),
    ],
)
def test_a_start_is_held_against_the_bare_server_and_a_prepared_one_against_peers(
    name: str, listings: Mapping[str, float], met: bool | None
) -> None:
    peers = [each for each in ("one", "two") if each in listings]
    aim, found = start_verdict(name, {BARE_NAME: 1000} | dict(listings), peers)
    assert found is met
    assert ("peers" in aim) is bool(peers)


@pytest.mark.parametrize(
    ("ours", "peers", "met"), [(130, [], True), (131, [], False), (130, [90, 65], True), (130, [90, 64], False)]
)
def test_a_burst_is_held_against_direct_rest_and_the_faster_peer(ours: float, peers: list[float], met: bool) -> None:
    aim, found = burst_verdict(ours, 100, peers)
    assert found is met
    assert ("peer" in aim) is bool(peers)


def test_memory_is_held_against_the_bare_server() -> None:
    assert memory_verdict(75.5 * MB, 67.5 * MB) == ("<= bare + 8 MB (+8.0)", True)
    assert memory_verdict(75.6 * MB, 67.5 * MB) == ("<= bare + 8 MB (+8.1)", False)


def test_a_name_is_found_within_a_time_and_messages_at_any_size_as_quickly() -> None:
    assert verdict("find_chats", 1, 49.9)[1] is True
    assert verdict("find_chats", 1, 50)[1] is False
    assert verdict("get_messages", 10, 15)[1] is True
    assert verdict("get_messages", 10, 15.1)[1] is False
    assert verdict("list_groups", 1, 1000) == ("", None)


def test_calls_are_flat_where_neither_time_nor_memory_grows_after_the_first_thousand() -> None:
    even = [(9.0, 100 * MB), (10.0, 101 * MB), (12.0, 102 * MB)]
    assert flat(even) == ("<= 1.2x, +2 MB (1.20x, +2.0 MB)", True)
    assert flat([*even[:2], (12.1, 102 * MB)])[1] is False
    assert flat([*even[:2], (12.0, 103 * MB)])[1] is False
    assert flat(even[:2]) == ("", None)


def test_each_figure_of_a_call_has_its_own_median() -> None:
    seen = [Seen(1, 2000, 30), Seen(3, 1000, 10), Seen(2, 3000, 20)]
    assert median(seen) == Seen(2, 2000, 20)
    assert str(median(seen)) == "2 · 2 kB · 20 ms"


def test_mixed_calls_are_the_same_each_time() -> None:
    chats = [f"1202555{number:04d}@c.us" for number in range(9)]
    once, again = (list(islice(mixed(chats), 500)) for _ in range(2))
    assert once == again
    assert {call["name"] for call in once} >= {"get_messages", "list_chats", "send_text"}


def test_what_is_installed_includes_what_that_requires_and_names_what_is_not_there() -> None:
    found, missing = closure(["mcp>=2", "no-such-distribution", 'never-here; python_version < "3"'])
    assert {"mcp", "anyio", "pydantic-core"} <= found.keys()
    assert missing == ["no-such-distribution"]


def test_a_peer_that_is_not_measured_has_a_line() -> None:
    assert list(skipped({}, {})) == ["SKIPPED: other servers, of which none is given; see --peer."]
    assert list(skipped({"a peer": PEER}, {"a peer": "no such file"})) == [
        "SKIPPED: a peer does not start: no such file."
    ]
    assert list(skipped({"a peer": PEER}, {})) == []
