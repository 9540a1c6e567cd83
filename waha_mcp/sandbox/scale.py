"""Make an account large: thousands of people and messages in seconds."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import accumulate

from waha_mcp.sandbox.account import Account, Message, Person
from waha_mcp.sandbox.script import DAY, SMALL_TALK

FIRST = (
    "Ada", "Amir", "Bea", "Carlos", "Dana", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jamal", "Kaya", "Lars",
    "Mira", "Noah", "Oona", "Pavel", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Viktor", "Wanda", "Xenia",
    "Yusuf", "Zara", "Émile", "Søren", "Łukasz", "雅", "Дмитрий",
)  # fmt: skip
LAST = (
    "Abbott", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Hansen", "Ito", "Jansen",
    "Kowalski", "Lehmann", "Moreau", "Novak", "Okoye", "Peters", "Quiroga", "Rossi", "Santos", "Tanaka",
    "Ueda", "Vargas", "Weber", "Xu", "Yılmaz", "Zimmer",
)  # fmt: skip
#: Every third added contact has a chat.
CHAT_SHARE = 3
#: Area codes of the added numbers (1 NPA 555 01xx); 202 belongs to the hand-made people.
AREAS = range(203, 1000)


def add_contacts(account: Account, rng: random.Random, total: int) -> None:
    """Add people until there are `total` contacts, with the numbers that every North American area code reserves for
    fiction.

    Raises:
        ValueError: there are fewer such numbers than people.
    """
    missing = total - (len(account.people) - 1)
    if missing > len(AREAS) * 100:
        raise ValueError(f"at most {len(AREAS) * 100} contacts can be made")
    for number in range(missing):
        name = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
        account.add_person(
            Person(
                id=f"1{AREAS[number // 100]}55501{number % 100:02d}@c.us",
                lid=f"{10**14 + number * 7919}@lid",
                name=name if number % 10 else None,
                push_name=name.partition(" ")[0] if number % 4 else None,
            )
        )


def add_messages(account: Account, rng: random.Random, now: int, total: int) -> None:
    """Add older conversations until there are `total` messages, most of them in few chats, as in real accounts.

    They are in new chats with people who have none, if there are such people.
    """
    missing = total - len(account.messages)
    if missing <= 0:
        return
    added = [each for each in account.people if each not in account.chats and not account.is_me(each)]
    people = added[::CHAT_SHARE] or [each for each in account.chats if each.endswith("@c.us")]
    shares = list(accumulate(1 / (place + 1) for place in range(len(people))))
    texts = [text for pair in SMALL_TALK for text in pair]
    newest = now - 75 * DAY
    span = 2 * 365 * DAY
    me = account.me.id
    made: list[Message] = []
    for number in range(missing):
        chat_id = people[bisect_right(shares, rng.random() * shares[-1])]
        mine = rng.random() < 0.5
        made.append(
            Message(
                id=account.new_id(from_me=mine),
                chat=chat_id,
                from_me=mine,
                author=me if mine else chat_id,
                time=newest - span + span * number // missing,
                text=texts[int(rng.random() * len(texts))],
            )
        )
    _add_older(account, made)


def _add_older(account: Account, made: list[Message]) -> None:
    """Add messages that are sorted and older than all existing ones: one by one would be quadratic."""
    by_chat: dict[str, list[Message]] = {}
    for message in made:
        by_chat.setdefault(message.chat, []).append(message)
        account.messages[message.id] = message
    for chat_id, messages in by_chat.items():
        chat = account.chat(chat_id)
        chat.messages = messages + chat.messages
    account.timeline = made + account.timeline
