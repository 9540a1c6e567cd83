"""`waha-mcp serve --http` as a process of its own, with Apps in a folder, and requests to it as bare HTTP."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlsplit

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.harness import NO_PACE_TEXT, Era, command_after, environment
from waha_mcp.sandbox import SandboxInfo

MODERN, LEGACY = "2026-07-28", "2025-11-25"
#: Seconds within which a server must have answered or something must have happened.
SOON = 20.0


def write_app(folder: Path, name: str, sandbox: SandboxInfo, key: str, more: str = NO_PACE_TEXT, **fields: Any) -> Path:
    """Put a definition into a folder atomically, as editors do; returns its path."""
    folder.mkdir(exist_ok=True)
    values = {"url": sandbox.url, "key": key, "session": sandbox.session} | fields
    text = "".join(f"{field} = {json.dumps(value)}\n" for field, value in values.items() if value is not None)
    path = folder / f"{name}.toml"
    made = path.with_suffix(".new")
    made.write_text(text + more)
    made.chmod(0o600)
    made.replace(path)
    return path


def until(condition: Callable[[], bool], seconds: float = SOON) -> None:
    """Wait for a condition that no event announces."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


class Served:
    """A server in a separate process, ended with the block.

    `url` is MCP's; `lines` is what it wrote on stderr. Started again, it has the same port.
    """

    def __init__(self, *arguments: str, first: str = "", state: Path | None = None, port: int = 0, **env: str) -> None:
        """`first`: lines of Python that it runs first. `state`: the folder of its store. `port`: 0 takes a free one."""
        self._command = [*command_after(first), "serve", "--http", *arguments, "--port"]
        self._env = environment(**env) | ({} if state is None else {"XDG_STATE_HOME": str(state)})
        self._port = port
        self.url = ""
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self.ended(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def start(self, seconds: float = SOON) -> None:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [*self._command, str(self._port)],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr, told), daemon=True)
        self._reader.start()
        self.url = told.get(timeout=seconds)
        assert self.url, self.log()
        self._port = self.port

    def _read(self, stream: IO[str], told: queue.SimpleQueue[str]) -> None:
        with stream:
            for line in stream:
                self.lines.append(line)
                if said := re.search(r"Serving MCP on ([^\s\"]+)", line):
                    told.put(said[1])
        told.put("")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def base(self) -> str:
        """The URL without MCP's path."""
        return self.url.removesuffix("/mcp")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.base.rpartition("://")[2].rpartition(":")
        return host, int(port)

    @property
    def port(self) -> int:
        return self.address[1]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self, timeout: float = SOON) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait(timeout)
        self._reader.join(SOON)
        return code

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """End it with SIGTERM; returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """Kill it, as a power failure would."""
        self._process.kill()
        self.ended()

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """A GET of one of its paths other than MCP's."""
        return httpx2.get(self.base + path, headers=headers, trust_env=False)

    def await_ready(self, status: int = 200) -> Any:
        """Wait until `/readyz`, which checks once a second, has this status; returns the body."""
        until(lambda: self.get("/readyz").status_code == status)
        return self.get("/readyz").json()

    def metrics(self) -> dict[str, float]:
        """Its metrics: each sample by its name and labels in Prometheus's text format, and its value."""
        lines = self.get("/metrics").raise_for_status().text.splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {sample: float(value) for sample, _, value in samples}

    def log(self) -> str:
        return "".join(self.lines)

    def memory(self) -> int:
        """Bytes that the process has in memory."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def raw(self, request: bytes, *, seconds: float = 5.0, local: str = "") -> bytes:
        """Everything that is answered to these bytes until the server closes or is silent for `seconds`."""
        source = (local, 0) if local else None
        with socket.create_connection(self.address, timeout=seconds, source_address=source) as connection:
            connection.sendall(request)
            found = b""
            try:
                while part := connection.recv(65536):
                    found += part
            except (TimeoutError, ConnectionResetError):
                pass
            return found

    def caller(self, key: str | None, **options: Any) -> Caller:
        return Caller(self.url, {} if key is None else {"X-Api-Key": key}, **options)

    def client(self, key: str, era: Era = "auto", **options: Any) -> AbstractAsyncContextManager[Client]:
        """The SDK's client with a key; `options` as of `connected`."""
        return connected(self.base, key, era, **options)


@asynccontextmanager
async def connected(
    base: str, key: str, era: Era = "auto", *, headers: Mapping[str, str] = {}, verify: Any = False, **options: Any
) -> AsyncIterator[Client]:
    """The SDK's client on a server's `/mcp`, with a key and what else it sends with each request.

    `verify`: the TLS context, where the server has TLS. `options`: of the client.
    """
    http = httpx2.AsyncClient(
        headers={"X-Api-Key": key, **headers}, timeout=httpx2.Timeout(60), verify=verify, trust_env=False
    )
    async with (
        http,
        Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=era, **options) as client,
    ):
        yield client


def http_server(*arguments: str, first: str = "", state: Path | None = None, **env: str) -> Served:
    """`waha-mcp serve --http --port 0`, which takes requests in the block; it runs the Python lines `first` before."""
    return Served(*arguments, first=first, state=state, port=0, **env)


class Answer:
    """An HTTP answer. `messages`: the JSON-RPC messages in it, plain or as server-sent events."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.text = body.decode()

    @property
    def messages(self) -> list[dict[str, Any]]:
        if "text/event-stream" in self.headers.get("content-type", ""):
            data = [line[5:].strip() for line in self.text.splitlines() if line.startswith("data:")]
            return [json.loads(each) for each in data if each]
        return [json.loads(self.text)] if self.text else []

    @property
    def message(self) -> dict[str, Any]:
        """The answer itself; those before it are notifications."""
        [found] = [each for each in self.messages if "id" in each and "method" not in each]
        return found

    @property
    def result(self) -> dict[str, Any]:
        assert self.status == 200, f"{self.status}: {self.text}"
        assert "result" in self.message, self.message
        found: dict[str, Any] = self.message["result"]
        return found

    @property
    def words(self) -> str:
        """The text of a tool's result."""
        return "\n".join(block["text"] for block in self.result["content"] if block["type"] == "text")

    @property
    def good(self) -> bool:
        """Whether a tool did its work."""
        if self.status != 200 or "result" not in self.message:
            return False
        result = self.message["result"]
        return not result.get("isError", False) and result.get("resultType", "complete") == "complete"


#: Headers to send, each as often as it is listed.
Headers = Mapping[str, str] | Sequence[tuple[str, str]]
NONE: Headers = ()


class Caller:
    """Requests that carry the same headers, one at a time. `version`: the era whose form they have.

    They are sent unchanged, without a client's own checks. `local`: the address that they come from; `seconds`: how
    long the server may be silent.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        version: str = MODERN,
        elicits: bool = False,
        local: str = "",
        seconds: float = SOON,
    ) -> None:
        self.url = url
        self.version = version
        self.headers = dict(headers)
        self.elicits = elicits
        self._number = 0
        self._last = 0.0
        self._streams: list[Caller] = []
        where = urlsplit(url)
        assert where.hostname
        self._http = HTTPConnection(
            where.hostname, where.port, timeout=seconds, source_address=(local, 0) if local else None
        )

    def hang_up(self) -> None:
        """End the streams: their readers get no more."""
        for each in self._streams:
            if each._http.sock is not None:
                each._http.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def message(self, method: str, params: Mapping[str, Any] | None = None, *, number: Any = None) -> dict[str, Any]:
        """A request of this era."""
        self._number += 1
        sent = dict(params or {})
        if self.version == MODERN:
            sent["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "attacker", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}} if self.elicits else {},
            } | sent.get("_meta", {})
        return {"jsonrpc": "2.0", "id": number or self._number, "method": method, "params": sent}

    def _head(self, message: Any) -> dict[str, str]:
        """The headers that go with a message."""
        found = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": self.version,
        }
        if self.version == MODERN and isinstance(message, dict):
            found["Mcp-Method"] = message["method"]
            params = message.get("params", {})
            if isinstance(name := params.get("name", params.get("uri")), str) and name.isascii():
                found["Mcp-Name"] = name
        return found

    def send(self, method: str, path: str, headers: Headers = NONE, content: bytes = b"") -> Answer:
        """Any request, with these headers alone, and its whole answer."""
        response = self.begin(method, path, headers, content)
        body = response.read()
        if response.will_close:
            self._http.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def begin(self, method: str, path: str, headers: Headers, content: bytes = b"") -> HTTPResponse:
        """Any request, and the beginning of its answer, which is to be read before the next one."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        given = {name.lower() for name, _ in pairs}
        if time.monotonic() - self._last > 2:  # the server may close an idle connection
            self._http.close()
        self._last = time.monotonic()
        self._http.putrequest(method, path, skip_host="host" in given, skip_accept_encoding=True)
        if "content-length" not in given and "transfer-encoding" not in given and (content or method == "POST"):
            pairs.append(("Content-Length", str(len(content))))
        for name, value in pairs:
            self._http.putheader(name, value.encode())
        self._http.endheaders(content)
        return self._http.getresponse()

    def _whole(self, message: Any, headers: Headers) -> list[tuple[str, str]]:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        given = {name.lower() for name, _ in pairs}
        usual = self._head(message) | self.headers
        return [(name, value) for name, value in usual.items() if name.lower() not in given] + pairs

    def post(self, message: Any, headers: Headers = NONE, path: str = "/mcp") -> Answer:
        """Send a message, with these headers in place of those of the same name."""
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self.send("POST", path, self._whole(message, headers), content)

    @contextmanager
    def stream(self, message: Any, headers: Headers = NONE, method: str = "POST") -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of an answer as they come. It is on a connection of its own, closed with the block."""
        other = Caller(self.url, self.headers, version=self.version, elicits=self.elicits)
        content = b"" if message is None else json.dumps(message).encode()
        with other:
            response = other.begin(method, "/mcp", self._whole(message, headers), content)
            assert response.status == 200, response.read()
            self._streams.append(other)
            try:
                yield (json.loads(line[5:]) for line in response if line.startswith(b"data:") and line[5:].strip())
            finally:
                response.close()

    def ask(self, method: str, headers: Headers = NONE, **params: Any) -> Answer:
        return self.post(self.message(method, params), headers)

    def tool(
        self, name: str, headers: Headers = NONE, more: Mapping[str, Any] | None = None, **arguments: Any
    ) -> Answer:
        """Call a tool. `more`: further parameters of the call."""
        return self.ask("tools/call", headers, name=name, arguments=arguments, **(more or {}))

    def tools(self, headers: Headers = NONE) -> set[str]:
        """The names of the tools listed."""
        return {each["name"] for each in self.ask("tools/list", headers).result["tools"]}

    def opened(self, **capabilities: Any) -> Answer:
        """The answer to `initialize`; what is asked from then on carries the session's id, where there is one."""
        hello: dict[str, Any] = {
            "protocolVersion": LEGACY,
            "capabilities": capabilities,
            "clientInfo": {"name": "x", "version": "1"},
        }
        answer = self.ask("initialize", **hello)
        if session := answer.headers.get("mcp-session-id"):
            self.headers["Mcp-Session-Id"] = session
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer
