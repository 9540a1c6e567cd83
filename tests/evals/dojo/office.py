"""The workspace of AgentDojo as a WhatsApp account: who is who, and the sandbox that has them."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from waha_mcp.sandbox import state
from waha_mcp.sandbox.account import Account, Group, Message, Person
from waha_mcp.sandbox.seed import Size

MINUTE, DAY = 60, 86_400


@dataclass(frozen=True)
class Office:
    """Everybody's ids, by the names used in AgentDojo's calls."""

    #: Users who exist from the start, and those who are invited.
    colleagues: Mapping[str, str]
    newcomers: Mapping[str, str]
    #: Channels.
    groups: Mapping[str, str]
    #: Websites that a user task posts to, and others.
    own_sites: Mapping[str, str]
    other_sites: Mapping[str, str]
    #: The members of each channel, and its messages as (sender, text).
    members: Mapping[str, list[str]]
    posts: Mapping[str, list[list[str]]]
    #: What was sent to each user, as (sender, text).
    letters: Mapping[str, list[list[str]]]
    #: Whether newcomers are saved contacts.
    saved: bool = True

    @classmethod
    def of(cls, suite: Mapping[str, Any], *, saved: bool) -> Office:
        """The office of the suite that the player describes."""
        slack = suite["slack"]
        numbers = (f"120255501{number:02}@c.us" for number in itertools.count(10))

        def named(kind: str, tasks: str, argument: str) -> list[str]:
            calls = [call for task in suite[tasks].values() for call in task["calls"] if call["function"] == kind]
            return list(dict.fromkeys(call["args"][argument] for call in calls))

        def numbered(names: list[str]) -> dict[str, str]:
            return {name: next(numbers) for name in names}

        own = named("post_webpage", "users", "url")
        invited = [each for tasks in ("users", "injections") for each in named("invite_user_to_slack", tasks, "user")]

        def texts(messages: list[dict[str, str]]) -> list[list[str]]:
            return [[each["sender"], each["body"]] for each in messages]

        return cls(
            numbered(slack["users"]),
            numbered(list(dict.fromkeys(invited))),
            {name: f"1203630000000000{number:02}@g.us" for number, name in enumerate(slack["channels"], 10)},
            numbered(own),
            numbered([url for url in named("post_webpage", "injections", "url") if url not in own]),
            {
                name: [user for user, joined in slack["user_channels"].items() if name in joined]
                for name in slack["channels"]
            },
            {name: texts(messages) for name, messages in slack["channel_inbox"].items()},
            {name: texts(messages) for name, messages in slack["user_inbox"].items()},
            saved,
        )

    @property
    def people(self) -> dict[str, str]:
        return {**self.colleagues, **self.newcomers}

    @property
    def sites(self) -> dict[str, str]:
        return {**self.own_sites, **self.other_sites}

    @property
    def usual(self) -> list[str]:
        """Whom the account has written to: colleagues, groups and the owner of its own website."""
        return [*self.colleagues.values(), *self.groups.values(), *self.own_sites.values()]


def furnish(path: str) -> None:
    """Runs in a sandbox's process: each session that is paired gets an account with the office of this file."""
    office = Office(**json.loads(Path(path).read_text(encoding="utf-8")))
    numbers = itertools.count(201)

    def build(seed: int, now: int, size: Size) -> Account:
        # Accounts are identified by number, so that no two sessions share what the store keeps.
        return _account(office, f"1{next(numbers)}5550199@c.us", now)

    made: Callable[[int, int, Size], Account] = build
    vars(state)["build_account"] = made


def written(office: Office, path: Path) -> None:
    """Write the file for `furnish`."""
    path.write_text(json.dumps(asdict(office)), encoding="utf-8")


def _account(office: Office, number: str, now: int) -> Account:
    account = Account(Person(number, _hidden(number), "Sam Rivers", "Sam Rivers"), random.Random(number))
    saved = {**office.colleagues, **office.own_sites, **(office.newcomers if office.saved else {})}
    for name, chat in {**office.people, **office.sites}.items():
        account.add_person(Person(chat, _hidden(chat), name if name in saved else None))
    times = itertools.count(now - DAY, MINUTE)

    def say(chat: str, author: str, text: str) -> None:
        own = author == number
        account.add(Message(account.new_id(from_me=own), chat, own, author, next(times), text))

    for name, chat in office.groups.items():
        members = {office.people[each]: "participant" for each in office.members[name]} | {number: "superadmin"}
        account.groups[chat] = Group(chat, name, number, now - DAY, members, invite=f"{chat[:18]}{number[:4]}")
        account.invites[account.groups[chat].invite] = account.groups[chat]
    for chat in office.usual:
        say(chat, number, "Hello")
    for name, posts in office.posts.items():
        for sender, text in posts:
            say(office.groups[name], office.people[sender], text)
    for letters in office.letters.values():
        for sender, text in letters:
            say(office.people[sender], office.people[sender], text)
    return account


def _hidden(chat: str) -> str:
    """A person's second id."""
    return f"9{chat.partition('@')[0]}@lid"
