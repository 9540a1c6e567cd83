"""Labels and the chats that have them."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.account import Label
from waha_mcp.sandbox.answers import bad_parameters, http_error
from waha_mcp.sandbox.handlers.lookups import known_chat_id
from waha_mcp.sandbox.happenings import ChatLabelled, LabelChanged
from waha_mcp.sandbox.registry import Call, handles

#: WAHA's map of a label's color number to the color that WhatsApp shows.
COLORS = (
    "#ff9485", "#64c4ff", "#ffd429", "#dfaef0", "#99b6c1", "#55ccb3", "#ff9dff", "#d3a91d", "#6d7cce", "#d7e752",
    "#00d0e2", "#ffc5c7", "#93ceac", "#f74848", "#00a0f2", "#83e422", "#ffaf04", "#b5ebff", "#9ba6ff", "#9368cf",
)  # fmt: skip
LIMIT = 20


def as_json(label: Label) -> dict[str, Any]:
    return {"id": label.id, "name": label.name, "color": label.color, "colorHex": COLORS[label.color]}


def color_of(call: Call) -> int:
    """The color in a body, by number or by hex value; the first if none is given."""
    body = call.body
    if body.get("color") is not None:
        color = body["color"]
        if not isinstance(color, int) or not 0 <= color < len(COLORS):
            raise bad_parameters(["color must be one of the following values: 0-19"])
        return color
    shade = (body.get("colorHex") or COLORS[0]).lower()
    if shade not in COLORS:
        raise bad_parameters(["colorHex must be a known label color"])
    return COLORS.index(shade)


def existing(call: Call) -> Label:
    label = call.account.labels.get(call.path["labelId"])
    if label is None:
        raise http_error(404, "Label not found")
    return label


@handles("LabelsController_getAll")
def every(call: Call) -> Any:
    return [as_json(label) for label in call.account.labels.values()]


@handles("LabelsController_create")
def create(call: Call) -> Any:
    labels = call.account.labels
    if len(labels) >= LIMIT:
        raise http_error(422, f"Maximum {LIMIT} labels allowed")
    if any(label.name == call.body["name"] for label in labels.values()):
        raise http_error(422, f"Label with '{call.body['name']}' already exists")
    label_id = str(max(map(int, labels), default=0) + 1)
    label = labels[label_id] = Label(label_id, call.body["name"], color_of(call))
    call.emit(LabelChanged(as_json(label)))
    return as_json(label)


@handles("LabelsController_update")
def update(call: Call) -> Any:
    label = existing(call)
    label.name, label.color = call.body["name"], color_of(call)
    call.emit(LabelChanged(as_json(label)))
    return as_json(label)


@handles("LabelsController_delete")
def delete(call: Call) -> Any:
    label = existing(call)
    del call.account.labels[label.id]
    for chat in call.account.chats.values():
        chat.labels.discard(label.id)
    call.emit(LabelChanged(as_json(label), deleted=True))
    return {"result": True}


@handles("LabelsController_getChatLabels")
def of_chat(call: Call) -> Any:
    account = call.account
    carried = {label for chat in account.joined(known_chat_id(account, call.path["chatId"])) for label in chat.labels}
    return [as_json(account.labels[label]) for label in sorted(carried)]


@handles("LabelsController_putChatLabels")
def put(call: Call) -> Any:
    """The given labels replace all labels of the chat."""
    account = call.account
    wanted = {str(label["id"]) for label in call.body["labels"]}
    if wanted - account.labels.keys():
        raise http_error(404, "Label not found")
    chat_id = known_chat_id(account, call.path["chatId"])
    for chat in account.joined(chat_id) or [account.chat(chat_id, int(call.sandbox.now()))]:
        before, chat.labels = chat.labels, set(wanted)
        for each in sorted(before ^ wanted):
            call.emit(ChatLabelled(chat.id, as_json(account.labels[each]), added=each in wanted))


@handles("LabelsController_getChatsByLabel")
def chats(call: Call) -> Any:
    label = existing(call)
    return [
        call.engine.chat(call.account, chat, overview=False)
        for chat in call.account.ordered_chats()
        if label.id in chat.labels
    ]
