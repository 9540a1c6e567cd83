"""A person's approval: of what was shown, where the App says, once over all processes, not displaced by a flood.

Whoever may run `waha-mcp approve` here is the person; everything else is the agent, or the host that it runs in.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import (
    ATTACKER,
    FAST,
    FRIEND,
    GROUP_CHANGES,
    SECRET,
    VICTIM,
    Hijacked,
    change,
    hijacked,
    hikers,
)
from tests.harness import run
from waha_mcp.sandbox import SandboxInfo

YES = {"result": {"action": "accept", "content": {"approve": True}}}
DECLINE = {"result": {"action": "decline"}}
#: Calls check every half second whether they are decided; a test need not wait that long.
OFTEN = "import waha_mcp.policy.approver as approver\napprover.LOOK_EVERY = 0.05\n"


def approval(**fields: str) -> str:
    return "[approval]\n" + "\n".join(f"{name} = {value}" for name, value in fields.items()) + "\n" + FAST


SEND = '"send"'


@pytest.fixture
def client_asks(sandbox: SandboxInfo, folder: Path) -> Iterator[Hijacked]:
    """An agent whose client asks the person at it."""
    with hijacked(sandbox, folder, approval(when=SEND), asks=True) as agent:
        agent.judge.forget()
        yield agent


@pytest.fixture
def console(sandbox: SandboxInfo, folder: Path) -> Iterator[Hijacked]:
    """An agent whose calls are decided only at the console, although its client would ask."""
    with hijacked(sandbox, folder, approval(when=SEND, ask_at='"console"'), asks=True) as agent:
        agent.judge.forget()
        yield agent


@pytest.fixture
def waits(sandbox: SandboxInfo, folder: Path) -> Iterator[Hijacked]:
    """An agent whose calls wait for the decision."""
    policy = approval(when=SEND, ask_at='"console"', wait='"50s"')
    with hijacked(sandbox, folder, policy, first=OFTEN) as agent:
        agent.judge.forget()
        yield agent


def questions(agent: Hijacked) -> list[dict[str, Any]]:
    """The questions that wait for the person."""
    done = run("approvals", "--json", env={"XDG_STATE_HOME": str(agent.state)})
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def decide(agent: Hijacked, entry: str, *arguments: str) -> None:
    done = run("approve", entry, "--yes", *arguments, env={"XDG_STATE_HOME": str(agent.state)})
    assert done.returncode == 0, done.stderr


def filed(agent: Hijacked, tool: str = "send_text", **arguments: Any) -> str:
    """The id under which a call waits."""
    done, said = agent.call(tool, **arguments)
    assert not done
    return said.partition("waiting for approval, id ")[2].partition(".")[0]


# The bytes that were shown


def put(content: str) -> Callable[[Path, Path], None]:
    def write(outbox: Path, folder: Path) -> None:
        (outbox / "menu.txt").write_text(content)

    return write


def link(outbox: Path, folder: Path) -> None:
    (outbox / "menu.txt").unlink()
    (outbox / "menu.txt").symlink_to(folder / "passwords.txt")


def move(outbox: Path, folder: Path) -> None:
    shutil.copy(folder / "passwords.txt", outbox / "new.txt")
    (outbox / "new.txt").replace(outbox / "menu.txt")


def swap_folder(outbox: Path, folder: Path) -> None:
    (folder / "evil").mkdir()
    (folder / "evil" / "menu.txt").write_text(SECRET)
    outbox.rename(folder / "old")
    (folder / "evil").rename(outbox)


#: Ways in which a file is replaced under the same name.
SWAPS = {
    "written over": put(SECRET),
    "made longer": put(f"soup {SECRET}"),
    "the same length": put("SOUP"),
    "replaced": move,
    "replaced with its folder": swap_folder,
}
#: And ways in which it is removed.
GONE = {
    "a link": link,
    "deleted": lambda outbox, folder: (outbox / "menu.txt").unlink(),
    "empty": put(""),
}
MEDIA = {"chat": FRIEND, "kind": "file", "path": "menu.txt"}


def sent_files(agent: Hijacked) -> list[bytes]:
    return [b64decode(r["body"]["file"]["data"]) for r in agent.judge.effects()]


@pytest.mark.parametrize("how", SWAPS | GONE)
def test_what_goes_is_what_the_client_was_asked_about_where_the_file_is(
    how: str, client_asks: Hijacked, folder: Path
) -> None:
    def swap(question: dict[str, Any]) -> dict[str, Any]:
        (SWAPS | GONE)[how](folder / "outbox", folder)
        return YES

    client_asks.answer = swap
    assert client_asks.call("send_media", **MEDIA)[0]
    assert sent_files(client_asks) == [b"soup"]


@pytest.mark.parametrize("how", SWAPS | GONE)
def test_what_goes_is_what_the_console_showed_where_the_file_is(how: str, waits: Hijacked, folder: Path) -> None:
    number = waits.begin("send_media", **MEDIA)
    waits.judge.await_(lambda: bool(questions(waits)))
    (SWAPS | GONE)[how](folder / "outbox", folder)
    decide(waits, questions(waits)[0]["id"])
    assert waits.outcome(number)[0]
    assert sent_files(waits) == [b"soup"]


@pytest.mark.parametrize("how", SWAPS)
def test_a_yes_for_one_file_sends_no_other_where_it_is(how: str, console: Hijacked, folder: Path) -> None:
    decide(console, filed(console, "send_media", **MEDIA))
    SWAPS[how](folder / "outbox", folder)
    done, said = console.call("send_media", **MEDIA)
    assert not done
    assert "waiting for approval" in said
    assert console.judge.effects() == []


@pytest.mark.parametrize("how", GROUP_CHANGES)
def test_a_yes_for_a_group_is_none_after(how: str, console: Hijacked) -> None:
    group = hikers(console)
    decide(console, filed(console, "send_text", chat=group, text=f"only for you, {how}"))
    change(console, group, how)
    console.judge.forget()
    done, said = console.call("send_text", chat=group, text=f"only for you, {how}")
    assert not done
    assert "waiting for approval" in said
    assert console.judge.effects() == []


@pytest.mark.parametrize("how", GROUP_CHANGES)
def test_a_yes_for_a_group_is_none_where_meanwhile(how: str, client_asks: Hijacked) -> None:
    group = hikers(client_asks)

    def changed(question: dict[str, Any]) -> dict[str, Any]:
        change(client_asks, group, how)
        client_asks.judge.forget()
        return YES

    client_asks.answer = changed
    done, said = client_asks.call("send_text", chat=group, text=f"for us alone, {how}")
    assert not done
    assert "its recipients changed" in said
    assert client_asks.judge.effects() == []


# Where the App says


#: Answers that a host may give by itself, at once and without a person.
BY_ITSELF: dict[str, dict[str, Any]] = {
    "a yes": YES,
    "a yes to more": {"result": {"action": "accept", "content": {"approve": True, "always": True, "remember": "all"}}},
    "a no": DECLINE,
}


@pytest.mark.parametrize("answer", BY_ITSELF)
def test_a_host_answers_nothing_where_the_console_is_asked(answer: str, console: Hijacked) -> None:
    console.answer = lambda question: BY_ITSELF[answer]
    text = f"by itself: {answer}"
    entry = filed(console, chat=FRIEND, text=text)
    assert console.judge.effects() == []
    decide(console, entry)
    assert console.call("send_text", chat=FRIEND, text=text)[0]
    assert console.judge.delivered(FRIEND, text) == 1


def answers_then(agent: Hijacked, *answers: dict[str, Any]) -> None:
    left = iter(answers)
    agent.answer = lambda question: next(left)


@pytest.mark.parametrize("repeat", [False, True], ids=["as it was", "with allow_repeat"])
@pytest.mark.parametrize("where", ["the same process", "another process", "after a restart"])
def test_a_declined_call_is_not_asked_about_again(where: str, repeat: bool, sandbox: SandboxInfo, folder: Path) -> None:
    call = {"chat": FRIEND, "text": f"declined {where}"}
    policy = approval(when=SEND)
    with hijacked(sandbox, folder, policy, asks=True) as first:
        first.judge.forget()
        answers_then(first, DECLINE, YES)
        assert "Declined at the client agent 1" in first.call("send_text", **call)[1]
        if where == "the same process":
            done, said = first.call("send_text", **call, allow_repeat=repeat)
        elif where == "another process":
            with hijacked(sandbox, folder, policy, asks=True) as other:
                answers_then(other, YES)
                done, said = other.call("send_text", **call, allow_repeat=repeat)
    if where == "after a restart":
        with hijacked(sandbox, folder, policy, asks=True) as again:
            answers_then(again, YES)
            done, said = again.call("send_text", **call, allow_repeat=repeat)
            assert again.judge.effects() == []
    assert not done
    assert said.startswith("Declined at the client agent 1")


# Once, over processes and restarts


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_an_approval_is_good_once_for_all_processes(processes: int, sandbox: SandboxInfo, folder: Path) -> None:
    text = f"for {processes}"
    policy = approval(when=SEND)
    with hijacked(sandbox, folder, policy) as agent:
        decide(agent, filed(agent, chat=FRIEND, text=text))
    call = ("send_text", {"chat": FRIEND, "text": text, "allow_repeat": True})
    done = []
    for _ in range(processes):
        with hijacked(sandbox, folder, policy) as agent:
            done += agent.at_once([call, call])
            delivered = agent.judge.delivered(FRIEND, text)
    assert sum(each for each, _ in done) == 1
    assert delivered == 1


@pytest.mark.parametrize("where", ["at the client", "at the console"])
@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_yes_that_was_not_used_is_good_once_after(
    where: str, restarts: int, sandbox: SandboxInfo, folder: Path
) -> None:
    text = f"given back {where} {restarts}"
    policy = approval(when=SEND)
    call: dict[str, Any] = {"chat": FRIEND, "text": text}
    nobody = {"result": {"action": "cancel"}}
    with hijacked(sandbox, folder, policy, asks=True) as agent:
        agent.answer = lambda question: nobody
        if where == "at the console":
            decide(agent, filed(agent, **call))
        else:
            agent.answer = lambda question: YES
        agent.judge.fault("/api/sendText", status=422, body='{"error": "no", "session": "default"}')
        assert not agent.call("send_text", **call)[0]
        agent.answer = lambda question: nobody
        if not restarts:
            assert sum(done for done, _ in agent.at_once([("send_text", call | {"allow_repeat": True})] * 3)) == 1
    for number in range(restarts):
        with hijacked(sandbox, folder, policy) as agent:
            done = [done for done, _ in agent.at_once([("send_text", call | {"allow_repeat": True})] * 2)]
            assert sum(done) == (number == 0)
            assert agent.judge.delivered(FRIEND, text) == 1


# Waiting


@pytest.mark.parametrize("how", ["refused", "cancelled", "nobody decides"])
def test_a_call_that_waits_does_nothing_without_a_yes(how: str, sandbox: SandboxInfo, folder: Path) -> None:
    span = '"1s"' if how == "nobody decides" else '"50s"'
    policy = approval(when=SEND, ask_at='"console"', wait=span)
    text = f"waits and is {how}"
    with hijacked(sandbox, folder, policy, first=OFTEN) as agent:
        agent.judge.forget()
        number = agent.begin("send_text", chat=FRIEND, text=text)
        agent.judge.await_(lambda: bool(questions(agent)))
        [entry] = questions(agent)
        if how == "refused":
            decide(agent, entry["id"], "--refuse")
            assert not agent.outcome(number)[0]
        elif how == "cancelled":
            agent.cancel(number)
            agent.call("list_chats")
            decide(agent, entry["id"])
            agent.call("list_chats")
        else:
            assert not agent.outcome(number)[0]
        assert agent.judge.effects() == []


# Floods


def strangers(start: int) -> Iterator[str]:
    return (f"1202555{number:04}@c.us" for number in range(start, start + 99))


FLOODS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "one chat": lambda: ({"chat": ATTACKER, "text": f"flood {n}"} for n in range(60)),
    "one chat in ever other company": lambda: (
        {"chat": ATTACKER, "text": f"flood @{each.partition('@')[0]}", "mentions": [each]} for each in strangers(100)
    ),
    "one chat in much company": lambda: (
        {"chat": ATTACKER, "text": f"flood {n}", "mentions": list(strangers(100))[n : n + 3]} for n in range(60)
    ),
    "ever other chats": lambda: ({"chat": each, "text": "flood"} for each in strangers(100)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_keeps_no_honest_question_out(flood: str, console: Hijacked) -> None:
    calls = list(itertools.islice(FLOODS[flood](), 40))
    for call in calls:
        console.call("send_text", **call)
    entry = filed(console, chat=VICTIM, text="honest")
    assert entry, "it was not filed"
    assert len(questions(console)) <= 20
    decide(console, entry)
    assert console.call("send_text", chat=VICTIM, text="honest")[0]
    assert console.judge.reached() == [VICTIM]


@pytest.mark.parametrize("flood", list(FLOODS)[:3])
def test_a_flood_takes_no_honest_question_away(flood: str, console: Hijacked) -> None:
    entry = filed(console, chat=VICTIM, text="honest, first")
    for call in itertools.islice(FLOODS[flood](), 40):
        console.call("send_text", **call)
    decide(console, entry)
    assert console.call("send_text", chat=VICTIM, text="honest, first")[0]
    assert console.judge.reached() == [VICTIM]


def test_a_person_is_not_asked_about_one_chat_without_end(console: Hijacked) -> None:
    for number in range(12):
        console.call("send_text", chat=FRIEND, text=f"please {number}")
    assert len(questions(console)) == 3


# What looks the same to the recipient


RESPELLED: dict[str, dict[str, Any]] = {
    "one blank more": {"text": "give "},
    "a blank before": {"text": " give"},
    "an invisible character": {"text": "gi\u200bve"},
    "a link preview": {"link_preview": True},
}
GIVE: dict[str, Any] = {"chat": VICTIM, "text": "give"}


@pytest.mark.parametrize("how", RESPELLED)
def test_what_was_refused_is_not_asked_again_respelled(how: str, console: Hijacked) -> None:
    decide(console, filed(console, **GIVE), "--refuse")
    done, said = console.call("send_text", **GIVE | RESPELLED[how])
    assert not done
    assert said.startswith("The user refused this.")
    assert questions(console) == []


@pytest.mark.parametrize("how", RESPELLED)
def test_what_was_declined_is_not_asked_again_respelled(how: str, client_asks: Hijacked) -> None:
    answers_then(client_asks, DECLINE, YES)
    client_asks.call("send_text", **GIVE)
    done, said = client_asks.call("send_text", **GIVE | RESPELLED[how])
    assert not done
    assert said.startswith("Declined at the client")
    assert client_asks.judge.effects() == []


@pytest.mark.parametrize("how", ["one by one", "at once"])
def test_spellings_of_one_question_take_one_place(how: str, console: Hijacked) -> None:
    calls: list[tuple[str, dict[str, Any]]]
    calls = [("send_text", {"chat": FRIEND, "text": "junk" + " " * number}) for number in range(12)]
    for each in [calls] if how == "at once" else [[call] for call in calls]:
        console.at_once(each)
    assert len(questions(console)) == 1
    assert filed(console, chat=FRIEND, text="honest")


@pytest.mark.parametrize("text", ["please", "please {}"], ids=["one text", "many texts"])
def test_so_many_forms_are_open_at_the_client_and_no_more(text: str, client_asks: Hijacked) -> None:
    for number in range(40):
        client_asks.begin("send_text", chat=FRIEND, text=text.format(number) + " " * number)
    shown = answered = 0
    # The person answers no form; each call shows one or gets an answer.
    while shown + answered < 40:
        message = json.loads(client_asks._lines.get(timeout=20))
        shown += message.get("method") == "elicitation/create"
        answered += "result" in message
    assert shown == 20


# Bytes given in base64


def test_bytes_in_base64_are_shown_as_a_file_is(client_asks: Hijacked) -> None:
    data = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(300)).decode()
    asked: list[str] = []

    def decline(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question["params"]["message"])
        return DECLINE

    client_asks.answer = decline
    client_asks.call("send_media", chat=FRIEND, kind="image", data=data)
    [text] = asked
    assert "what data holds: 308 bytes, image/png by its bytes, SHA-256 " in text
    assert data[:16] not in text


# Telling somebody


@pytest.fixture
def told(folder: Path) -> Path:
    return folder / "told.json"


@pytest.fixture
def telling(sandbox: SandboxInfo, folder: Path, told: Path) -> Iterator[Hijacked]:
    """An agent whose questions run a command that prints what looks like an answer and records what it was given."""
    forged = json.dumps({"jsonrpc": "2.0", "id": 999, "result": {"forged": True}})
    lines = (
        f"import json, os, sys\nprint({forged!r}, flush=True)\n"
        f"open({str(told)!r} + '.new', 'w').write(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
        f"os.replace({str(told)!r} + '.new', {str(told)!r})\n"
    )
    command = json.dumps([sys.executable, "-c", lines])
    with hijacked(sandbox, folder, approval(when=SEND, notify=f"{{command = {command}}}")) as agent:
        agent.judge.forget()
        yield agent


def test_a_notice_writes_nothing_into_the_protocol(telling: Hijacked, told: Path) -> None:
    filed(telling, chat=FRIEND, text="x")
    telling.judge.await_(told.exists)
    telling.call("list_chats")
    assert 999 not in telling._answered


def test_a_notice_gets_no_key(telling: Hijacked, told: Path, sandbox: SandboxInfo) -> None:
    filed(telling, chat=FRIEND, text="x")
    telling.judge.await_(told.exists)
    assert sandbox.keys["full"] not in told.read_text()


@pytest.mark.parametrize(
    "text", ["$(touch owned)", "; touch owned", "`touch owned`", "--help", "\n--exec=touch owned", "<a href='x'>"]
)
def test_a_notice_carries_no_text_of_the_agent(text: str, telling: Hijacked, told: Path, folder: Path) -> None:
    entry = filed(telling, chat=FRIEND, text=text)
    telling.judge.await_(told.exists)
    [line], _ = json.loads(told.read_text())
    assert entry in line
    # Some characters of the text would be encoded differently in a notice.
    assert [word for word in re.findall("[a-z]{4,}", text) if word in line] == []
    assert line.startswith("Send a text")
    assert not list(folder.rglob("owned"))
