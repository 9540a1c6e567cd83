"""Parsing of URLs by the WHATWG rules, as WAHA's Node does, and classification of hosts as public or private.

The check of a URL and the later fetch must find the same host in it. So every URL is parsed here and nowhere else,
and what is passed on is the parser's serialization (`Url.href`), which all programs parse alike.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cache

from ada_url import URL, idna_to_unicode

#: Maximum characters of a URL, as given and as serialized.
MAX_URL = 4_096

_WRONG = "must be an http:// or https:// URL such as https://example.com/a.png"
_WRONG_BASE = "must be an http:// or https:// URL such as http://localhost:3000"


@dataclass(frozen=True)
class Url:
    """An http or https URL without user name and password.

    `host` is a lower-case ASCII name without a trailing dot, an IPv4 address, or an IPv6 address in brackets. `port` is
    None for the scheme's default. `plain` is True if the parsed text contained exactly this host, so that other URL
    parsers find the same one.
    """

    href: str
    scheme: str
    host: str
    port: int | None
    path: str
    plain: bool


def parse(text: str, *, drop_credentials: bool = False) -> Url:
    """Parse a URL. Parsing `href` again gives the same result.

    User name and password are refused, or removed with `drop_credentials` (for display).

    Raises:
        ValueError: not an http or https URL, or its host is not a plain one. The message quotes at most the host.
    """
    if len(text) > MAX_URL:
        raise ValueError(f"must not be longer than {MAX_URL} characters")
    try:
        found = URL(text)
    except ValueError:  # includes UnicodeEncodeError for a lone surrogate
        raise ValueError(_WRONG) from None
    scheme = found.protocol.removesuffix(":")
    if scheme not in ("http", "https"):
        raise ValueError(_WRONG)
    if found.username or found.password:
        if not drop_credentials:
            raise ValueError("must not hold a user name or password")
        found.username = found.password = ""
    host = found.hostname.removesuffix(".")
    if not _is_plain(host):
        raise ValueError(f"'{host[:253]}' is not a plain host name")
    if host != found.hostname:
        found.hostname = host
    if found.port == "0":
        raise ValueError("must not have the port 0")
    if len(found.href) > MAX_URL:
        raise ValueError(f"must not be longer than {MAX_URL} characters")
    port = int(found.port) if found.port else None
    return Url(found.href, scheme, host, port, found.pathname, _written(text) in (host, _in_unicode(host)))


def parse_base(text: str) -> str:
    """Parse a service's base URL, to which paths are appended; return it without a trailing slash.

    Raises:
        ValueError: not such a URL, or with blanks, credentials, query or fragment. The message quotes at most the host.
    """
    if any(c.isspace() for c in text):
        raise ValueError(f"{_WRONG_BASE}, without blanks")
    try:
        url = parse(text).href
    except ValueError as error:
        raise ValueError(_WRONG_BASE if str(error) == _WRONG else str(error)) from None
    if "?" in url or "#" in url:
        raise ValueError("must end at the host or a path prefix, without ? or #")
    return url.rstrip("/")


def parse_host(text: str) -> str:
    """Parse a host that stands alone in a setting; return it normalized like `Url.host`.

    Raises:
        ValueError: not a host, or more than a host (scheme, port, path).
    """
    bare = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    if re.search(r"[/\\?#@\s]|:(?![^\[]*\])", bare):
        raise ValueError("must be host names only, such as files.example.com, without scheme, port or path")
    return parse(f"http://{bare}/").host


def not_public(host: str) -> str | None:
    """Why a host is not public, as a noun phrase ("an address of this machine"); None for a public one.

    A public name may still resolve to a private address: check the resolved addresses as well.
    """
    address = _address(host)
    if address is None:
        return "a name of a private network" if _is_private_name(host) else None
    return _special(address)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone, by its address or as `localhost`."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_local_address(text: str) -> bool:
    """Whether a text is an address, and one on this machine or a private network."""
    return _address(text) is not None and is_local(text)


def is_local(host: str) -> bool:
    """Whether a host is on this machine or a private network, by its address or by a private name."""
    address = _address(host)
    return _is_private_name(host) if address is None else _special(address) in _LOCAL


# Names

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

#: Suffixes that public DNS does not resolve: reserved ones (IANA, Special-Use Domain Names) and customary ones.
_PRIVATE_ENDS = tuple(
    f".{end}"
    for end in (
        *("localhost", "local", "internal", "home.arpa", "test"),
        *("lan", "localdomain", "home", "corp", "private", "intranet"),
    )
)


def _is_plain(host: str) -> bool:
    if _address(host) is not None:
        return True
    # Invalid Punycode is left undecoded; programs differ in how they handle it.
    return len(host) <= 253 and _NAME.fullmatch(host) is not None and "xn--" not in _in_unicode(host)


def _is_private_name(host: str) -> bool:
    return "." not in host or host.endswith(_PRIVATE_ENDS)


def _in_unicode(host: str) -> str:
    return idna_to_unicode(host) if "xn--" in host else host


def _written(text: str) -> str | None:
    """The literal host of a URL's text, lower-cased; None if the authority is not a simple host with optional port."""
    found = re.match(r"https?://(\[[0-9a-f:.]+\]|[\w.-]+)(?::\d+)?(?:[/?#]|\Z)", text, re.IGNORECASE)
    return found[1].casefold().removesuffix(".") if found else None


# Addresses

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Non-public networks by description. From the IANA IPv4 and IPv6 Special-Purpose Address Registries, including the
#: globally reachable entries (none holds files that WAHA should fetch), plus multicast, reserved and former site-local
#: ranges and Azure's internal address. Not Python's `ipaddress`, whose `is_global` differs between versions. The first
#: match counts.
_SPECIAL = {
    "an address of this machine": ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"),
    "an address of a private network": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "a link-local address": ("169.254.0.0/16", "fe80::/10"),
    "an address of a provider's own network": ("100.64.0.0/10", "168.63.129.16/32"),
    "an address for documentation": (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
        *("2001:db8::/32", "3fff::/20"),
    ),
    "an address for tests of devices": ("198.18.0.0/15", "2001:2::/48"),
    "an IPv4 address within an IPv6 address": (
        *("::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"),
    ),
    "an address for protocols": (
        *("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),
        *("100::/64", "100:0:0:1::/64", "2001::/23", "2620:4f:8000::/48", "5f00::/16"),
    ),
    "a multicast address": ("224.0.0.0/4", "ff00::/8"),
    "a reserved address": ("240.0.0.0/4",),
}
_LOCAL = ("an address of this machine", "an address of a private network", "a link-local address")

#: RFC 6052 (NAT64/DNS64): IPv6 addresses that embed an IPv4 address; the embedded address is classified.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: The only range allocated for global unicast so far.
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")


@cache
def _networks() -> tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...]:
    return tuple((ipaddress.ip_network(each), what) for what, ranges in _SPECIAL.items() for each in ranges)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _special(address: Address) -> str | None:
    for network, what in _networks():
        if address in network:
            return what
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return _special(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE:  # ISATAP, RFC 5214
        return "an IPv4 address within an IPv6 address"
    return None if address in _GLOBAL_IPV6 else "a reserved address"
