"""The examples work as they stand."""

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

from tests.harness import environment, sandbox_server
from waha_mcp.app.actions import Action
from waha_mcp.app.definition import App, load_app
from waha_mcp.app.policy_fields import PolicyFields
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("observer", frozenset({Action.READ})),
        ("notifier", frozenset({Action.SEND})),
        ("assistant", frozenset({Action.READ, Action.SEND})),
    ],
)
def test_app_definitions_load_with_the_actions_they_are_named_for(name: str, actions: frozenset[Action]) -> None:
    app = load_app(str(EXAMPLES / "apps" / f"{name}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"})
    assert app.actions == actions


def test_the_profiles_cut_the_legs_that_the_readme_says_they_cut() -> None:
    def profile(name: str) -> App:
        return load_app(str(EXAMPLES / "apps" / f"{name}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"})

    assert "*" not in profile("notifier").chats.send.allow
    assistant = profile("assistant")
    assert "*" not in assistant.chats.send.allow + assistant.chats.send.ask
    assert "public" not in assistant.chats.send.ask
    assert assistant.chats.send.ask


@pytest.mark.parametrize("document", ["README.md", "docs/safety.md"])
def test_the_policies_that_the_documents_show_are_good_ones(document: str) -> None:
    text = (EXAMPLES.parent / document).read_text()
    shown = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    policies = [table for table in shown if table.keys() & {"chats", "pace"}]
    assert policies
    for table in policies:
        assert PolicyFields.model_validate(table).model_dump(exclude_unset=True)


def test_the_claude_desktop_entry_launches_this_command() -> None:
    entry = json.loads((EXAMPLES / "claude_desktop_config.json").read_text())["mcpServers"]["whatsapp"]
    assert entry["args"][-1] == "serve"
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


def test_the_plain_client_reads_and_sends(sandbox_process: SandboxInfo) -> None:
    done = run_example("mcp_client.py", sandbox_process, ANSWERING_CHAT, "Hello from the example")
    assert done.returncode == 0, done.stderr
    assert "Tools: get_status, list_chats" in done.stdout
    assert '"message_id"' in done.stdout


def run_example(script: str, sandbox: SandboxInfo, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with `waha-mcp` on the PATH, as its reader would."""
    command = shutil.which("waha-mcp", path=str(Path(sys.executable).parent))
    assert command is not None
    env = environment(WAHA_URL=sandbox.url, WAHA_API_KEY=sandbox.keys["read_send"])
    env["PATH"] = f"{Path(command).parent}:{env['PATH']}"
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
