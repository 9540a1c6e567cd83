"""One record per real host: how it is installed, told where its model is, kept from calling home, and run.

To add a host, write a record and put it into HOSTS. Its `name` is that of `waha_mcp.hosts.table`, so that
`waha-mcp install NAME` writes its entry. `prepare` writes its configuration before that, into the home of the test's
own; `environment` gives variables on top of HOME, PATH and the proxy that lets nothing out. Both get a `Place`, whose
`model` is the base URL of the scripted service (see `model.py`; it speaks the wires of `wires.py` under any path).
`listing` are the arguments of its listing or health command, `prompt` those that run one prompt without a person.
Log-ins and telemetry, update checks and error reports are switched off by the host's own settings; what it still wants
from elsewhere fails a test. What the host itself cannot do goes into `limits`: the test of that line must then fail,
and the page says the limit. `python -m tests.hosts_real --show HOST --bodies FILE` prints what the model sees of one host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hosts_real.model import Search


@dataclass(frozen=True)
class Place:
    """Where a host runs: a home of its own, and its model's base URL."""

    home: Path
    model: str


@dataclass(frozen=True)
class Limit:
    """What a host itself does not do, and where in its package that is to be read."""

    what: str
    where: str = ""


@dataclass(frozen=True)
class Host:
    name: str
    title: str
    package: str
    version: str
    program: str
    #: Arguments of its listing or health command, and what it says of a server that it accepts.
    listing: tuple[str, ...]
    accepts: str
    prompt: Callable[[str], list[str]]
    environment: Callable[[Place], dict[str, str]]
    prepare: Callable[[Place], None] = lambda place: None
    #: Written after `waha-mcp install`, for what a user must set besides.
    finish: Callable[[Place], None] = lambda place: None
    #: The host's own tool through which its model finds tools that are not offered at once.
    search: Search | None = None
    #: By the name of a line in `lines.py`.
    limits: Mapping[str, Limit] = field(default_factory=dict)


def _claude_code(place: Place) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": place.model,
        "ANTHROPIC_API_KEY": "made-up",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


CLAUDE_CODE = Host(
    name="claude-code",
    title="Claude Code",
    package="@anthropic-ai/claude-code",
    version="2.1.332",
    program="claude",
    listing=("mcp", "list"),
    accepts="Connected",
    prompt=lambda text: ["-p", text, "--allowedTools", "mcp__whatsapp", "--output-format", "json"],
    environment=_claude_code,
    limits={
        "voice": Limit("saves sound to a file and names it to its model, whose API takes none"),
    },
    # Tools are offered by name only, and a search also waits for servers that are still starting.
    search=Search("ToolSearch", lambda tool: {"query": f"whatsapp {tool}", "max_results": 20}),
)

HOSTS: dict[str, Host] = {host.name: host for host in (CLAUDE_CODE,)}
