"""What is added to a sandbox before its tasks begin, through WAHA's and the sandbox's own routes, as the admin.

A line is `{do = ..., ...}`; its `tag` names what it makes, and `{tag}` in later lines is its id. `at` is the moment of
a message: "2026-11-25T20:00Z"; the clock of all processes stands at `NOW`.

    save        chat, name                      the account's owner saves a contact
    message     chat, text, at?, from?, me?, reply_to?, push?
    many        chat, count, text, at, step     that many messages, `step` seconds apart; `#` is the number in each
    group       subject, by, people?            somebody else makes a group with the account in it
    poll        chat, question, options         the owner's
    happens     ...                             what `POST /sandbox/events` takes
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.attacks.judge import Judge

#: When the tasks start, by the clock of `tests.clock`: a Thursday, 16:20 UTC.
NOW = 1_795_710_000


def play(lines: Iterable[dict[str, Any]], judge: Judge) -> None:
    """Add all lines to the judge's sandbox, in order."""
    tags: dict[str, str] = {}
    for line in lines:
        wish = {name: _tagged(value, tags) for name, value in line.items()}
        made = _MAKERS[wish.pop("do")](judge, wish)
        if tag := line.get("tag"):
            tags[tag] = str(made)


def _tagged(value: Any, tags: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_tagged(each, tags) for each in value]
    return tags[value[1:-1]] if isinstance(value, str) and value[:1] == "{" else value


def _second(wish: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(wish["at"]).timestamp()) if "at" in wish else NOW


def _save(judge: Judge, wish: dict[str, Any]) -> str:
    first, _, last = wish["name"].partition(" ")
    judge.ask("PUT", f"/api/default/contacts/{quote(wish['chat'])}", {"firstName": first, "lastName": last})
    return str(wish["chat"])


_NAMES = {"from": "from", "reply_to": "replyTo", "push": "pushName"}


def _message(judge: Judge, wish: dict[str, Any]) -> str:
    more = {_NAMES[name]: wish[name] for name in _NAMES if name in wish}
    if wish.get("me"):
        more["fromMe"] = True
    return judge.arrive(wish["chat"], wish["text"], timestamp=_second(wish), **more)


def _many(judge: Judge, wish: dict[str, Any]) -> None:
    start = _second(wish)
    for number in range(1, wish["count"] + 1):
        second = start + (number - 1) * wish["step"]
        judge.arrive(wish["chat"], wish["text"].replace("#", str(number)), timestamp=second)


def _group(judge: Judge, wish: dict[str, Any]) -> str:
    made = judge.ask("POST", "/sandbox/groups", {"subject": wish["subject"], "from": wish["by"]})["id"]
    if people := wish.get("people"):
        judge.ask("POST", "/sandbox/events", {"kind": "group", "chatId": made, "change": "join", "people": people})
    return str(made)


def _poll(judge: Judge, wish: dict[str, Any]) -> str:
    poll = {"name": wish["question"], "options": wish["options"], "multipleAnswers": False}
    sent = judge.ask("POST", "/api/sendPoll", {"session": "default", "chatId": wish["chat"], "poll": poll})
    return str(sent["id"])


def _happens(judge: Judge, wish: dict[str, Any]) -> None:
    judge.ask("POST", "/sandbox/events", {name: value for name, value in wish.items() if name != "tag"})


_MAKERS = {
    "save": _save,
    "message": _message,
    "many": _many,
    "group": _group,
    "poll": _poll,
    "happens": _happens,
}
