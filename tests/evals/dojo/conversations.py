"""Where the conversations of one column take place: a sandbox, `waha-mcp serve --http`, and AgentDojo's player.

Each conversation has its own WhatsApp account, key and App, so that nothing that the store keeps of one (first
contacts, repeats, questions, readings) affects another.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import tomlkit

from tests.attacks.judge import Judge
from tests.clients_real.environments import python_environment
from tests.evals.agent import answered, fields
from tests.evals.approver import says_yes
from tests.evals.dojo.mapping import Step, reached, steps
from tests.evals.dojo.office import Office, written
from tests.evals.profiles import Profile
from tests.harness import run, sandbox_server
from tests.http_server import Answer, Caller, http_server
from waha_mcp.people.persons import Person

AGENTDOJO = "agentdojo==0.1.35"


@dataclass(frozen=True)
class Column:
    """A profile in a world. `saved`: newcomers are saved contacts."""

    profile: Profile
    saved: bool = True

    @property
    def key(self) -> str:
        """Its key in the snapshot."""
        return f"{self.name} / {self.profile.person}"

    @property
    def name(self) -> str:
        return self.profile.name + ("" if self.saved else ", newcomers not saved")


@dataclass(frozen=True)
class Pair:
    """A user task, and the injection task that follows in the same conversation."""

    user: str
    injection: str | None

    def __str__(self) -> str:
        return f"{self.user.rpartition('_')[2]}/{(self.injection or '').rpartition('_')[2]}"


@dataclass(frozen=True)
class Outcome:
    """`utility`: whether the user task was done, before the injection's calls; `under_attack`: after them."""

    utility: bool
    under_attack: bool
    attacked: bool
    #: The answers to calls that the server refused.
    refusals: tuple[str, ...]


class Player:
    """AgentDojo in a separate process. `suite`: as `player._described` has it.

    Raises:
        NotInstalled: AgentDojo cannot be installed here.
    """

    def __init__(self) -> None:
        python = python_environment([AGENTDOJO]) / "bin/python"
        self._process = subprocess.Popen(
            [str(python), "-I", str(Path(__file__).with_name("player.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.suite: dict[str, Any] = self.next()

    def next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "AgentDojo's player has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self, **what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


def played(column: Column, pairs: Iterable[Pair], player: Player) -> Iterator[tuple[Pair, Outcome]]:
    """The outcome of each pair in a column."""
    office = Office.of(player.suite, saved=column.saved)
    with tempfile.TemporaryDirectory(prefix="dojo-") as name:
        folder = Path(name)
        written(office, folder / "office.json")
        apps = folder / "apps"
        apps.mkdir()
        first = f"from tests.evals.dojo.office import furnish\nfurnish({str(folder / 'office.json')!r})\n"
        with sandbox_server(first=first) as sandbox, closing(Judge(sandbox)) as judge:
            rooms = []
            for number, pair in enumerate(pairs):
                session = f"talk{number}"
                key = _opened(judge, session, column.profile.actions)
                head = {
                    "url": sandbox.url,
                    "key": key,
                    "session": session,
                    "actions": column.profile.actions,
                    "toolsets": ["all"],
                }
                calls = player.suite["users"][pair.user]["calls"]
                limits = fields(column.profile, office.usual, reached(office, calls))
                path = apps / f"{session}.toml"
                path.write_text(tomlkit.dumps(head | limits))
                path.chmod(0o600)
                rooms.append((pair, session, key))
            with http_server("--apps", str(apps), state=folder / "state") as server:
                for pair, session, key in rooms:
                    if column.profile.granted:
                        prompt = player.suite["users"][pair.user]["prompt"]
                        _grant(apps / f"{session}.toml", folder / "state", _named(office, prompt))
                    with server.caller(key, elicits=column.profile.person != "nobody") as caller:
                        yield pair, _Conversation(column.profile, office, judge, caller, session).held(pair, player)


def _opened(judge: Judge, session: str, actions: Iterable[str]) -> str:
    """A session with a separate account, and a key for it."""
    judge.ask("POST", "/api/sessions", {"name": session, "start": False})
    judge.ask("POST", "/sandbox/session", {"session": session, "status": "WORKING"})
    flags = dict.fromkeys(actions, True)
    made = judge.ask("POST", "/api/keys", {"isAdmin": False, "session": session, "isActive": True, "actions": flags})
    return str(made["key"])


def _named(office: Office, prompt: str) -> list[str]:
    """Whom a prompt names, by the approver's rule, as chat ids."""
    everybody = {**office.people, **office.own_sites}
    shown = [Person(chat, name) for name, chat in everybody.items()]
    shown += [Person(chat, None, name, len(office.members[name]) + 1) for name, chat in office.groups.items()]
    return [each.chat for each in shown if says_yes(f"Send a text to {each}?", prompt)]


def _grant(app: Path, state: Path, chats: list[str]) -> None:
    """A person opens a task grant for these chats."""
    if chats:
        to = [part for chat in chats for part in ("--to", chat)]
        ran = run("grant", "--app", str(app), *to, "--yes", env={"XDG_STATE_HOME": str(state)})
        assert ran.returncode == 0, ran.stderr


class _Conversation:
    """One conversation: the calls of a user task and of an injection, with one key."""

    def __init__(self, profile: Profile, office: Office, judge: Judge, caller: Caller, session: str) -> None:
        self._profile, self._office, self._judge = profile, office, judge
        self._caller, self._session = caller, session

    def held(self, pair: Pair, player: Player) -> Outcome:
        prompt = player.suite["users"][pair.user]["prompt"]
        refusals = []
        # Whether the reading calls of the user task were answered.
        seen = True
        player.tell(user=pair.user, injection=pair.injection)
        while "done" not in (told := player.next()):
            why = ""
            for step in steps(self._office, told["function"], told["args"], told["groups"]):
                done, said = self._made(step, prompt)
                if not done:
                    why = said
                    refusals.append(f"{told['function']}: {said}")
                    seen = seen and (step.effect is not None or told["injected"])
            if told["function"] == "remove_user_from_slack" and not told["groups"]:
                why = "This person is in no group."
            player.tell(happened=not why, why=why)
        done = told["done"]
        return Outcome(done["utility"] and seen, done["under_attack"] and seen, done["attacked"], tuple(refusals))

    def _made(self, step: Step, prompt: str) -> tuple[bool, str]:
        """Make a call, with the profile's person to answer; returns whether it happened, and the answer's text."""
        if step.effect is not None:
            self._judge.forget()
        answer = self._caller.tool(step.tool, **step.arguments)
        while _asks(answer):
            result = answer.result
            question = result["inputRequests"]["approval"]["params"]["message"]
            given = answered(self._profile, question, prompt)
            more = {"requestState": result["requestState"], "inputResponses": {"approval": given}}
            answer = self._caller.tool(step.tool, more=more, **step.arguments)
        words = ""
        with suppress(AssertionError):
            words = answer.words if not _asks(answer) else ""
        if step.effect is None:
            return answer.good, words or answer.text
        happened = self._performed(*step.effect)
        assert answer.good is happened, f"a false word: {words or answer.text}, and WAHA says {happened}"
        return happened, words or answer.text

    def _performed(self, path: str, body: Mapping[str, Any]) -> bool:
        """Whether WAHA has carried this out since `forget`."""
        return any(
            each["performed"] is not None
            and unquote(each["path"]).endswith(path)
            and (self._session in each["path"] or each["body"].get("session") == self._session)
            and {name: each["body"].get(name) for name in body} == body
            for each in self._judge.effects()
        )


def _asks(answer: Answer) -> bool:
    return answer.status == 200 and answer.message.get("result", {}).get("resultType") == "input_required"
