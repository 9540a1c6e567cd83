"""The examples work as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.harness import environment
from waha_mcp.actions import Action
from waha_mcp.app import App, load_app
from waha_mcp.policy.settings import PolicyFields
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


def test_the_plain_client_reads_and_sends(sandbox_process: SandboxInfo, tmp_path: Path) -> None:
    command = shutil.which("waha-mcp", path=str(Path(sys.executable).parent))
    assert command is not None
    env = environment(WAHA_URL=sandbox_process.url, WAHA_API_KEY=sandbox_process.keys["read_send"])
    env["PATH"] = f"{Path(command).parent}:{env['PATH']}"
    script = EXAMPLES / "mcp_client.py"
    done = subprocess.run(
        [sys.executable, str(script), ANSWERING_CHAT, "Hello from the example"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Tools: get_status, list_chats" in done.stdout
    assert '"message_id"' in done.stdout
