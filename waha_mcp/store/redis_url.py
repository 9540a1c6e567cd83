"""The URL of a Redis, as the user writes it: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.

A private certificate authority is a file in its query: `ssl_ca_certs`. No other option is accepted, so that none can
weaken the connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from waha_mcp.app.urls import is_local, parse_host

_PORT = 6379
_CA_CERTS = "ssl_ca_certs"
_SHAPE = "must be a URL such as redis://127.0.0.1:6379/0, or rediss://user:password@host for TLS"


@dataclass(frozen=True)
class RedisUrl:
    """Where a Redis is and how to log in. `ca_certs`: the file of a private certificate authority."""

    #: As it was written.
    text: SecretStr
    tls: bool
    host: str
    port: int
    database: int
    user: str | None
    password: SecretStr | None
    ca_certs: str | None

    @property
    def where(self) -> str:
        """Host and port, for people."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of a client of the library `redis`, synchronous or not."""
        tls: dict[str, Any] = {}
        if self.tls:
            tls = {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, _CA_CERTS: self.ca_certs}
        return {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "username": self.user,
            "password": None if self.password is None else self.password.get_secret_value(),
            **tls,
        }

    def connecting(self, timeout: float) -> dict[str, Any]:
        """`options`, with the time limit in seconds of connecting and of an answer, and how texts are passed."""
        return self.options | {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "socket_keepalive": True,
            "protocol": 2,
            "decode_responses": True,
        }

    def secrets(self) -> Iterator[SecretStr]:
        """The parts that no log and no other program may get."""
        if self.password is not None:
            yield self.text
            yield self.password
            yield SecretStr(urlsplit(self.text.get_secret_value()).password or "")


def parse_redis_url(text: str) -> RedisUrl:
    """Parse the URL of a Redis.

    Raises:
        ValueError: it is none, or it would send what is stored over a public network as plain text. The message quotes
            at most the host.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_SHAPE) from None
    if parts.scheme not in ("redis", "rediss") or not host or port == 0 or parts.fragment:
        raise ValueError(_SHAPE)
    plain_host = parse_host(host)
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdecimal()):
        raise ValueError(f"{_SHAPE}: after the host comes the number of a database, or nothing")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    tls = parts.scheme == "rediss"
    if not options.keys() <= {_CA_CERTS} or (options and not tls) or not all(options.values()):
        raise ValueError(f"takes no option but {_CA_CERTS}, a file of certificates, with rediss://")
    if not tls and not is_local(plain_host):
        raise ValueError(f"plain redis:// would send all that is stored unencrypted to {plain_host}; use rediss://")
    return RedisUrl(
        text=SecretStr(text.strip()),
        tls=tls,
        host=host,
        port=port or _PORT,
        database=int(database),
        user=unquote(parts.username) if parts.username else None,
        password=SecretStr(unquote(parts.password)) if parts.password else None,
        ca_certs=options.get(_CA_CERTS),
    )
