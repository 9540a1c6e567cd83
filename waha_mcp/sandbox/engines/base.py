"""The answers that every engine must give, and the parts they share: ids, pictures, `WAMedia`.

Answers to changes have the form of most engines here; an engine with another form overrides them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from waha_mcp.sandbox.account import Account, Channel, Chat, Filter, Group, Message, Person
from waha_mcp.sandbox.answers import Crash, not_implemented
from waha_mcp.sandbox.engines.engine_content import noise


class Engine(ABC):
    """How one engine forms its answers. `lacks` are the operations that it answers with 501."""

    name: ClassVar[str]
    LACKS: ClassVar[frozenset[str]]
    #: Whether `merge` joins the two chats of one person, that of the number and that of the hidden id.
    merges: ClassVar[bool] = True
    #: Whether marking a chat as read marks all of it, without listing the messages.
    reads_whole_chats: ClassVar[bool] = False
    #: Whether a status message may name who sees it.
    shows_status_to_some: ClassVar[bool] = True
    #: Whether a channel is found by the code of its invite link.
    finds_channels_by_code: ClassVar[bool] = True
    #: Whether the presence of an offline person includes the time last seen.
    tells_last_seen: ClassVar[bool] = True

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url
        self.lacks = set(self.LACKS)

    # Ids

    def message_id(self, account: Account, message: Message) -> str:
        """WAHA's serialised id: direction, chat, message, and in groups the member."""
        base = f"{str(message.from_me).lower()}_{message.chat}_{message.id}"
        return f"{base}_{message.author}" if in_group(message) else base

    def finds(self, account: Account, message: Message, message_id: str) -> bool:
        """Whether the id in a request denotes this message."""
        return True

    def picture(self, account: Account, chat_id: str) -> str | None:
        if not account.has_picture(chat_id):
            return None
        return f"https://pps.whatsapp.net/v/t61.24694-24/{noise(chat_id, size=9)}_n.jpg?oh=01_Q5&oe=6A1B".replace(
            "+", "-"
        )

    # Messages

    def media(self, account: Account, message: Message, *, session: str, download: bool) -> dict[str, Any] | None:
        """`WAMedia` of a message: None without a file, or if no download was requested."""
        media = message.media
        if media is None or message.deleted or not download:
            return None
        url = None if media.error else f"{self.public_url}/api/files/{session}/{message.id}.{media.extension}"
        error = {"message": media.error, "name": "DownloadError"} if media.error else None
        return {"url": url, "mimetype": media.mimetype, "filename": media.filename, "s3": None, "error": error}

    @abstractmethod
    def message(
        self, account: Account, message: Message, *, session: str = "default", download: bool = False
    ) -> dict[str, Any]:
        """`WAMessage`, as this engine fills it."""

    def page(
        self,
        account: Account,
        chats: list[Chat] | None,
        *,
        limit: int | None,
        offset: int,
        wanted: Filter,
        ascending: bool,
    ) -> list[Message]:
        """The messages of a page that the engine returns."""
        found = account.page(chats, limit=limit, offset=offset, wanted=wanted, ascending=ascending)
        return [message for message in found if self.shows(account, message)]

    def shows(self, account: Account, message: Message) -> bool:
        """Whether reading a page returns this message."""
        return True

    @abstractmethod
    def check_filter(self, wanted: Filter, chat_id: str) -> None:
        """Refuse a read that this engine does not support."""

    # Answers to changes of messages

    @abstractmethod
    def sent(self, account: Account, message: Message) -> Any:
        """The answer to a send."""

    def sent_poll(self, account: Account, message: Message) -> Any:
        return self.message(account, message)

    def forwarded(self, account: Account, copy: Message) -> Any:
        return self.message(account, copy)

    def edited(self, account: Account, message: Message) -> Any:
        return self.sent(account, message)

    def deleted(self, account: Account, message: Message) -> Any:
        return self.sent(account, message)

    def reacted(self, account: Account, reaction: Message) -> Any:
        return self.sent(account, reaction)

    def voted(self, account: Account, poll: Message) -> Any:
        return {"id": self.message_id(account, poll)}

    # Chats and contacts

    @abstractmethod
    def chat(self, account: Account, chat: Chat, *, overview: bool) -> dict[str, Any]:
        """The engine's own chat; `overview` is `_chat` of the overview."""

    def chat_name(self, account: Account, chat_id: str) -> str | None:
        """The name of a chat in the overview."""
        return account.name_of(chat_id)

    @abstractmethod
    def contact(self, account: Account, person: Person, *, as_lid: bool = False) -> dict[str, Any]: ...

    def listed_contacts(self, account: Account) -> list[tuple[Person, bool]]:
        """All contacts, each with whether it is listed by its hidden id; some people are listed by both."""
        people = account.people.values()
        return [(each, False) for each in people] + [(each, True) for each in people if each.twin_listed]

    def unknown_contact(self, account: Account, any_id: str) -> Any:
        """The answer to a request for an unknown person."""
        return None

    def number_exists(self, person: Person) -> dict[str, Any]:
        return {"numberExists": True, "chatId": person.id, "pn": person.id}

    @abstractmethod
    def me(self, account: Account) -> dict[str, Any]: ...

    def presence_id(self, account: Account, chat_id: str) -> str:
        """The id under which the presence in a chat is returned."""
        return chat_id

    # Groups

    @abstractmethod
    def group(self, account: Account, group: Group, *, participants: bool = True) -> dict[str, Any]: ...

    def listed_groups(self, account: Account) -> list[Group]:
        return list(account.groups.values())

    @abstractmethod
    def groups(self, groups: list[dict[str, Any]]) -> Any:
        """All groups, as the engine lists them."""

    def one_group(self, account: Account, group: Group | None) -> Any:
        """One group by its id; None if it is unknown."""
        return None if group is None else self.group(account, group)

    def new_group(self, account: Account, group: Group) -> Any:
        return self.group(account, group)

    def invited_group(self, account: Account, group: Group) -> Any:
        """A group as its invite link shows it."""
        return self.group(account, group, participants=False)

    @abstractmethod
    def participants(self, account: Account, group: Group) -> list[dict[str, Any]]: ...

    def members(self, account: Account, group: Group) -> list[dict[str, Any]]:
        """`GroupParticipant` of WAHA, one per member."""
        return [
            {
                "id": self.member_id(account, group, person_id),
                "pn": person_id if person_id.endswith("@c.us") else None,
                "role": role,
            }
            for person_id, role in group.members.items()
        ]

    def join_request(self, account: Account, group: Group, person_id: str, time: int) -> dict[str, Any]:
        """`GroupJoinRequest` of WAHA."""
        return {
            "requesterId": self.member_id(account, group, person_id),
            "requesterPn": person_id,
            "addedById": None,
            "parentGroupId": None,
            "requestMethod": "invite_link",
            "timestamp": time,
        }

    @abstractmethod
    def participant_results(self, ids: list[str], change: str) -> Any:
        """The answer to a change of members; `change` is `add`, `remove`, `promote` or `demote`."""

    def member_id(self, account: Account, group: Group, person_id: str) -> str:
        """How a group names a member: by `@lid` if the group hides numbers."""
        person = account.person(person_id)
        return person.lid if group.lids and person and person.lid else person_id

    # Channels

    def channel(self, channel: Channel) -> dict[str, Any]:
        """`Channel` of WAHA."""
        return {
            "id": channel.id,
            "name": channel.name,
            "description": channel.description,
            "invite": f"https://whatsapp.com/channel/{channel.invite}",
            "preview": f"https://mmg.whatsapp.net/m1/v/t24/{channel.invite}",
            "picture": None,
            "verified": channel.verified,
            "role": channel.role,
            "subscribersCount": channel.subscribers,
        }

    def own_channel(self, channel: Channel) -> dict[str, Any]:
        """A channel as in the list of those that the account owns or follows."""
        return self.channel(channel)

    def found_channel(self, channel: Channel) -> dict[str, Any]:
        """A channel requested by its id or by the code of its invite link."""
        return self.channel(channel)

    def unknown_channel(self, wanted: str) -> Exception:
        return Crash("Not Found", "GraphQLError")

    def channel_numbers(self, channel: Channel, message: Message) -> dict[str, Any]:
        """The fields of a preview besides the post."""
        return {
            "reactions": {"👍": 7 + message.server_id % 5, "❤️": 3},
            "viewCount": channel.subscribers // 3,
        }

    def refuse(self, detail: str) -> Exception:
        return not_implemented(self.name, detail)


def in_group(message: Message) -> bool:
    """Whether several people write in this message's chat, so that its id includes the author."""
    return message.chat.endswith(("@g.us", "@broadcast"))
