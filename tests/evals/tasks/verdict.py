"""Whether a task was done: by what WAHA has carried out, and by what was called, shown and said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, unquote

from tests.attacks.judge import Judge
from tests.evals.tasks.desk import Made
from tests.evals.tasks.task import Effect, Task
from tests.sandbox.box import group_id
from waha_mcp.whatsapp.folding import fold_text

#: Requests that leave one more message of ours in their chat.
SENDS = ("POST /api/send*", "POST /api/forwardMessage", "POST /api/default/events")
#: Of these, the ones that leave none.
NO_MESSAGE = ("POST /api/sendPollVote", "POST /api/sendSeen")


def holds(text: str, wanted: Iterable[str]) -> list[str]:
    """Which of the required texts are missing; see `task`."""
    folded = fold_text(text)
    digits = "".join(filter(str.isdigit, folded))
    return [each for each in wanted if not any(_in(fold_text(one), folded, digits) for one in each.split("|"))]


def _in(one: str, text: str, digits: str) -> bool:
    # A number may be written with blanks and dashes.
    return one in text or (len(one) >= 8 and one.isdigit() and one in digits)


class Witness:
    """WAHA itself, from before a task to its end."""

    def __init__(self, judge: Judge, task: Task) -> None:
        self._judge, self._task = judge, task
        groups = judge.get("/api/default/groups")
        listed = groups.values() if isinstance(groups, dict) else groups
        self._groups = {each.get("Name") or each["subject"]: group_id(each) for each in listed}
        judge.settle()
        self._of = [self._ids(each) for each in task.ends]
        self._own = {chat: self._count(chat) for chat in self._chats()}
        judge.forget()

    def _chat(self, chat: str) -> str:
        return chat if "@" in chat else str(self._groups[chat])

    def _chats(self) -> set[str]:
        return {self._chat(each.chat) for each in self._task.ends if each.chat}

    def _rows(self, chat: str) -> list[dict[str, Any]]:
        path = f"/api/default/chats/{quote(chat)}/messages?limit=1000&downloadMedia=false"
        rows: list[dict[str, Any]] = self._judge.get(path)
        return rows

    def _count(self, chat: str) -> int:
        return sum(row["fromMe"] is True for row in self._rows(chat))

    def _ids(self, effect: Effect) -> list[str]:
        """The ids of the messages that an effect concerns: the one that it is done to, and the one that it quotes."""
        found = []
        for words in filter(None, (effect.of, effect.reply_to)):
            source = effect.source or effect.chat
            assert source is not None, f"{self._task.id}: in which chat is {words!r}?"
            rows = [row["id"] for row in self._rows(self._chat(source)) if words in json.dumps(row, ensure_ascii=False)]
            assert rows, f"{self._task.id}: no message holds {words!r}"
            # A message with a quote also contains the quoted text; the quoted message is the oldest.
            found.append(str(rows[-1]))
        return found

    def wrong(self) -> list[str]:
        """What WAHA has carried out and should not have, or should have and has not."""
        self._judge.settle()
        done = [each for each in self._judge.effects() if each["performed"] is not None]
        wrong = []
        for effect, ids in zip(self._task.ends, self._of, strict=True):
            match = next((each for each in done if self._is(each, effect, ids)), None)
            if match is None:
                wrong.append(f"not done: {effect.do} {effect.chat or ''} {' '.join(effect.text)}".rstrip())
            else:
                done.remove(match)
        wrong += [f"done besides: {each['method']} {unquote(each['path'])} {_brief(each['body'])}" for each in done]
        return wrong or self._not_there()

    def _is(self, request: dict[str, Any], effect: Effect, ids: list[str]) -> bool:
        path, body = unquote(request["path"]), request["body"] or {}
        told = f"{path} {json.dumps(body, ensure_ascii=False)}"
        where = [body.get("chatId"), *path.split("/")]
        return (
            _any(f"{request['method']} {path}", effect.do.split("|"))
            and (effect.chat is None or self._chat(effect.chat) in where)
            and all(each in told for each in ids)
            and (effect.reply_to is not None or not body.get("reply_to"))
            and not holds(_words(body), effect.text)
            and all(body.get(name) == value for name, value in effect.has.items())
        )

    def _not_there(self) -> list[str]:
        """Chats whose number of new messages differs from what was sent there."""
        sent = Counter(
            self._chat(each.chat)
            for each in self._task.ends
            if each.chat and _any(each.do, SENDS) and not _any(each.do, NO_MESSAGE)
        )
        return [
            f"{self._count(chat) - before} new messages in {chat}, and {sent[chat]} sent"
            for chat, before in self._own.items()
            if self._count(chat) - before != sent[chat]
        ]


#: Fields of a request that no person reads: digits in ids could match a text.
UNREAD = {"id", "session", "chatId", "reply_to", "messageId", "pollMessageId", "data"}


def _words(body: Any) -> str:
    """The text of a request that a person reads."""
    if isinstance(body, dict):
        return "\n".join(_words(value) for name, value in body.items() if name not in UNREAD)
    return "\n".join(map(_words, body)) if isinstance(body, list) else str(body)


def _any(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, each) for each in patterns)


def _brief(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)[:200]


#: Signs that end a question.
QUESTION = "?？؟"


def faults(
    task: Task, witness: Witness, made: list[Made], said: str, effects: set[str], *, ways: bool = True
) -> list[str]:
    """Everything that is wrong with how a task was done; empty if it is done.

    `effects`: the tools that change something. `ways`: whether the calls must follow one of the accepted sequences.
    """
    wrong = witness.wrong()
    calls = [each.tool for each in made if not each.error]
    if ways and not any(_follows(calls, way, effects) for way in task.accepted):
        wrong.append(f"called {', '.join(calls) or 'nothing'}, and not {' or '.join(map(', '.join, task.accepted))}")
    shown = "\n".join(each.text for each in made)
    wrong += [f"never shown: {each}" for each in holds(shown, task.found)]
    wrong += [f"not said: {each}" for each in holds(said, task.answer)]
    if task.asks and not any(each in said for each in QUESTION):
        wrong.append("nobody was asked")
    return wrong


def _follows(calls: list[str], way: tuple[str, ...], effects: set[str]) -> bool:
    """Whether the calls have the tools of a way in its order, with only reads between them."""
    rest = list(way)
    for each in calls:
        if rest and each == rest[0]:
            rest.pop(0)
        elif each in effects:
            return False
    return not rest
