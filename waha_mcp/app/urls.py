"""URLs, read as WAHA's Node reads them (WHATWG), and hosts, judged by what they are and not by how they are written.

Whoever judges a URL and whoever fetches it must read the same host in it. So every URL is parsed here and nowhere
else, and what is handed on is the parser's own writing (`Url.href`), which every program reads alike.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cache

from ada_url import URL, idna_to_unicode

#: Characters of a URL, as it is given and as it is handed on.
MAX_URL = 4_096

_WRONG = "must be an http:// or https:// URL such as https://example.com/a.png"


@dataclass(frozen=True)
class Url:
    """One http or https URL without user name and password.

    `host` is a name in ASCII and lower case, without a dot at its end; or an IPv4 address; or an IPv6 address in
    brackets. `port` is None where it is the scheme's own. `plain`: the text that it was read from names just this host,
    so a program that reads URLs in another way finds no other.
    """

    href: str
    scheme: str
    host: str
    port: int | None
    path: str
    plain: bool


def parse(text: str, *, drop_credentials: bool = False) -> Url:
    """The URL that a text is. `href` parses to the same again.

    User name and password are refused, or dropped where only the rest is to be shown.

    Raises:
        ValueError: it is none, or not one with a plain host. The words quote nothing but the host.
    """
    if len(text) > MAX_URL:
        raise ValueError(f"must not be longer than {MAX_URL} characters")
    try:
        found = URL(text)
    except ValueError:  # half an emoji cannot be encoded, which is a ValueError too
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
    """The URL of a service, ready for paths to be put behind it: without query and without a slash at its end.

    Raises:
        ValueError: none that requests can be made to. It says nothing of the value: a password may stand in it.
    """
    if any(c.isspace() for c in text):
        raise ValueError("must be an http:// or https:// URL such as http://localhost:3000, without blanks")
    url = parse(text).href
    if "?" in url or "#" in url:
        raise ValueError("must end at the host or a path prefix, without ? or #")
    return url.rstrip("/")


def parse_host(text: str) -> str:
    """A host as `Url.host` has it, from one that stands alone in a setting.

    Raises:
        ValueError: it is no host, or more than one.
    """
    bare = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    if re.search(r"[/\\?#@\s]|:(?![^\[]*\])", bare):
        raise ValueError("must be hosts alone, such as files.example.com, without scheme, port or path")
    return parse(f"http://{bare}/").host


def not_public(host: str) -> str | None:
    """What a host is instead of a public one, in words; None for a public one.

    A public name may still lead to an address that is not: those that it leads to have to be judged as well.
    """
    address = _address(host)
    if address is None:
        return "a name of a private network" if _is_private_name(host) else None
    return _special(address)


def is_local(host: str) -> bool:
    """Whether a host is on this machine or a private network, by its address or by a name that only one has."""
    address = _address(host)
    return _is_private_name(host) if address is None else _special(address) in _LOCAL


# Names

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

#: Ends of names that no public resolver knows: reserved ones (IANA, Special-Use Domain Names) and customary ones.
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
    # Punycode that says nothing stays as it is when it is decoded; programs differ in what they make of it.
    return len(host) <= 253 and _NAME.fullmatch(host) is not None and "xn--" not in _in_unicode(host)


def _is_private_name(host: str) -> bool:
    return "." not in host or host.endswith(_PRIVATE_ENDS)


def _in_unicode(host: str) -> str:
    return idna_to_unicode(host) if "xn--" in host else host


def _written(text: str) -> str | None:
    """The host as it stands in the text, up to case; None where there is more to it than host and port."""
    found = re.match(r"https?://(\[[0-9a-f:.]+\]|[\w.-]+)(?::\d+)?(?:[/?#]|\Z)", text, re.IGNORECASE)
    return found[1].casefold().removesuffix(".") if found else None


# Addresses

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Addresses that are not for the public, by what they are. From the IANA IPv4 and IPv6 Special-Purpose Address
#: Registries, those that count as globally reachable included: none of them has a file that WAHA should fetch. To them
#: come multicast, what is reserved, what was site-local, and Azure's address for its own machines. A table of our own,
#: because what Python's `ipaddress` calls global differs from version to version. The first match counts.
_SPECIAL = {
    "an address of this machine": ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128"),
    "an address of a private network": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "an address of the local link": ("169.254.0.0/16", "fe80::/10"),
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
_LOCAL = ("an address of this machine", "an address of a private network", "an address of the local link")

#: RFC 6052: the IPv4 internet as machines without IPv4 see it. Where names are looked up over DNS64, all of its
#: addresses are such, so the IPv4 address within is judged.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: All that is given out to the public so far.
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
