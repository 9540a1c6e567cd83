"""A whole deployment on this machine: two processes of waha-mcp on one Redis, a proxy with TLS, and a sandbox.

The proxy runs with its configuration of `examples/deploy`, with addresses of this machine filled in.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.attacks.judge import Judge
from tests.deployed.replicas import replicas
from tests.harness import sandbox_server
from tests.http_server import SOON, Served, write_app
from tests.redis_server import RedisServer
from tests.serving import free_port
from tests.tls import certificate
from waha_mcp.sandbox import SandboxInfo

SHIPPED = Path(__file__).parents[2] / "examples/deploy"
ProxyName = Literal["nginx", "caddy"]
#: The site's name in the configuration files.
SITE = "wa.example.com"


def missing(name: ProxyName) -> str:
    """Why there is no such proxy here; empty if there is."""
    return "" if _program(name) else f"{name} is not installed (apt-get install {name})"


def _program(name: ProxyName) -> str | None:
    # A program that only root starts may be in no other user's PATH.
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


class Proxy:
    """nginx or Caddy with the shipped configuration, in front of these ports. `--sessions` needs `sticky`."""

    def __init__(self, name: ProxyName, folder: Path, ports: list[int], *, sticky: bool = False) -> None:
        program = _program(name)
        assert program is not None, missing(name)
        folder.mkdir()
        self.port, made = free_port(), certificate("unknown authority", folder)
        # Under names without blanks, since the configurations do not quote them.
        chain, self.ca_file = made.chain.rename(folder / "chain.pem"), made.ca_file
        first, second = ports
        moved = {"replica-1:8080": f"127.0.0.1:{first}", "replica-2:8080": f"127.0.0.1:{second}"}
        if name == "nginx":
            moved |= {"listen 8443": f"listen 127.0.0.1:{self.port}", "/dev/stdout": f"{folder}/access.log"}
            moved |= {"/etc/nginx/tls/fullchain.pem": str(chain), "/etc/nginx/tls/privkey.pem": str(chain)}
            moved |= {"/tmp/nginx": f"{folder}/nginx"}
            moved |= {"#hash ": "hash "} if sticky else {}
            text = filled(SHIPPED / "nginx.conf", moved)
            (folder / "nginx.conf").write_text(text)
            self.command = [program, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-g", "daemon off;"]
        else:
            moved |= {f"{SITE} {{": f"https://127.0.0.1:{self.port} {{\n\tbind 127.0.0.1\n\ttls {chain} {chain}\n"}
            moved |= {"lb_policy least_conn": "lb_policy header X-Api-Key"} if sticky else {}
            options = f"{{\n\tstorage file_system {folder}\n\tadmin off\n\tauto_https disable_redirects\n}}\n"
            (folder / "Caddyfile").write_text(options + filled(SHIPPED / "Caddyfile", moved))
            self.command = [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
        self._log = folder / "proxy.log"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def trusted(self) -> ssl.SSLContext:
        """What clients need to trust it."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def __enter__(self) -> Proxy:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        ends = time.monotonic() + SOON
        while not _accepts(self.port):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < ends, self._log.read_text()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(SOON)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def filled(file: Path, moved: Mapping[str, str]) -> str:
    """A configuration with its addresses replaced by others, each of which must occur in it."""
    text = file.read_text()
    for old, new in moved.items():
        assert old in text, f"{file.name} has no {old!r}"
        text = text.replace(old, new)
    return text


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Deployment:
    """The running deployment. `keys`: of each App."""

    sandbox: SandboxInfo
    judge: Judge
    redis: RedisServer
    replicas: list[Served]
    proxy: Proxy
    keys: Mapping[str, str]
    state: Path


@contextmanager
def deployed(
    folder: Path, apps: Mapping[str, str], *arguments: str, proxy: ProxyName = "nginx", sticky: bool = False
) -> Iterator[Deployment]:
    """A deployment, whose processes end with the block.

    `apps`: the id of each App, and further lines of its definition.
    """
    with ExitStack() as stack:
        sandbox = stack.enter_context(sandbox_server())
        judge = stack.enter_context(closing(Judge(sandbox)))
        redis = RedisServer(folder / "redis", "--appendonly", "yes").start()
        stack.callback(redis.end)
        body = {"isAdmin": False, "session": sandbox.session, "isActive": True, "actions": {"read": True, "send": True}}
        keys = {app_id: str(judge.ask("POST", "/api/keys", body)["key"]) for app_id in apps}
        for app_id, text in apps.items():
            write_app(folder / "apps", app_id, sandbox, keys[app_id], text)
        judge.forget()
        processes = stack.enter_context(
            replicas(
                2,
                folder / "apps",
                folder / "state",
                *("--allowed-host", SITE, *arguments),
                WAHA_MCP_STORE=redis.url,
            )
        )
        front = Proxy(proxy, folder / "proxy", [each.port for each in processes], sticky=sticky)
        yield Deployment(sandbox, judge, redis, processes, stack.enter_context(front), keys, folder / "state")
