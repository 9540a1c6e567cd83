"""Dockerfile and compose.yaml: what they run works, and they expose nothing else. No image is built here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from platformdirs.unix import Unix
from ruamel.yaml import YAML

from tests.harness import environment, sandbox_server
from tests.web import web
from waha_mcp import __version__
from waha_mcp.app.definition import App
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo
from waha_mcp.sandbox.contract import contract

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "compose.yaml"
SERVICES: dict[str, Any] = YAML(typ="safe").load(COMPOSE.read_text())["services"]
#: Services whose image is built from the Dockerfile.
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
INSTRUCTIONS = [
    (line.partition(" ")[0], line.partition(" ")[2].strip())
    for line in re.sub(r" *\\\n *", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]


def given(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


UID = int(re.search(r"--uid (\d+)", " ".join(given("RUN")))[1])  # type: ignore[index]


# The Dockerfile, run line by line


def as_user(*command: str) -> list[str]:
    """A command as the container's user, where this process may become another."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs", "--", *command]


def python_for_user() -> str | None:
    """A Python that the container's user may run here, and that can make virtual environments."""
    if sys.platform == "win32" or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        return None
    able = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    for each in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        # Through a shell: setpriv itself can still access what only root may.
        command = as_user("sh", "-c", shlex.join([each, "-c", able]))
        if subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0:
            return each
    return None


class Image:
    """The image's files under a folder of this machine in place of `/`; its instructions are run in order."""

    def __init__(self, root: Path, python: str) -> None:
        self.root = root
        self._folder, self._path = root, f"{root}/bin:/usr/bin:/bin"
        self.user = "root"
        self.folders: list[Path] = []
        # Stand-ins for the base image: `python`, and creating a user, which must not happen on this machine.
        for name, text in {"python": f'exec {python} "$@"', "useradd": f"mkdir -p {root}/home/waha"}.items():
            (root / "bin").mkdir(exist_ok=True)
            (root / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (root / "bin" / name).chmod(0o755)
        # This machine's package index settings, such as a mirror.
        for settings in (".config/pip/pip.conf", ".pip/pip.conf"):
            if (Path.home() / settings).is_file():
                (root / "root" / settings).parent.mkdir(parents=True)
                shutil.copy(Path.home() / settings, root / "root" / settings)
        self._own()

    def run(self, instruction: str, rest: str) -> None:
        match instruction:
            case "FROM" | "ENTRYPOINT" | "CMD":
                pass
            case "WORKDIR":
                self._folder = self.path(rest)
                self._folder.mkdir(parents=True, exist_ok=True)
            case "COPY" if rest.startswith("--from="):
                # A virtual environment cannot be moved.
                _, source, target = rest.split()
                assert source == target
            case "COPY":
                *sources, target = rest.split()
                for source in sources:
                    assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()
                    if (ROOT / source).is_dir():  # the source's content, into the target
                        ignored = shutil.ignore_patterns("__pycache__")
                        shutil.copytree(ROOT / source, self._folder / target, ignore=ignored)
                    else:
                        shutil.copy(ROOT / source, self._folder / target)
            case "RUN":
                done = self.shell(rest)
                assert done.returncode == 0, done.stdout + done.stderr
            case "USER":
                self.user = rest
            case "VOLUME":
                self.folders = [self.path(folder) for folder in json.loads(rest)]
            case "ENV":
                for name, _, value in (each.partition("=") for each in shlex.split(rest)):
                    if name == "PATH":
                        self._path = self.mapped(value).replace("$PATH", self._path)
            case _:
                raise AssertionError(f"{instruction} is not known to this test")
        self._own()

    def path(self, text: str) -> Path:
        return self.root / text.removeprefix("/")

    def mapped(self, text: str) -> str:
        """A command with the image's folders replaced by those on this machine."""
        return re.sub(r"(?<![\w.])/(?=(?:opt|home|src|usr/local)/)", f"{self.root}/", text)

    def environment(self, **values: str) -> dict[str, str]:
        home = f"{self.root}/home/waha" if self.user == "waha" else f"{self.root}/root"
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        return pip | {"HOME": home, "PATH": self._path, "TMPDIR": f"{self.root}/tmp", **values}

    def shell(self, line: str, **values: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            as_user("sh", "-c", self.mapped(line)),
            cwd=self._folder,
            env=self.environment(**values),
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def _own(self) -> None:
        (self.root / "tmp").mkdir(exist_ok=True)
        if os.geteuid() == 0:
            for each in (self.root, self.root / "root", *self.root.glob("*")):
                if each.exists():
                    subprocess.run(["chown", "-R", f"{UID}:{UID}", each], check=True)


@contextmanager
def built() -> Iterator[Image]:
    """The image after all its instructions."""
    python = python_for_user()
    if python is None:
        pytest.skip(f"no Python 3.11 with venv that user {UID} may run here, or no setpriv: the Dockerfile is not run")
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        made = Image(Path(folder), python)
        for instruction, rest in INSTRUCTIONS:
            made.run(instruction, rest)
        yield made


@pytest.mark.slow
@pytest.mark.anyio
async def test_its_lines_install_and_start_the_bridge_for_a_plain_user_who_writes_into_the_volumes_alone() -> None:
    """One test, because its lines take a minute to run."""
    with built() as image, sandbox_server() as sandbox:
        installed_as_the_constraints_say(image)
        home = Path(image.environment()["HOME"])
        before = below(home)
        await serves(image, sandbox)
        keeps_an_app(image, sandbox)
        written = below(home) - before
        assert [path for path in written if not any(path.is_relative_to(folder) for folder in image.folders)] == []
        assert {path.stat().st_mode & 0o077 for path in (*image.folders, *written)} == {0}
        assert {"store.sqlite", "assistant.toml", "assistant.key"} <= {path.name for path in written}


def installed_as_the_constraints_say(image: Image) -> None:
    assert image.user == "waha"
    version, uid = image.shell("waha-mcp --version && id -u").stdout.splitlines()
    assert version == f"waha-mcp {__version__}"
    assert int(uid) == (UID if os.geteuid() == 0 else os.geteuid())
    constraints = set((ROOT / "constraints.txt").read_text().splitlines())
    installed = image.shell("/opt/waha-mcp/bin/pip freeze").stdout.splitlines()
    assert {line for line in installed if not line.startswith("waha-mcp")} <= constraints


async def serves(image: Image, sandbox: SandboxInfo) -> None:
    """The start line serves MCP, and what it sends is counted."""
    command = as_user(*json.loads(given("ENTRYPOINT")[-1]), *json.loads(given("CMD")[-1]))
    env = image.environment(WAHA_URL=sandbox.url, WAHA_API_KEY=sandbox.keys["read_send"])
    async with Client(StdioServerParameters(command=command[0], args=command[1:], env=env, cwd=env["HOME"])) as client:
        assert "send_text" in {tool.name for tool in (await client.list_tools()).tools}
        sent = await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": "Hello"})
        assert not sent.is_error, sent.content


def keeps_an_app(image: Image, sandbox: SandboxInfo) -> None:
    """An App that is made in one container is there in the next, as compose.yaml names it."""
    flags = f"--url {sandbox.url} --id assistant --actions read --install none --yes"
    made = image.shell(f"waha-mcp init {flags}", WAHA_ADMIN_KEY=sandbox.admin_key, WAHA_MCP_APP="assistant")
    assert made.returncode == 0, made.stderr
    shown = image.shell("waha-mcp tools", WAHA_MCP_APP="assistant")
    assert "list_chats" in shown.stdout, shown.stderr


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_the_volumes_are_the_folders_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", given("WORKDIR")[-1])
    folders = Unix("waha-mcp")
    config, state = str(folders.user_config_path), str(folders.user_state_path)
    assert json.loads(given("VOLUME")[-1]) == [config, state]
    assert SERVICES["bridge"]["volumes"] == [f"apps:{config}", f"state:{state}"]
    assert SERVICES["console"]["volumes"] == [f"state:{state}"]


# compose.yaml


def validated(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_is_valid_by_the_compose_specification() -> None:
    done = validated(COMPOSE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("condition: service_healthy", "condition: healthy"), ("cap_drop:", "capdrop:"), ("'fetch(", "fetch: ('")],
)
def test_a_slip_in_compose_is_noticed(right: str, wrong: str, tmp_path: Path) -> None:
    text = COMPOSE.read_text()
    assert right in text
    (tmp_path / "compose.yaml").write_text(text.replace(right, wrong))
    assert validated(tmp_path / "compose.yaml").returncode != 0


def test_every_image_is_of_one_version() -> None:
    assert SERVICES["waha"]["image"].endswith(f"-{contract().waha}}}")
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+( AS build)?", image) for image in given("FROM"))
    assert len({image.removesuffix(" AS build") for image in given("FROM")}) == 1


@pytest.mark.parametrize("name", ["WAHA_API_KEY", "WAHA_DASHBOARD_USERNAME", "WAHA_DASHBOARD_PASSWORD"])
def test_waha_starts_with_no_key_or_login_of_its_own(name: str) -> None:
    assert re.fullmatch(r"\$\{WAHA_\w+:\?[^}]+\}", SERVICES["waha"]["environment"][name])


def test_what_is_published_is_published_on_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports)


def test_the_console_is_published_at_the_port_that_it_serves_and_out_of_wahas_reach() -> None:
    command = SERVICES["console"]["command"]
    assert command[:3] == ["console", "--host", "0.0.0.0"]
    assert SERVICES["console"]["ports"] == [f"127.0.0.1:{command[command.index('--port') + 1]}:8765"]
    assert not set(SERVICES["console"]["networks"]) & set(SERVICES["waha"].get("networks", ["default"]))


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_nothing_else(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "user", "cap_add", "network_mode"} & service.keys()
    assert not re.search("KEY|PASSWORD", str(service.get("environment")))


def test_no_service_of_ours_starts_by_itself_and_the_bridge_waits_for_waha() -> None:
    assert OURS == ["bridge", "console"]
    assert all(SERVICES[name]["profiles"] == [name] for name in OURS)
    assert SERVICES["bridge"]["depends_on"] == {"waha": {"condition": "service_healthy"}}
    assert SERVICES["bridge"]["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert SERVICES["waha"]["environment"]["WAHA_API_KEY_EXCLUDE_PATH"] == "ping"


@pytest.mark.parametrize("url", ["http://waha:3000", "http://host.docker.internal:3000"])
def test_the_bridge_takes_the_names_that_waha_has_in_containers(url: str) -> None:
    assert App(url=url, key="key_sample_0000").url == url  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("node") is None, reason="not installed: node, in which WAHA's health check is written")
@pytest.mark.parametrize(
    ("files", "healthy"), [({"/ping": (b"{}", "application/json")}, True), ({}, False)], ids=["up", "not yet"]
)
def test_wahas_health_check_tells_whether_it_answers(files: dict[str, Any], healthy: bool) -> None:
    kind, *command = SERVICES["waha"]["healthcheck"]["test"]
    assert kind == "CMD"
    with web() as server:
        server.files.update(files)
        words = [word.replace("http://127.0.0.1:3000", f"http://127.0.0.1:{server.port}") for word in command]
        done = subprocess.run(words, env=environment(), capture_output=True, timeout=30, check=False)
        assert server.asked == ["/ping"]
    assert (done.returncode == 0) is healthy
