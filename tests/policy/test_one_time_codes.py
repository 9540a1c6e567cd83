"""One-time codes: what they open, how often, and how many attempts are allowed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.memory_store import Memory
from waha_mcp.policy import one_time_codes
from waha_mcp.policy.one_time_codes import issue, redeem
from waha_mcp.store import Full, Store
from waha_mcp.store.sqlite import Sqlite

ONE, OTHER = "192.0.2.1", "192.0.2.2"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of either kind."""
    with closing(Memory() if request.param == "memory" else Sqlite(tmp_path / "store.sqlite")) as opened:
        yield opened


def test_a_code_opens_its_app_once(store: Store) -> None:
    code = issue(store, "oauth", "assistant")
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", code)
    assert redeem(store, "oauth", code, ONE) == "assistant"
    assert redeem(store, "oauth", code, ONE) is None


SPELLINGS: dict[str, Callable[[str], str]] = {
    "small letters": str.lower,
    "without dashes": lambda code: code.replace("-", ""),
    "with blanks": lambda code: f" {code.replace('-', ' - ')}\t\n",
    "zero as a letter": lambda code: code.replace("0", "O"),
    "one as a letter": lambda code: code.replace("1", "l"),
    "one as another letter": lambda code: code.replace("1", "I"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_code_may_be_typed_as_it_was_heard(case: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = iter("01" * 6)
    monkeypatch.setattr("secrets.choice", lambda alphabet: next(digits))
    code = issue(store, "oauth", "assistant")
    assert code == "0101-0101-0101"
    assert redeem(store, "oauth", SPELLINGS[case](code), ONE) == "assistant"


@pytest.mark.parametrize("text", ["", "-", "\x00", "é" * 12, "\ud800", "x" * 10_000, "0000-0000-0000"])
def test_what_is_no_code_opens_nothing(text: str, store: Store) -> None:
    issue(store, "oauth", "assistant")
    assert redeem(store, "oauth", text, ONE) is None


def test_a_code_is_for_one_purpose(store: Store) -> None:
    code = issue(store, "console", "assistant")
    assert redeem(store, "oauth", code, ONE) is None
    assert redeem(store, "console", code, ONE) == "assistant"


def test_codes_of_several_apps_stand_side_by_side_and_a_new_one_takes_the_last_ones_place(store: Store) -> None:
    old, other, new = (issue(store, "oauth", app) for app in ("one", "two", "one"))
    assert redeem(store, "oauth", old, ONE) is None
    assert redeem(store, "oauth", other, ONE) == "two"
    assert redeem(store, "oauth", new, ONE) == "one"


def test_a_code_expires(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_time_codes, "LIFETIME", -1.0)
    assert redeem(store, "oauth", issue(store, "oauth", "assistant"), ONE) is None


def test_the_store_does_not_have_the_code(store: Store) -> None:
    code = issue(store, "oauth", "assistant")
    [row] = store.rows("one_time_code")
    assert code not in row.value
    assert code.replace("-", "") not in row.value


def test_tries_are_limited_for_an_address_and_for_all_of_them(store: Store) -> None:
    code = issue(store, "oauth", "assistant")
    for _ in range(one_time_codes.WRONG_FROM_ONE.amount):
        assert redeem(store, "oauth", "wrong", ONE) is None
    with pytest.raises(Full):
        redeem(store, "oauth", code, ONE)
    for number in range(one_time_codes.WRONG.amount - one_time_codes.WRONG_FROM_ONE.amount):
        assert redeem(store, "oauth", "wrong", f"198.51.100.{number}") is None
    with pytest.raises(Full):
        redeem(store, "oauth", code, OTHER)
    # The console has separate attempts.
    assert redeem(store, "console", issue(store, "console", "assistant"), ONE) == "assistant"


def test_right_codes_spend_no_tries(store: Store) -> None:
    for _ in range(one_time_codes.WRONG_FROM_ONE.amount + 5):
        assert redeem(store, "oauth", issue(store, "oauth", "assistant"), ONE) == "assistant"


def test_of_many_who_type_a_code_at_once_one_gets_in(tmp_path: Path) -> None:
    stores = [Sqlite(tmp_path / "store.sqlite") for _ in range(4)]
    code, found = issue(stores[0], "oauth", "assistant"), list[str | None]()
    threads = [
        threading.Thread(target=lambda store=store: found.append(redeem(store, "oauth", code, ONE)))
        for store in stores * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sorted(found, key=str) == [None] * 7 + ["assistant"]
