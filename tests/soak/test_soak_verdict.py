"""The judge of the soak: it detects each kind of failure, and finds nothing in a good run."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.soak.run import _KINDS, PLACES, soak
from tests.soak.schedule import LANES, drawn
from tests.soak.verdict import BOUNDS, COLUMNS, Call, Growth, Place, Run, Span, judged, outgrown, spellings
from tests.soak.world import LIMIT, MARK, OTHERS, Chats, apps_of, marks, rules_of

KINDS = ("open", "reader", "paced", "asked")
CHATS = Chats.of([f"1202555010{number}@c.us" for number in range(8)], apps_of("here", KINDS))
OPEN, PACED, ASKED = "here-open", "here-paced", "here-asked"
OWN = CHATS.own[OPEN]
KEY = "key_Zk8-TqLw3vRy_5NhXc0aPd"
SAID, SENT = '{"message_id":"m1"}', "mk0000000x"


def entry(app: str, chat: str, text: str, *, at: float = 100.0, **more: Any) -> dict[str, Any]:
    """A line of WAHA's log: a text that it has sent."""
    body = {"session": "default", "chatId": chat, "text": text}
    return {"time": at, "method": "POST", "path": "/api/sendText", "key": app, "body": body, "performed": at} | more


def call(text: str | None, *, app: str = OPEN, mark: str = "", error: bool = False, **more: Any) -> Call:
    made = Call("here", app, 0, "send_text", {"chat": OWN, "text": mark}, 99.0, 101.0, text, error, mark=mark)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def good() -> Run:
    """A good run in which one text was sent."""
    place = Place("here", rules_of("here", KINDS, CHATS), CHATS)
    place.makers = dict(enumerate(apps_of("here", KINDS))) | {OTHERS: "others"}
    place.keys = {app: app for app in place.rules}
    place.log = [entry(OPEN, OWN, SENT)]
    place.messages = [(OWN, True, SENT), (CHATS.sealed, False, "mkff00001x"), (CHATS.common, False, "mkff00002x")]
    run = Run({"here": place}, [call(SAID, mark=SENT)], secrets={KEY})
    run.outputs["out"] = b"Serving MCP over stdio"
    run.growth = [Growth("a server", {"memory": 60e6, "files": 20.0}, {"memory": 64e6, "files": 22.0})]
    return run


def again(run: Run) -> None:
    """The text is there once more."""
    run.places["here"].log.append(entry(OPEN, OWN, SENT, at=110))


def only_in_the_chat(run: Run) -> None:
    """The text is in the chat twice, and in the log once."""
    run.places["here"].messages.append((OWN, True, SENT))


def gone(run: Run) -> None:
    run.places["here"].log.clear()
    run.places["here"].messages.clear()


def answered(text: str | None, **more: Any) -> Callable[[Run], None]:
    """One more call with this answer."""
    return lambda run: run.calls.append(call(text, **more))


def denied(run: Run) -> None:
    run.calls[0] = call("Connecting to WAHA failed, so it was not sent.", mark=SENT, error=True)


def did(app: str, chat: str, text: str = "typing", **more: Any) -> Callable[[Run], None]:
    """One more effect."""
    return lambda run: run.places["here"].log.append(entry(app, chat, text, **more))


def paused(run: Run) -> None:
    run.places["here"].paused = [Span(OPEN, 90, 120)]


def often(times: int) -> Callable[[Run], None]:
    """This many sends, one second apart, of the App with a limit."""

    def send(run: Run) -> None:
        own = CHATS.own[PACED]
        run.places["here"].log += [entry(PACED, own, "again", at=200 + number) for number in range(times)]

    return send


def revoked(run: Run) -> None:
    run.places["here"].revoked = [Span(OPEN, 90, 120)]
    run.calls.append(call('{"messages":["mkff00002x"]}'))


def printed(what: bytes) -> Callable[[Run], None]:
    return lambda run: run.outputs.update(err=what)


def kept(name: str, what: bytes, app: str | None = None) -> Callable[[Run], None]:
    """A file with this content, of one App or of all."""

    def keep(run: Run) -> None:
        run.files[name] = what
        if app is not None:
            run.of[name] = "here", app

    return keep


def grown(**after: float) -> Callable[[Run], None]:
    return lambda run: run.growth.append(Growth("a server", {"memory": 60e6, "files": 20.0}, after))


TRACEBACK = b'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nValueError'
HEX, BASE64 = KEY.encode().hex().encode(), base64.b64encode(b'{"x-api-key": "' + KEY.encode() + b'", "a": 1}')

BAD: dict[str, tuple[str, Callable[[Run], None]]] = {
    "the log has a text twice": ("doubled", again),
    "the chat has a text twice": ("doubled", only_in_the_chat),
    "a text that was said to be sent is not there": ("lost", gone),
    "a text that was said not to be sent is there": ("false words", denied),
    "a chat on no list was written to": ("outside policy", did(OPEN, CHATS.unwritable)),
    "who is on no list that allows was written to": ("outside policy", did(PACED, "120363000000000001@g.us")),
    "another App's chat was written to": ("outside policy", did(OPEN, CHATS.own[ASKED])),
    "an App that may only read wrote": ("outside policy", did("here-reader", CHATS.common)),
    "nobody asked for it": ("outside policy", did(OPEN, OWN, "mk0000099x")),
    "nobody knows the key": ("outside policy", did("stranger", OWN)),
    "something was deleted": ("outside policy", did(OPEN, OWN, method="DELETE")),
    "an effect names no chat": ("outside policy", did(OPEN, OWN, body={})),
    "an App wrote while it was paused": ("outside policy", paused),
    "an App wrote more often than it may": ("outside policy", often(LIMIT + 1)),
    "nobody had approved it": ("outside policy", did(ASKED, CHATS.own[ASKED], "mk0300000x")),
    "an answer has words of a sealed chat": ("outside policy", answered("mkff00001x")),
    "an answer came with a key that was revoked": ("outside policy", revoked),
    "an index has words of a sealed chat": ("outside policy", kept("index", b"\0mkff00001x", OPEN)),
    "an answer has words of another App's calls": ("cross-key", answered("mk0200000x", error=True)),
    "a trail has words of another App's calls": ("cross-key", kept("trail.jsonl", b"mk0200000x", OPEN)),
    "a process printed a traceback": ("tracebacks", printed(TRACEBACK)),
    "an answer says that it failed inside": (
        "tracebacks",
        answered("waha-mcp had an internal error while", error=True),
    ),
    "a process ended by itself": ("tracebacks", lambda run: run.ended.append("a server")),
    "a process printed the key": ("leaked keys", printed(b"X-Api-Key: " + KEY.encode())),
    "an answer has the key in hex": ("leaked keys", answered(HEX.decode().upper())),
    "a file has the key in base64": ("leaked keys", kept("store", BASE64)),
    "a process has more memory": ("growth", grown(memory=81e6, files=20)),
    "a process has more files": ("growth", grown(memory=60e6, files=31)),
    "a call was not answered": ("hung", answered(None, hung=True)),
}


def test_nothing_is_found_where_all_is_well() -> None:
    assert judged(good()) == {column: [] for column in COLUMNS}


@pytest.mark.parametrize("what", BAD)
def test_what_must_not_be_is_found_and_stands_in_its_column(what: str) -> None:
    column, happens = BAD[what]
    run = good()
    happens(run)
    assert {name for name, found in judged(run).items() if found} == {column}


FINE: dict[str, Callable[[Run], None]] = {
    "an answer was lost": answered(None, mark=SENT),
    "a repeat is told that it was done": answered("The same was done 3 s ago.", mark=SENT, error=True),
    "an own call is quoted": answered("nobody is called mk0000005x", error=True),
    "an answer has words of a chat that may be read": answered("mkff00002x"),
    "as many sends as the pace allows": often(LIMIT),
    "where lists say what is not allowed, others are": did(OPEN, "120363000000000001@g.us"),
    "WAHA refused it": did(OPEN, CHATS.sealed, performed=None),
    "the admin did it": did("admin", CHATS.sealed),
}  # fmt: skip


@pytest.mark.parametrize("what", FINE)
def test_what_may_be_is_not_found(what: str) -> None:
    run = good()
    FINE[what](run)
    assert judged(run) == {column: [] for column in COLUMNS}


def test_a_clock_that_was_set_begins_a_new_hour_of_the_pace() -> None:
    run = good()
    often(LIMIT + 1)(run)
    run.places["here"].jumps = [202.5]
    assert judged(run)["outside policy"] == []


def test_a_yes_lets_through_what_comes_after_it() -> None:
    run = good()
    place = run.places["here"]
    place.log.append(entry(ASKED, CHATS.own[ASKED], "mk0300000x"))
    run.calls.append(call(SAID, app=ASKED, mark="mk0300000x"))
    place.approved["mk0300000x"] = 99.0
    assert judged(run)["outside policy"] == []
    place.approved["mk0300000x"] = 100.5
    assert len(judged(run)["outside policy"]) == 1


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_key_is_found_at_each_place_of_a_longer_text_in_base64(before: str) -> None:
    text = base64.b64encode(f"{before}{KEY}, and more".encode()).lower()
    assert any(each in text for each in spellings(KEY))
    assert not any(each in text for each in spellings(KEY[::-1]))


def test_a_bound_is_a_share_and_so_many_besides() -> None:
    before = {"memory": 100e6, "blocks": 300e3, "tasks": 5.0}
    within = {"memory": 129e6, "blocks": 349e3, "tasks": 15.0}
    assert list(outgrown(Growth("a", before, within), BOUNDS)) == []
    beyond = {"memory": 131e6, "blocks": 351e3, "tasks": 16.0}
    assert len(list(outgrown(Growth("a", before, beyond), BOUNDS))) == 3


def test_a_schedule_has_each_kind_at_least_once_and_is_the_same_for_the_same_seed() -> None:
    for seconds in (20.0, 600.0):
        found = drawn(7, seconds, PLACES)
        assert found == drawn(7, seconds, PLACES) != drawn(8, seconds, PLACES)
        assert {(each.place, each.kind) for each in found} == {
            (place, kind) for place in PLACES for kinds in LANES.values() for kind in kinds
        }
        assert all(0 < each.at < seconds for each in found)
    assert len(drawn(7, 600.0, PLACES)) > 2 * len(drawn(7, 20.0, PLACES))


def test_each_kind_of_disturbance_can_be_done() -> None:
    assert set(_KINDS) == {kind for kinds in LANES.values() for kind in kinds}


def test_marks_are_no_part_of_one_another() -> None:
    found = [next(marks(maker)) for maker in (0, 1, OTHERS)]
    assert MARK.findall(" ".join(found)) == ["00", "01", "ff"]
    assert not MARK.search("mk0000000")
    assert {len(mark) for mark in found} == {len("mk0000000x")}


def test_no_two_apps_have_a_chat_of_their_own_in_common() -> None:
    own = list(CHATS.own.values())
    assert len({*own, CHATS.common, CHATS.unwritable, CHATS.sealed}) == len(own) + 3
    for app, rules in rules_of("here", KINDS, CHATS).items():
        assert CHATS.sealed not in rules.reads | rules.sends
        assert not (rules.reads | rules.sends) & (set(own) - {CHATS.own[app]})


@pytest.mark.slow
def test_a_short_soak_finds_nothing(tmp_path: Any) -> None:
    run = soak(15, 3, tmp_path, note=lambda _: None)
    assert {column: found for column, found in run.found.items() if found} == {}
    assert run.calls["stdio"] > 50 < run.calls["http"]
