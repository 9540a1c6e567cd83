"""Items removed from results that were not requested by chat, if some chats may not be read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, create_model

from tests.policy.common import DAD, MAYA, SAM, bridge_with
from waha_mcp.policy import Refusal
from waha_mcp.policy.sweep import swept
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.waha.models import Attachment, Result

GROUP = "120363000000000001@g.us"


def readable(chat: str) -> bool:
    """Everybody except Dad's chat and strings that are no chat id."""
    return chat in (SAM, MAYA, GROUP)


class Item(Result):
    name: str
    id: str | int | None = None
    sender: str | None = None


class Page(Result):
    items: list[Item] = Field(default=[])
    ids: list[str] = Field(default=[])
    counts: dict[str, int] = Field(default={})
    inner: Page | None = None
    pages: list[Page] = Field(default=[])


OWNERS = ("id", "chat", "chat_id", "lid", "phone", "message", "message_id", "group", "channel", "contact")
WRITINGS = {
    "a chat id": DAD,
    "a chat id of another engine": "12025550101:3@s.whatsapp.net",
    "a number": "+12025550101",
    "a message id": f"false_{DAD}_3EB0C767D26A1B2E5F4C",
}


@pytest.mark.parametrize("owner", OWNERS)
def test_an_item_goes_by_whichever_field_says_whose_it_is(owner: str) -> None:
    fields: dict[str, Any] = {owner: (str, ...)}
    owned = create_model("Owned", __base__=Result, **fields)

    class Listed(Result):
        items: list[Result]

    found = swept(Listed(items=[owned(**{owner: DAD}), owned(**{owner: SAM})]), readable)
    assert isinstance(found, Listed)
    assert found.items == [owned(**{owner: SAM})]


@pytest.mark.parametrize("written", WRITINGS.values(), ids=WRITINGS)
def test_an_item_goes_in_whichever_way_its_chat_is_written(written: str) -> None:
    page = Page(items=[Item(name="hidden", id=written), Item(name="shown", id=SAM)], ids=[written, SAM])
    found = swept(page, readable)
    assert isinstance(found, Page)
    assert [each.name for each in found.items] == ["shown"]
    assert found.ids == [SAM]


@pytest.mark.parametrize(
    "value", ["15", "12025550101", "+1 and more", "tomorrow", "", 12025550101, None, f"false_{SAM}_3EB0"], ids=repr
)
def test_what_names_no_chat_that_is_hidden_stays(value: Any) -> None:
    texts = [value] if isinstance(value, str) else []
    page = Page(items=[Item(name="x", id=value)], ids=texts, counts=dict.fromkeys(texts, 1))
    assert swept(page, readable) == page


def test_who_wrote_an_item_does_not_hide_it() -> None:
    page = Page(items=[Item(name="x", id=GROUP, sender=DAD)])
    assert swept(page, readable) == page


def test_what_is_around_a_message_of_a_hidden_chat_goes_with_it() -> None:
    class Around(Result):
        message: Item

    class Listed(Result):
        items: list[Around]

    hidden, shown = (Around(message=Item(name="x", id=f"false_{chat}_3EB0")) for chat in (DAD, SAM))
    assert swept(Listed(items=[hidden, shown]), readable) == Listed(items=[shown])


def test_an_item_of_two_chats_goes_where_one_of_them_is_hidden() -> None:
    class Pair(Result):
        chat: str
        lid: str

    class Pairs(Result):
        pairs: list[Pair]

    pairs = [Pair(chat=SAM, lid=DAD), Pair(chat=DAD, lid=SAM), Pair(chat=SAM, lid=SAM)]
    assert swept(Pairs(pairs=pairs), readable).model_dump() == {"pairs": [{"chat": SAM, "lid": SAM}]}


def test_the_keys_of_a_mapping_are_chats_too() -> None:
    page = Page(counts={DAD: 1, SAM: 2, "all": 3})
    assert swept(page, readable) == Page(counts={SAM: 2, "all": 3})


def test_it_goes_at_any_depth() -> None:
    def page(*ids: str) -> Page:
        return Page(items=[Item(name="x", id=each) for each in ids], ids=list(ids))

    deep = Page(inner=page(DAD, SAM), pages=[Page(pages=[page(SAM, DAD)], inner=page(DAD))])
    assert swept(deep, readable) == Page(inner=page(SAM), pages=[Page(pages=[page(SAM)], inner=page())])


def test_what_goes_along_with_a_result_stays_with_it() -> None:
    picture = Attachment("image", "image/png", b"x")
    assert swept(Page(ids=[DAD]).attach(picture), readable).attachments == (picture,)


# At the gate

pytestmark = pytest.mark.anyio


async def test_an_answer_that_was_asked_for_by_chat_shows_all_its_people(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox) as bridge:
        group = (await bridge.call("list_groups", {})).model_dump()["groups"][0]["id"]
    async with bridge_with(sandbox, chats={"read": {"allow": [group]}}) as bridge:
        bridge.app = bridge.app.model_copy(update={"toolsets": frozenset({"all"})})
        people = (await bridge.call("list_participants", {"group": group})).model_dump()["participants"]
        assert len(people) > 1
        for asked in ({"group": group.replace("1203630", "1203631")}, {"group": "120363111111111111@g.us"}):
            with pytest.raises(Refusal) as refusal:
                await bridge.call("list_participants", asked)
            assert refusal.value.decision == "not readable"


def test_a_model_in_a_field_goes_whole_where_it_is_of_a_hidden_chat() -> None:
    class Holder(Result):
        item: Item | None = None

    for chat, kept in ((DAD, None), (SAM, Item(name="a", id=SAM))):
        found = swept(Holder(item=Item(name="a", id=chat)), readable)
        assert isinstance(found, Holder)
        assert found.item == kept


def test_an_answer_without_a_hidden_chat_stays_the_same_object() -> None:
    whole = Page(items=[Item(name="a", id=SAM)], inner=Page(ids=[MAYA]))
    assert swept(whole, readable) is whole
