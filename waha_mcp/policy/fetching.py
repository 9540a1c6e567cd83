"""URLs that WAHA is asked to fetch: it does so from its own network, where an agent has no business.

Names are resolved here, with this machine's resolver. What that cannot catch: a name that WAHA's resolver answers
differently, or that changes its address between the check and the fetch. WAHA's own network rules have to stop those.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

import anyio

#: Seconds for looking a name up.
LOOKUP = 3.0


#: What is taken for a link: with a scheme, or a name or an address with what usually follows one.
_LINK = re.compile(
    r"https?://[^\s<>\"']+|www\.[^\s<>\"']+|(?:[\w-]+\.)+[a-z]{2,}\b(?:[:/][^\s<>\"']*)?|(?:\d+\.){3}\d+[:/]?[^\s<>\"']*",
    re.IGNORECASE,
)


def links_in(text: str) -> list[str]:
    """The links of a text, as URLs."""
    found = [each.rstrip(".,;:!?)") for each in _LINK.findall(text)]
    return [each if "://" in each else f"http://{each}" for each in found]


async def refusal(url: str, allowed_hosts: Collection[str]) -> str | None:
    """Why WAHA must not fetch a URL; None where it may."""
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        return "is not a URL"
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.username or parts.password:
        return "holds a user name or password"
    if host in allowed_hosts:
        return None
    addresses = _literal(host)
    if addresses is None:
        if "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan", ".home.arpa")):
            return f"'{host}' is a name of a private network"
        addresses = await _look_up(host, port)
        if not addresses:
            return f"'{host}' is not a name that can be looked up"
    if all(_public(address) for address in addresses):
        return None
    return f"'{host}' is an address of a private network"


def _literal(host: str) -> list[str] | None:
    """The address that a host is, in any of the writings that resolvers take (127.1, 0x7f000001, 2130706433)."""
    try:
        return [str(ipaddress.ip_address(host.partition("%")[0]))]
    except ValueError:
        pass
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return None


async def _look_up(host: str, port: int) -> list[str]:
    with anyio.move_on_after(LOOKUP):
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return []
        return [str(entry[4][0]).partition("%")[0] for entry in found]
    return []


def _public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
