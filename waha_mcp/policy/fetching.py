"""URLs that WAHA is asked to fetch: it does so from its own network, where an agent has no business.

Names are resolved here, with this machine's resolver. What that cannot catch: a name that WAHA's resolver answers
differently, or that changes its address between the check and the fetch. WAHA's own network rules have to stop those.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Collection
from urllib.parse import unquote

import anyio

from waha_mcp.app.urls import MAX_URL, not_public, parse

#: Seconds for looking a name up.
LOOKUP = 3.0
#: Links of one text that are looked at.
MOST_LINKS = 30

# What is taken for a link. Finders differ (by engine and release, and WhatsApp's own), so this takes what any may take,
# each link with all that follows it up to a blank that every finder knows.
_RUN = rf"[^ \t\n\r\f]{{0,{MAX_URL}}}"
_REST = rf"(?:[:/\\?#]{_RUN})?"
_DOT = "[.。．｡]"
_NUMBER = r"(?:0x[0-9a-f]*|\d+)"
#: With a scheme, also inside another link. Whatever scheme it is, a finder may take the rest of it.
_WITH_SCHEME = re.compile(
    rf"(?=((?:https?:|(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{{0,30}}:(?=[/\\]{{2}}))[/\\]*([^ \t\n\r\f/\\]{_RUN})))",
    re.IGNORECASE,
)
#: A name with a dot: what follows the last one is letters.
_NAME = re.compile(
    rf"(?<![\w-])(?:[\w-]{{1,63}}{_DOT}){{1,32}}(?:xn--[\w-]+|[^\W\d_]{{2,}})(?![\w-]){_REST}", re.IGNORECASE
)
#: An address; one that is written short or as one number only with a port or path, else it is any number.
_ADDRESS = re.compile(
    rf"(?<![0-9a-z])(?<!\d\.)(?:"
    rf"{_NUMBER}(?:{_DOT}{_NUMBER}){{3}}(?!\w){_REST}"
    rf"|(?:{_NUMBER}(?:{_DOT}{_NUMBER}){{1,2}}|0x[0-9a-f]+|\d{{8,}})(?=:\d|[/\\]){_REST}"
    rf"|[0０](?=:\d{{2,5}}[/\\?#]){_REST}"
    rf"|\[(?=[0-9a-f.]*:[0-9a-f.]*:)[0-9a-f:.]{{2,45}}\]{_REST})",
    re.IGNORECASE,
)
#: A name with port and path, whatever its labels are; a name without a dot after an `@`, or the one that every machine
#: has. "Rating:10/10" and "12:30/13:00" are none.
_LABEL = re.compile(
    rf"(?<![\w-])(?<![\w-]\.)(?:(?![\w-]+:\d{{1,3}}/\d+(?![\w./-]))(?=[\w.-]*[^\W\d])"
    rf"\w[\w-]{{0,62}}(?:{_DOT}[\w-]{{1,63}}){{0,32}}:\d{{1,5}}(?=[/\\?#])|localhost(?=:\d|[/\\?#])"
    rf"|(?<=@)[\w-]{{1,63}}(?=:\d|[/\\])){_REST}",
    re.IGNORECASE,
)
#: What a text puts around a link.
_AROUND = ".,;:!?)]}>\"'»”’*_~`…"


def links_in(text: str) -> list[str]:
    """The links of a text as URLs, each once. Too many rather than too few."""
    # What unpacks a host may do so before it looks for one.
    spellings = dict.fromkeys((text, unicodedata.normalize("NFKC", text), unquote(text)))
    return list(dict.fromkeys(link for each in spellings for link in _links_in(each)))


def _links_in(text: str) -> list[str]:
    found = []
    for each in _WITH_SCHEME.finditer(text):
        scheme = "https" if each[1][:6].lower() == "https:" else "http"
        found.append((scheme, _alone(each[2])))
    # A name in the path of a link is a file, most often.
    rest = re.sub(r"https?:[/\\]*[^ \t\n\r\f]+", " ", text, flags=re.IGNORECASE)
    bare = [*_NAME.findall(rest), *_LABEL.findall(text), *map(_as_address, _ADDRESS.findall(text))]
    found += [("http", _alone(each)) for each in bare]
    return [f"{scheme}://{each}" for scheme, each in found if each]


def _alone(link: str) -> str:
    """A link without what a text puts around it; an IPv6 address keeps its bracket."""
    bare = link.rstrip(_AROUND)
    return f"{bare}]" if bare.count("[") > bare.count("]") else bare


def _as_address(link: str) -> str:
    """A link that begins with an address, with that in its usual form; nothing where it is none."""
    try:
        return parse(f"http://{_alone(link)}").href.removeprefix("http://")
    except ValueError:
        return ""


async def refusal(urls: Collection[str], allowed_hosts: Collection[str]) -> str | None:
    """Why WAHA must not fetch URLs; None where it may fetch all. `allowed_hosts` are in the form of `Url.host`."""
    if len(urls) > MOST_LINKS:
        return f"there are more than {MOST_LINKS} links to look at"
    for url in urls:
        if why := await _refusal(url, allowed_hosts):
            return why
    return None


async def _refusal(url: str, allowed_hosts: Collection[str]) -> str | None:
    try:
        parsed = parse(url)
    except ValueError as error:
        return str(error)
    host = parsed.host
    if host not in allowed_hosts and (what := not_public(host)):
        return f"'{host}' is {what}"
    if not parsed.plain:
        # A text goes out as it is, and WAHA's other parts may read another host in it than Node does.
        return f"the host '{host}' is written in a way that not every program reads alike"
    if host in allowed_hosts:
        return None
    addresses = await _look_up(host)
    if not addresses:
        return f"'{host}' is not a name that can be looked up"
    for address in addresses:
        if what := not_public(address):
            return f"'{host}' leads to {address}, {what}"
    return None


async def _look_up(host: str) -> list[str]:
    with anyio.move_on_after(LOOKUP):
        try:
            found = await anyio.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
        except OSError:
            return []
        return [str(entry[4][0]).partition("%")[0] for entry in found]
    return []
