"""The examples work unchanged."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from tests.harness import environment, sandbox_server
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App, load_app
from waha_mcp.app.policy_fields import PolicyFields
from waha_mcp.cli.profiles import CHOICES
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("observer", frozenset({Action.READ})),
        ("notifier", frozenset({Action.SEND})),
        ("assistant", frozenset({Action.READ, Action.SEND})),
        ("careful", frozenset({Action.READ, Action.SEND})),
    ],
)
def test_app_definitions_load_with_the_actions_they_are_named_for(name: str, actions: frozenset[Action]) -> None:
    app = load_app(str(EXAMPLES / "apps" / f"{name}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"})
    assert app.actions == actions


def test_the_profiles_cut_the_legs_that_the_readme_says_they_cut() -> None:
    def profile(name: str) -> App:
        return load_app(str(EXAMPLES / "apps" / f"{name}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"})

    assert "*" not in profile("notifier").chats.send.allow
    careful = profile("careful")
    assert "*" not in careful.chats.send.allow + careful.chats.send.ask
    assert "public" not in careful.chats.send.ask
    assert careful.chats.send.ask


@pytest.mark.parametrize("name", ["assistant", "careful"])
def test_an_example_has_the_limits_of_the_choice_of_its_name_in_init(name: str) -> None:
    [choice] = [choice for choice in CHOICES if choice.name == name]
    app = load_app(str(EXAMPLES / "apps" / f"{name}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"})
    limits = PolicyFields.model_validate(choice.limits)
    assert (app.approval, app.links) == (limits.approval, limits.links)
    assert app.actions == frozenset(choice.actions)


@pytest.mark.parametrize("document", ["docs/safety.md", "docs/listening.md"])
def test_the_policies_that_the_documents_show_are_good_ones(document: str) -> None:
    text = (EXAMPLES.parent / document).read_text()
    shown = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    policies = [table for table in shown if table.keys() & {"chats", "pace", "listen"}]
    assert policies
    for table in policies:
        assert PolicyFields.model_validate(table).model_dump(exclude_unset=True)


@pytest.mark.parametrize("document", ["README.md", "docs/app.md"])
def test_the_apps_that_the_documents_show_can_be_loaded(document: str, tmp_path: Path) -> None:
    text = (EXAMPLES.parent / document).read_text()
    shown = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert shown
    for number, block in enumerate(shown):
        (tmp_path / f"{number}.toml").write_text(block)
        assert load_app(str(tmp_path / f"{number}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"}).id == "assistant"


#: What installs waha-mcp from PyPI by its name: works only once there is a release.
FROM_PYPI = re.compile(
    r"""\buvx\b(?!\ --from)|\bpipx\ run\b|\buv\ run\ --with\ waha-mcp
    |\b(?:pip|pipx|tool)\ (?:install|upgrade)\b[^`\n]*(?<![\w./@-])waha-mcp\b""",
    re.VERBOSE,
)
SHOWN = [
    *EXAMPLES.parent.glob("*.md"),
    *EXAMPLES.parent.glob("docs/*.md"),
    *(path for path in EXAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts),
]


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_nothing_to_paste_needs_a_release_on_pypi_unless_it_says_so(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if FROM_PYPI.search(line) and "once released on PyPI" not in line] == []


@pytest.mark.parametrize(
    ("line", "needs_a_release"),
    [
        ("uvx waha-mcp serve", True),
        ('"command": "uvx",', True),
        ("cmd: uvx", True),
        ("pip install --upgrade waha-mcp", True),
        ("pipx install 'waha-mcp[keyring]'", True),
        ("uv tool upgrade waha-mcp", True),
        ("uvx --from /full/path/to/the/clone waha-mcp serve", False),
        ("pip install --upgrade /path/to/waha-mcp", False),
        ("uv tool install .", False),
        ("uv tool uninstall waha-mcp", False),
    ],
)
def test_what_needs_a_release_is_told_from_what_does_not(line: str, needs_a_release: bool) -> None:
    assert bool(FROM_PYPI.search(line)) is needs_a_release


def test_the_goose_entry_launches_this_command() -> None:
    entry = YAML(typ="safe").load((EXAMPLES / "goose_config.yaml").read_text())["extensions"]["whatsapp"]
    assert (Path(entry["cmd"]).name, entry["args"]) == ("waha-mcp", ["serve"])
    assert entry["env_keys"] == ["WAHA_API_KEY"]


def test_the_claude_desktop_entry_launches_this_command() -> None:
    entry = json.loads((EXAMPLES / "claude_desktop_config.json").read_text())["mcpServers"]["whatsapp"]
    assert (Path(entry["command"]).name, entry["args"]) == ("waha-mcp", ["serve"])
    assert entry["env"].keys() == {"WAHA_URL", "WAHA_API_KEY"}


def test_the_agent_answers_what_was_agreed_and_replies_in_at_most_four_calls() -> None:
    with sandbox_server() as sandbox:
        done = run_example("answer_about_friday.py", sandbox)
        asked = httpx.get(f"{sandbox.url}/sandbox/requests", headers={"X-Api-Key": sandbox.admin_key}).json()
    assert done.returncode == 0, done.stderr
    assert "settled: Friday 19:30, Harbour Kitchen" in done.stdout
    [sent] = [request["body"] for request in asked if request["path"] == "/api/sendText"]
    assert sent["chatId"] == "447700900142@c.us"
    assert sent["reply_to"].startswith("false_447700900142@c.us_")
    assert (EXAMPLES / "answer_about_friday.py").read_text().count("await call(") <= 4


@pytest.mark.parametrize(
    ("script", "shown"), [("answer_about_friday.py", "Answered with message_id"), ("mcp_client.py", '"message_id"')]
)
def test_an_example_without_a_key_runs_on_a_sandbox_of_its_own(script: str, shown: str) -> None:
    done = run_example(script, None)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_every_example_is_run_by_the_checks() -> None:
    listed = re.search(r"^ *for example in (.*); do$", (EXAMPLES.parent / ".ci" / "run").read_text(), re.MULTILINE)
    assert listed is not None
    assert {f"{name}.py" for name in listed[1].split()} == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_plain_client_reads_and_sends(sandbox_process: SandboxInfo) -> None:
    done = run_example("mcp_client.py", sandbox_process, ANSWERING_CHAT, "Hello from the example")
    assert done.returncode == 0, done.stderr
    assert "Tools: get_status, list_chats" in done.stdout
    assert '"message_id"' in done.stdout


def run_example(script: str, sandbox: SandboxInfo | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with `waha-mcp` on the PATH, as its reader would; without a sandbox, also without a key."""
    command = shutil.which("waha-mcp", path=str(Path(sys.executable).parent))
    assert command is not None
    env = environment(**({"WAHA_URL": sandbox.url, "WAHA_API_KEY": sandbox.keys["read_send"]} if sandbox else {}))
    env["PATH"] = f"{Path(command).parent}:{env['PATH']}"
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
