"""Make the account from a seed: the same seed gives the same people, ids and texts, dated relative to `now`."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from waha_mcp.sandbox import sample_files
from waha_mcp.sandbox.account import Account, Channel, Chat, Group, Label, Media, Message, Person
from waha_mcp.sandbox.cast import CHANNELS, GROUPS, LABELS, ME, PEOPLE, Who
from waha_mcp.sandbox.scale import add_contacts, add_messages
from waha_mcp.sandbox.script import DAY, MINUTE, SCRIPTS, SMALL_TALK, Line

#: The number of messages of the account by default.
MESSAGES = 600
#: Chats with unread messages at the end, and how many.
UNREAD = {
    "maya": 2, "anna1": 1, "courier": 2, "stranger@lid": 2, "family": 1, "kestrel": 2, "hike": 3, "library": 1,
}  # fmt: skip


class Size(NamedTuple):
    """Totals; for None, or fewer than in the hand-made account, its numbers apply."""

    contacts: int | None = None
    messages: int | None = None


#: The hand-made account alone.
NO_SIZE = Size()


def build_account(seed: int, now: int, size: Size = NO_SIZE) -> Account:
    """The account. `size` enlarges it; its hand-made part stays the same.

    Args:
        seed: makes ids and small talk.
        now: Unix seconds; everything happened in the weeks before.
    """
    return _Builder(seed, now).build(size)


class _Builder:
    def __init__(self, seed: int, now: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a reproducible account, no secrets
        self.now = now
        self.ids: dict[str, str] = {}
        self.account = Account(self._person(ME), self.rng)

    def build(self, size: Size) -> Account:
        account = self.account
        for who in PEOPLE:
            account.add_person(self._person(who))
        self._groups()
        self._channels()
        for number, (label_id, name, color) in enumerate(LABELS):
            account.labels[label_id] = Label(label_id, name, color)
            account.chat(self.ids[PEOPLE[number].key]).labels.add(label_id)
        lines = {key: self._play(key, script) for key, script in SCRIPTS.items()}
        self._small_talk(MESSAGES - sum(lines.values()))
        for key, count in UNREAD.items():
            self._leave_unread(account.chats[self._chat_id(key)], count)
        account.chats[self.ids["nameless2"]].archived = True
        if size.contacts is not None:
            add_contacts(account, self.rng, size.contacts)
        if size.messages is not None:
            add_messages(account, self.rng, self.now, size.messages)
        return account

    def _person(self, who: Who) -> Person:
        lid = f"{self.rng.randrange(10**13, 10**15)}@lid" if who.lid else None
        person_id = f"{who.phone}@c.us" if who.phone else str(lid)
        self.ids[who.key] = person_id
        if lid:
            self.ids[f"{who.key}@lid"] = lid
        return Person(
            id=person_id,
            lid=lid,
            name=who.name,
            push_name=who.push,
            about=who.about,
            picture=who.picture,
            twin_listed=who.phone is not None and lid is not None and self.rng.random() < 0.4,
            answers=who.answers,
        )

    def _groups(self) -> None:
        for circle in GROUPS:
            group_id = f"1203630{self.rng.randrange(10**10, 10**11)}@g.us"
            self.ids[circle.key] = group_id
            members = {self.ids[key]: "admin" if key in circle.admins else "participant" for key in circle.members}
            members[self.account.me.id] = circle.role
            owner = self.account.me.id if circle.role == "superadmin" else self.ids[circle.admins[0]]
            members[owner] = "superadmin"
            group = Group(
                id=group_id,
                subject=circle.subject,
                owner=owner,
                created=self.now - self.rng.randrange(200, 900) * DAY,
                members=members,
                description=circle.description,
                lids=circle.lids,
                invite=invite_code(self.rng),
                messages_admin_only=circle.announce,
                info_admin_only=circle.announce,
                picture=True,
            )
            self.account.groups[group_id] = group
            self.account.invites[group.invite] = group
            self.account.chat(group_id, started=group.created)
        hike = self.account.groups[self.ids["hike"]]
        hike.approval = True
        hike.requests = {self.ids["priya"]: self.now - 5 * 3600, self.ids["yuki"]: self.now - DAY}

    def _channels(self) -> None:
        for key, name, description, role, subscribers, verified, country, category in CHANNELS:
            channel_id = f"1203631{self.rng.randrange(10**10, 10**11)}@newsletter"
            self.ids[key] = channel_id
            self.account.channels[channel_id] = Channel(
                id=channel_id,
                name=name,
                description=description,
                invite=f"0029Va{invite_code(self.rng)[:16]}",
                role=role,
                subscribers=subscribers,
                verified=verified,
                country=country,
                category=category,
            )

    def _chat_id(self, key: str) -> str:
        return self.ids[key]

    def _author(self, key: str, chat_id: str) -> str:
        """The author, in the id form that this chat uses."""
        group = self.account.groups.get(chat_id)
        hidden = chat_id.endswith("@lid") or (group is not None and group.lids)
        if hidden:
            return self.ids.get(f"{key}@lid", self.ids[key])
        return self.ids[key]

    def _play(self, key: str, script: tuple[Line, ...]) -> int:
        """Add a script to its chat; return the number of messages."""
        chat_id = self._chat_id(key)
        tags: dict[str, str] = {}
        for line in script:
            message = self._message(line, chat_id, tags)
            if line.tag:
                tags[line.tag] = message.id
            self.account.add(message)
        return len(script)

    def _message(self, line: Line, chat_id: str, tags: dict[str, str]) -> Message:
        mine = line.who == "me"
        more = dict(line.more)
        time = self.now - line.ago
        file = self._file(more)
        edited, deleted = more.pop("edited", None), more.pop("deleted", False)
        mentions = tuple(self._author(each, chat_id) for each in more.pop("mentions", ()))
        if card := more.pop("card", None):
            person = self.account.people[self.ids[card]]
            name = person.shown or card
            more["cards"] = [(name, sample_files.vcard(name, person.id.partition("@")[0]))]
        if "votes" in more:
            more["votes"] = {self._author(each, chat_id): chosen for each, chosen in more["votes"].items()}
        text = line.text
        for each in mentions:
            text = (text or "").replace("@me", f"@{each.partition('@')[0]}")
        return Message(
            id=self.account.new_id(from_me=mine),
            chat=chat_id,
            from_me=mine,
            author=self._author(line.who, chat_id),
            time=time,
            text=text,
            kind=line.kind,
            media=file,
            quoted=tags.get(line.quotes) if line.quotes else None,
            mentions=mentions,
            extra=more or None,
            reactions={self._author(who, chat_id): (emoji, time + 45) for who, emoji in line.reactions} or None,
            edited=None if edited is None else time + edited,
            deleted=deleted,
            server_id=len(tags) + 100 if chat_id.endswith("@newsletter") else 0,
        )

    def _file(self, more: dict[str, Any]) -> Media | None:
        kind = more.pop("file", None)
        if kind is None:
            return None
        mimetype, data = {
            "jpeg": ("image/jpeg", sample_files.jpeg()),
            "png": ("image/png", sample_files.png()),
            "webp": ("image/webp", sample_files.webp()),
            "ogg": ("audio/ogg; codecs=opus", sample_files.ogg()),
            "mp4": ("video/mp4", sample_files.mp4()),
            "pdf": ("application/pdf", sample_files.pdf(f"{more.get('filename')}")),
            "txt": ("text/plain", b"1. Press text\n2. Status page\n3. Launch on the 14th\n"),
            "csv": ("text/csv", b"day,visits\nMon,812\nTue,934\nWed,1021\n"),
        }[kind]
        return Media(mimetype, data, more.pop("filename", None), more.pop("seconds", None), more.pop("gone", None))

    def _small_talk(self, count: int) -> None:
        """Fill the chats with older messages, a day or more back, so that the scripted ones stay the latest."""
        account, rng = self.account, self.rng
        people = [who.key for who in PEOPLE if who.key not in ("stranger", "nameless", "nameless2")]
        groups = [circle.key for circle in GROUPS if not circle.announce]
        made: list[Message] = []
        while count > 0:
            key = rng.choice(people if rng.random() < 0.75 else groups)
            chat_id = self.ids[key]
            first = rng.choice(account_members(account, chat_id)) if key in groups else self._author(key, chat_id)
            ask, reply = rng.choice(SMALL_TALK)
            mine = rng.random() < 0.4
            me = self._author("me", chat_id)
            time = self.now - rng.randrange(12 * DAY, 70 * DAY)
            pair = [(me if mine else first, ask), (first if mine else me, reply)]
            for author, text in pair[:count]:
                made.append(self._talk(chat_id, author, time, text))
                time += rng.randrange(1, 50) * MINUTE
                count -= 1
        account.add_all(made)

    def _talk(self, chat_id: str, author: str, time: int, text: str) -> Message:
        mine = self.account.is_me(author)
        picture = self.rng.random() < 0.05
        return Message(
            id=self.account.new_id(from_me=mine),
            chat=chat_id,
            from_me=mine,
            author=author,
            time=time,
            text=text,
            kind="image" if picture else "text",
            media=Media("image/jpeg", sample_files.jpeg(tint=self.rng.randrange(0, 250, 50))) if picture else None,
        )

    def _leave_unread(self, chat: Chat, count: int) -> None:
        incoming = [message for message in chat.messages if not message.from_me][-count:]
        for message in incoming:
            message.ack = 2
        chat.unread = len(incoming)


def account_members(account: Account, group_id: str) -> list[str]:
    """The other members of a group, in its id form."""
    group = account.groups[group_id]
    listed = []
    for person_id in group.members:
        person = account.people[person_id]
        if not account.is_me(person_id):
            listed.append(person.lid if group.lids and person.lid else person_id)
    return listed


def invite_code(rng: random.Random) -> str:
    """22 characters, as in an invite link."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(rng.choice(letters) for _ in range(22))
