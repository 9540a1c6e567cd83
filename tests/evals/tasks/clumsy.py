"""A clumsy player: the reference's calls, damaged as small models damage them, and mended by one rule.

The damage comes from `SEED`, the task's id and the number of the call, so that everybody gets the same. Each of
`DAMAGES` that a call has room for is done to it with a chance of one half, and one at least:

- wrong name: a parameter has a name from `WRONG_NAMES`, which other servers and APIs use for the same
- left out: each optional property that the call does not need is null or ""
- near name: a person or group is named with a letter missing, or by the first word of the name alone
- number as text: numbers and flags are texts
- no list: the only item of a list stands alone, or the list is JSON text
- stale cursor, misread id: two digits of a cursor or a message's id are not what the answer gave

The rule, `mended`: an error names arguments (`name: ...`). For each of them, what the error offers is taken: the name
that is perhaps meant, the id of the one candidate who has the name that was meant, a value that it suggests. Where it
offers nothing, the value is given again as it was meant, and an argument that was never meant is left out. All other
arguments stay as they were sent. There is no branch for a tool or a task; what was meant is the reference's arguments
and nothing else. An error that names no argument ends the task, and so does the third repair.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.evals.tasks.desk import Desk
from tests.evals.tasks.paths import NotThere, filled
from tests.evals.tasks.task import Task
from waha_mcp.whatsapp.folding import fold_text

#: Seed of the damage.
SEED = 2026
#: Calls that a task may need beyond the reference's.
MORE_CALLS = 2

Arguments = dict[str, Any]

# Damage

WRONG_NAMES: Mapping[str, tuple[str, ...]] = {
    "caption": ("text", "message"),
    "chat": ("chat_id", "chatId", "to", "recipient", "contact"),
    "contact": ("contact_id", "phone", "person"),
    "contacts": ("contact", "cards"),
    "cursor": ("page_token", "next", "next_cursor"),
    "detail": ("verbose", "details"),
    "emoji": ("reaction",),
    "first_name": ("name", "firstName"),
    "from_me": ("fromMe", "own"),
    "group": ("group_id", "chat_id", "chat"),
    "kind": ("type", "media_type"),
    "latitude": ("lat",),
    "limit": ("count", "max_results"),
    "longitude": ("lng", "lon", "long"),
    "message_id": ("messageId", "id", "message"),
    "name": ("title", "event_name"),
    "options": ("choices", "answers"),
    "path": ("file", "file_path", "filename"),
    "phone": ("number", "phone_number"),
    "query": ("q", "search", "keyword"),
    "question": ("poll_name", "title"),
    "reply_to": ("quoted_message_id", "reply_to_message_id", "replyTo"),
    "sender": ("from", "author"),
    "since": ("from_date", "start_date", "after"),
    "start": ("start_time", "startTime"),
    "text": ("message", "body", "content"),
    "title": ("name", "label"),
    "until": ("to_date", "end_date", "before"),
}
#: Parameters that take people and chats by name.
NAMED = ("chat", "contact", "group", "sender")
_REFERENCE = re.compile(r"[mgnpc]\d{9}")

#: Changes arguments, or returns None if they leave nothing to change. The other parameters: random numbers, and the
#: tool's input schema.
Damage = Callable[[Arguments, random.Random, Mapping[str, Any]], Arguments | None]


def _wrong_name(sent: Arguments, dice: random.Random, schema: Mapping[str, Any]) -> Arguments | None:
    room = [
        (name, wrong)
        for name in sent
        for wrong in WRONG_NAMES.get(name, ())
        # The name of another parameter would be another mistake.
        if wrong not in schema["properties"]
    ]
    if not room:
        return None
    right, wrong = dice.choice(room)
    return {wrong if name == right else name: value for name, value in sent.items()}


def _left_out(sent: Arguments, dice: random.Random, schema: Mapping[str, Any]) -> Arguments | None:
    left = [each for each in schema["properties"] if each not in sent and each not in schema.get("required", ())]
    return sent | {name: dice.choice((None, "")) for name in left} if left else None


def _near_name(sent: Arguments, dice: random.Random, schema: Mapping[str, Any]) -> Arguments | None:
    named = [
        name
        for name in NAMED
        if isinstance(value := sent.get(name), str) and value[:1].isalpha() and not _REFERENCE.fullmatch(value)
    ]
    if not named:
        return None
    name = dice.choice(named)
    first, *more = sent[name].split()
    at = dice.randrange(1, len(first))
    return sent | {name: first if more and dice.random() < 0.5 else " ".join([first[:at] + first[at + 1 :], *more])}


def _number_as_text(sent: Arguments, dice: random.Random, schema: Mapping[str, Any]) -> Arguments | None:
    numbers = {name: json.dumps(value) for name, value in sent.items() if isinstance(value, int | float)}
    return sent | numbers if numbers else None


def _no_list(sent: Arguments, dice: random.Random, schema: Mapping[str, Any]) -> Arguments | None:
    lists = {
        name: value[0] if len(value) == 1 else json.dumps(value, ensure_ascii=False)
        for name, value in sent.items()
        if isinstance(value, list) and value
    }
    return sent | lists if lists else None


def _misread(*names: str) -> Damage:
    def damage(sent: Arguments, dice: random.Random, schema: Mapping[str, Any]) -> Arguments | None:
        room = [name for name in names if isinstance(sent.get(name), str) and _REFERENCE.fullmatch(sent[name])]
        if not room:
            return None
        name = dice.choice(room)
        value = sent[name]
        wrong = str((int(value[4:6]) + dice.randrange(1, 99)) % 100).zfill(2)
        return sent | {name: value[:4] + wrong + value[6:]}

    return damage


#: In the order of application: a name is changed last, since the others use it.
DAMAGES: Mapping[str, Damage] = {
    "near name": _near_name,
    "number as text": _number_as_text,
    "no list": _no_list,
    "stale cursor": _misread("cursor"),
    "misread id": _misread("message_id", "reply_to"),
    "left out": _left_out,
    "wrong name": _wrong_name,
}


def damaged(meant: Arguments, schema: Mapping[str, Any], dice: random.Random) -> Arguments:
    """The arguments with some of `DAMAGES`."""
    possible = [name for name, each in DAMAGES.items() if each(dict(meant), random.Random(0), schema) is not None]
    chosen = {name for name in possible if dice.random() < 0.5} or {dice.choice(possible)} if possible else set()
    sent = dict(meant)
    for name, damage in DAMAGES.items():
        if name in chosen:
            sent = damage(sent, dice, schema) or sent
    return sent


# Repair

#: What an error says about an argument: up to the text about the next one, or the end of the line.
_SAID = re.compile(r"(?:^|; |\. )(\w+)(?:\.\w+)*: ((?:(?!(?:; |\. )\w+(?:\.\w+)*: ).)*)", re.M)
_PERHAPS = re.compile(r"unknown property(?: \(did you mean (\w+)\?\))?")
_CANDIDATE = re.compile(r"^- (\S+): (?:person saved as|person who calls themselves|\w+) ['\"](.*)['\"], ", re.M)
_SUGGESTED = re.compile(r"did you mean (\S+?)[?;,:]")


def mended(error: str, sent: Arguments, meant: Arguments) -> Arguments | None:
    """The arguments of the next try, by the rule; None if the error names none of them."""
    again = dict(sent)
    said = _SAID.findall(error)
    renamed = set()
    for name, words in said:
        if (unknown := _PERHAPS.match(words)) and name in again:
            value = again.pop(name)
            if right := unknown[1]:
                again[right] = value
                renamed.add(right)
    for name, words in said:
        if _PERHAPS.match(words) or (name in renamed and words.startswith("required")):
            continue
        wanted = fold_text(str(meant.get(name, "")))
        candidates = [each for each, called in _CANDIDATE.findall(error) if fold_text(called) == wanted]
        offered = candidates if f"{name}: {words}\n- " in error else _SUGGESTED.findall(words)
        if len(offered) == 1:
            again[name] = offered[0]
        elif name in meant:
            again[name] = meant[name]
        else:
            again.pop(name, None)
    return again if said else None


def clumsy(task: Task, desk: Desk) -> str:
    """The damaged calls, each mended until it succeeds."""
    answers: list[str] = []
    spare = MORE_CALLS
    try:
        for number, (tool, arguments) in enumerate(task.reference):
            meant = filled(arguments, answers)
            dice = random.Random(f"{SEED}/{task.id}/{number}")  # a reproducible player, no secrets
            sent: Arguments | None = damaged(meant, desk.schema(tool), dice)
            while sent is not None:
                made = desk.call(tool, sent)
                if not made.error:
                    break
                if not spare:
                    return f"(gave up: {made.text})"
                spare -= 1
                sent = mended(made.text, sent, meant)
            else:
                return f"(gave up: {made.text})"
            answers.append(made.text)
        return str(filled(task.says, answers))
    except NotThere as error:
        return f"(gave up: {error})"
