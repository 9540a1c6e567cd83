"""Messages of every kind and engine are parsed: the answer has all that a person would see, and no raw engine data."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines.__main__ import UNNAMED
from tests.engines.corpus import ENGINES, Case, answer, cases, read
from waha_mcp.waha.message_text import is_picture
from waha_mcp.waha.messages import message_from
from waha_mcp.waha.vcards import is_card

MESSAGES = cases("messages")
GOLDEN = Path(__file__).parent / "golden"
#: Text that only an engine's raw data has.
DUMPED = (
    "BEGIN:VCARD",
    "/9j/4AAQ",
    "directPath",
    "mediaKey",
    "fileSha256",
    "_serialized",
    "deviceListMetadata",
    "AAAAAAAAAAAAAAAA",
)


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts_of(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts_of(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("case", [each for each in MESSAGES if each.case != UNNAMED], ids=str)
def test_a_message_is_read_fully_and_nothing_of_the_engine_shows(case: Case) -> None:
    assert read(case) == ("fully", [])
    text = answer(message_from(case.row))
    assert not [each for each in (*case.hides, *DUMPED) if each in text]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_agent_reads_of_each_message_is_as_before(engine: str) -> None:
    """UPDATE_SNAPSHOTS=1 rewrites them."""
    found = {case.case: shown(case) for case in cases("messages", engine)}
    path = GOLDEN / f"{engine}.json"
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert json.loads(path.read_text("utf-8")) == found


def shown(case: Case) -> dict[str, Any]:
    """A message as an agent reads it, without its times, which are in this machine's time zone."""
    message = message_from(case.row)
    assert message is not None
    found: dict[str, Any] = message.model_dump(mode="json", exclude_none=True, exclude={"id", "time"})
    for name in ("starts", "ends"):
        found.get("event", {}).pop(name, None)
    return found


def test_each_engine_has_at_least_150_messages() -> None:
    for engine in ("gows", "noweb", "webjs", "wpp"):
        assert len(cases("messages", engine)) >= 150


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**40), st.floats(allow_nan=True), st.text(max_size=8),
    st.lists(st.none() | st.text(max_size=3), max_size=3), st.dictionaries(st.text(max_size=4), st.none(), max_size=3),
)  # fmt: skip


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in inner for found in ((*path, key), *places_in(each, (*path, key)))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_missing_null_of_another_type_or_nested_deeper_breaks_nothing(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(MESSAGES))
    row = copy.deepcopy(case.row)
    for _ in range(data.draw(st.integers(1, 4))):
        places = places_in(row)
        path = data.draw(st.sampled_from(places))
        holder, key = at(row, path[:-1]), path[-1]
        match data.draw(st.sampled_from(["missing", "null", "junk", "deeper", "listed"])):
            case "missing" if isinstance(holder, dict):
                del holder[key]
            case "null":
                holder[key] = None
            case "deeper":
                holder[key] = {"message": holder[key]}
            case "listed":
                holder[key] = [holder[key]]
            case _:
                holder[key] = data.draw(JUNK)
    message = message_from(row)
    if message is not None:
        dumped = message.model_dump(mode="json", exclude_none=True)
        shown = [text for name, value in dumped.items() if name != "id" for text in texts_of(value)]
        assert not [text for text in shown if is_picture(text) or is_card(text)]
