"""A pause holds, every effect leaves a line, and withdrawn rights are gone."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.attacks.front import Front
from tests.attacks.hijacked import FAST, FRIEND, SECRET, VICTIM, Hijacked, hijacked, started
from tests.harness import run
from waha_mcp.sandbox import SandboxInfo

YES = {"result": {"action": "accept", "content": {"approve": True}}}
EVERY = ("read", "send", "control", "setting", "app", "delete")
GROUP = "120363000000000000@g.us"
MESSAGE = f"true_{FRIEND}_3EB0C767D26A1B2E5F4C"


def command(agent: Hijacked, *arguments: str, code: int = 0) -> str:
    """The output of the user's command."""
    done = run(*arguments, env={"XDG_STATE_HOME": str(agent.state)})
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@contextmanager
def beside(agent: Hijacked, app: Path, first: str = "") -> Iterator[Hijacked]:
    """Another server process of an agent's App."""
    key = agent.judge.sandbox.keys["full"]
    other = Hijacked(agent.judge, app, agent.state, key=key, launch=started(first), asks=False)
    try:
        yield other
    finally:
        other.close()


def trail(agent: Hijacked) -> list[dict[str, Any]]:
    """The lines of all Apps' trails, including rotated files."""
    files = sorted(agent.state.rglob("trail.jsonl*"))
    return [json.loads(line) for file in files for line in file.read_text().split("\n") if line.strip()]


# The kill switch


@pytest.fixture(scope="module")
def stopped(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may do everything, and whose user has paused it."""
    with hijacked(sandbox, tmp_path_factory.mktemp("stopped"), FAST, actions=EVERY) as agent:
        assert agent.call("send_text", chat=FRIEND, text="before the pause")[0]
        command(agent, "pause")
        yield agent


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "a text": ("send_text", {"chat": FRIEND, "text": "x"}),
    "a repeat": ("send_text", {"chat": FRIEND, "text": "before the pause", "allow_repeat": True}),
    "a file": ("send_media", {"chat": FRIEND, "kind": "file", "path": "menu.txt"}),
    "a poll": ("send_poll", {"chat": FRIEND, "question": "Now?", "options": ["yes", "no"]}),
    "a place": ("send_location", {"chat": FRIEND, "latitude": 1.0, "longitude": 1.0}),
    "a read mark": ("mark_read", {"chat": FRIEND}),
    "typing": ("set_typing", {"chat": FRIEND, "state": "typing"}),
    "an archived chat": ("archive_chat", {"chat": FRIEND, "archived": True}),
    "a story": ("post_text_status", {"text": "x"}),
    "a new name": ("update_profile", {"name": "x"}),
    "a blocked person": ("block_contact", {"contact": FRIEND, "blocked": True}),
    "a new group": ("create_group", {"subject": "x", "participants": [FRIEND]}),
    "a link to a group": ("join_group", {"invite": "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"}),
    "a session that restarts": ("control_session", {"do": "restart"}),
    "a file that WAHA converts": ("convert_media", {"kind": "voice", "save_as": "x", "path": "menu.txt"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_paused_does_nothing(way: str, stopped: Hijacked) -> None:
    tool, arguments = WAYS[way]
    stopped.judge.forget()
    done, said = stopped.call(tool, **arguments)
    assert not done
    assert stopped.judge.effects() == []
    assert "paused by the user since" in said
    assert "only the user can resume (waha-mcp resume)" in said


def test_what_is_paused_still_reads(stopped: Hijacked) -> None:
    assert stopped.call("list_chats")[0]
    done, said = stopped.call("get_status")
    assert done
    assert "paused by the user since" in json.loads(said)["paused"]


def test_a_pause_holds_for_a_second_process_and_after_a_restart(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        with beside(agent, tmp_path / "app.toml") as second:
            assert agent.call("send_text", chat=FRIEND, text="one")[0]
            assert second.call("send_text", chat=FRIEND, text="two")[0]
            command(agent, "pause")
            agent.judge.forget()
            for number, each in enumerate((agent, second)):
                assert not each.call("send_text", chat=FRIEND, text=f"number {number}")[0]
        with beside(agent, tmp_path / "app.toml") as third:
            assert not [name for name in third.tools if "resume" in name or "pause" in name]
            for tool in ("resume", "pause", "approve"):
                assert not third.call(tool)[0]
            assert not third.call("send_text", chat=FRIEND, text="three")[0]
            assert agent.judge.effects() == []
            command(agent, "resume")
            assert third.call("send_text", chat=FRIEND, text="four")[0]


def test_the_resume_of_one_app_does_not_lift_the_pause_of_all(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        agent.call("list_chats")
        command(agent, "pause", tmp_path.name)
        command(agent, "pause")
        assert "may not act yet" in command(agent, "resume", tmp_path.name, code=1)
        agent.judge.forget()
        assert not agent.call("send_text", chat=FRIEND, text="x")[0]
        assert agent.judge.effects() == []


#: The pause comes while a call waits: the policy that makes it wait.
WAITING = {
    "for the gap": '[pace]\ntotal = ""\nchat = ""\nfirst_contacts = ""\ngap = [3, 3]\n',
    "while it types": "humanize = true\n" + FAST,
    "for the id of its message": FAST,
}


@pytest.mark.parametrize("wait", WAITING)
def test_what_waits_when_the_pause_comes_does_not_leave(
    wait: str, sandbox: SandboxInfo, way: Front, tmp_path: Path
) -> None:
    with hijacked(sandbox, tmp_path, WAITING[wait], url=way.url) as agent:
        agent.call("list_chats")
        waits, goes = threading.Event(), threading.Event()

        def held(connection: Any, hand_on: Any) -> None:
            waits.set()
            goes.wait(20)
            connection.sendall(hand_on())

        way.rules.clear()
        if wait == "for the gap":
            waits.set()
        else:
            way.rules["POST /api/startTyping" if "types" in wait else "GET /api/default/new-message-id"] = held
        for n in range(5):
            if wait == "for the gap":
                assert agent.call("send_text", chat=FRIEND, text=f"first {n}")[0]
            agent.judge.forget()
            number = agent.begin("send_text", chat=FRIEND, text=f"held {n}")
            assert waits.wait(20)
            command(agent, "pause")
            goes.set()
            done, said = agent.outcome(number)
            if not (done and wait == "for the gap"):
                break
            command(agent, "resume")  # on a busy machine the gap may be over before the command has started
        way.rules.clear()
        assert not done
        assert "paused by the user" in said
        assert [each for each in agent.judge.effects() if each["path"] == "/api/sendText"] == []
        assert agent.judge.delivered(FRIEND, f"held {n}") == 0


def test_what_a_person_was_asked_before_the_pause_does_not_leave_with_their_yes(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    with hijacked(sandbox, tmp_path, 'approval = "send"\n' + FAST, asks=True) as agent:
        agent.call("list_chats")

        def pauses(question: dict[str, Any]) -> dict[str, Any]:
            command(agent, "pause")
            return YES

        agent.answer = pauses
        agent.judge.forget()
        assert not agent.call("send_text", chat=FRIEND, text="asked")[0]
        assert agent.judge.effects() == []


@pytest.mark.parametrize("tool", ["archive_chat", "mark_unread"])
def test_nothing_leaves_while_a_pause_cannot_be_looked_up(tool: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, FAST) as agent:
        agent.call("list_chats")
        command(agent, "pause")
        (agent.state / "waha-mcp" / "store.sqlite").write_bytes(b"no store" * 1000)
        agent.judge.forget()
        assert not agent.call(tool, chat=FRIEND)[0]
        assert agent.judge.effects() == []


# The trail

KILLED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a text": ("send_text", {"chat": FRIEND, "text": SECRET}, "/api/sendText"),
    "a file": ("send_media", {"chat": FRIEND, "kind": "file", "path": "menu.txt"}, "/api/sendFile"),
    "a read mark": ("mark_read", {"chat": FRIEND}, f"/api/default/chats/{FRIEND}/messages/read"),
    "typing": ("set_typing", {"chat": FRIEND, "state": "typing"}, "/api/startTyping"),
}


@pytest.mark.parametrize("what", KILLED)
def test_a_process_killed_while_something_leaves_has_written_it_down(
    what: str, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    tool, arguments, path = KILLED[what]
    with hijacked(sandbox, tmp_path, FAST) as agent:
        agent.call("list_chats")
        agent.judge.forget()
        agent.judge.fault(path, late=0.5)
        agent.begin(tool, **arguments)
        agent.judge.await_(lambda: any(unquote(each["path"]) == path for each in agent.judge.requests()))
        os.kill(agent.pid, signal.SIGKILL)
        agent.judge.settle()
        shown = [json.loads(line) for line in command(agent, "log", "--app", str(tmp_path / "app.toml")).splitlines()]
        assert [(each["tool"], each["outcome"]) for each in shown if each["tool"] == tool] == [(tool, "unknown")]
        assert FRIEND in shown[-1]["chats"]
        assert SECRET not in json.dumps(trail(agent))


EARLY: dict[str, tuple[str, dict[str, Any]]] = {
    "a tool that there is not": ("send_telegram", {"text": SECRET}),
    "a tool that it may not have": ("delete_session", {}),
    "an argument too many": ("send_text", {"chat": FRIEND, "text": "x", "approved": SECRET}),
    "an argument too few": ("send_text", {"text": SECRET}),
    "an argument of another kind": ("send_text", {"chat": FRIEND, "text": [SECRET]}),
    "a name that is nobody's": ("send_text", {"chat": SECRET, "text": "x"}),
}


@pytest.mark.parametrize("what", EARLY)
def test_a_try_that_the_policy_never_saw_leaves_a_line_without_its_words(
    what: str, agent: Hijacked, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    tool, arguments = EARLY[what]
    with hijacked(sandbox, tmp_path, FAST) as probing:
        assert not probing.call(tool, **arguments)[0]
    [line] = trail(probing)
    assert (line["tool"], line["outcome"], line["client"]) == (tool, "refused", "agent 1")
    assert "KESTREL" not in json.dumps(line)


@pytest.mark.parametrize("where", ["in place of a tool", "in an argument", "in a text that is sent"])
def test_a_key_that_leaked_does_not_stand_in_the_trail(where: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    key = sandbox.keys["full"]
    with hijacked(sandbox, tmp_path, 'audit = "text"\n' + FAST) as agent:
        match where:
            case "in place of a tool":
                agent.call(key)
            case "in an argument":
                agent.call("send_text", chat=FRIEND, text="x", more={"key": [key]})
            case "in a text that is sent":
                agent.call("send_text", chat=FRIEND, text=f"the key is {key}")
    assert trail(agent)
    assert not any(key.encode() in file.read_bytes() for file in agent.state.rglob("trail*"))


#: Frequent rotations that take long.
SLOW_ROTATIONS = (
    "import os, time\n"
    "import waha_mcp.policy.audit as audit\n"
    "audit.MAX_BYTES, audit.KEPT = 1_500, 60\n"
    "replace = os.replace\n"
    "def slowly(*names):\n"
    "    time.sleep(0.03 if str(names[0]).endswith('trail.jsonl') else 0)\n"
    "    replace(*names)\n"
    "os.replace = slowly\n"
)


def test_agents_in_several_processes_cannot_push_each_others_lines_out(sandbox: SandboxInfo, tmp_path: Path) -> None:
    with ExitStack() as stack:
        agents = [stack.enter_context(hijacked(sandbox, tmp_path, FAST, first=SLOW_ROTATIONS))]
        agents += [stack.enter_context(beside(agents[0], tmp_path / "app.toml", SLOW_ROTATIONS)) for _ in range(2)]
        numbers = [(each, each.begin(f"none_{n}_{at}")) for at in range(80) for n, each in enumerate(agents)]
        for each, number in numbers:
            each.outcome(number)
    names = sorted(line["tool"] for line in trail(agents[0]))
    assert names == sorted(f"none_{n}_{at}" for at in range(80) for n in range(3))


# Withdrawn rights


@pytest.mark.parametrize("spelled", [FRIEND, "+1 (202) 555-0123", "001 202 555 0123"])
def test_what_was_forgotten_is_in_no_file(spelled: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    with hijacked(sandbox, tmp_path, 'audit = "text"\n[chats]\nsend = { ask = ["*"] }\n' + FAST) as agent:
        for chat in (FRIEND, VICTIM):
            agent.call("send_text", chat=chat, text=SECRET if chat == FRIEND else "nothing special")
            agent.call("get_messages", chat=chat)
        command(agent, "forget", spelled)
    kept = b"".join(file.read_bytes() for file in agent.state.rglob("*") if file.is_file())
    assert b"KESTREL" not in kept
    assert b"nothing special" in kept
    assert not any(FRIEND in json.dumps(line) for line in trail(agent))


@pytest.mark.parametrize("tool", ["send_text", "get_messages"])
def test_an_agent_with_the_old_key_can_do_nothing_any_more(tool: str, sandbox: SandboxInfo, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    env["WAHA_ADMIN_KEY"] = sandbox.admin_key
    made = run(
        "init", "--url", sandbox.url, "--yes", "--id", f"old-{tool}", "--session", "default", "--actions", "read,send",
        env=env,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    key = (tmp_path / "waha-mcp" / f"old-{tool}.key").read_text().strip()
    (tmp_path / "agent").mkdir()
    with hijacked(sandbox, tmp_path / "agent", FAST, key=key) as agent:
        assert agent.call("list_chats")[0]
        rotated = run("apps", "rotate", f"old-{tool}", env=env)
        assert rotated.returncode == 0, rotated.stderr
        agent.judge.forget()
        text = {"text": "with the old key"} if tool == "send_text" else {}
        assert not agent.call(tool, chat=FRIEND, **text)[0]
        assert agent.judge.reached() == []
