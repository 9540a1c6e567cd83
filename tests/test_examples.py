"""The examples work as they stand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import environment
from waha_mcp.actions import Action
from waha_mcp.app import load_app
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("read_only", frozenset({Action.READ})),
        ("send_only", frozenset({Action.SEND})),
        ("read_send", frozenset({Action.READ, Action.SEND})),
    ],
)
def test_app_definitions_load_with_the_actions_they_are_named_for(name: str, actions: frozenset[Action]) -> None:
    app = load_app(str(EXAMPLES / "apps" / f"{name}.toml"), environ={"WAHA_API_KEY": "key_sample_0000"})
    assert app.actions == actions


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
