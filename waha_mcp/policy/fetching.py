"""Checks URLs that WAHA would fetch (media, link previews) against server-side request forgery (SSRF).

Host names are resolved with this machine's resolver. Not covered: names that WAHA's resolver answers differently, and
DNS rebinding between check and fetch. WAHA's own network rules have to stop those.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Collection
from urllib.parse import unquote

import anyio

from waha_mcp.app.urls import MAX_URL, not_public, parse

#: Timeout in seconds of one DNS lookup.
LOOKUP = 3.0
#: Most URLs of one text that are checked; a text with more is refused.
MOST_LINKS = 30

# What counts as a link. Link detection differs by engine, release and WhatsApp client, so this matches what any of them
# may match, each link up to the next white space that all of them stop at.
_RUN = rf"[^ \t\n\r\f]{{0,{MAX_URL}}}"
_REST = rf"(?:[:/\\?#]{_RUN})?"
_DOT = "[.。．｡]"
_NUMBER = r"(?:0x[0-9a-f]*|\d+)"
#: With any scheme, also inside another link: a detector may ignore the scheme and take the rest.
_WITH_SCHEME = re.compile(
    rf"(?=((?:https?:|(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{{0,30}}:(?=[/\\]{{2}}))[/\\]*([^ \t\n\r\f/\\]{_RUN})))",
    re.IGNORECASE,
)
#: A host name with a dot whose last label is letters.
_NAME = re.compile(
    rf"(?<![\w-])(?:[\w-]{{1,63}}{_DOT}){{1,32}}(?:xn--[\w-]+|[^\W\d_]{{2,}})(?![\w-]){_REST}", re.IGNORECASE
)
#: An IP address; shortened or as a single number only with a port or path, since it could be any number otherwise.
_ADDRESS = re.compile(
    rf"(?<![0-9a-z])(?<!\d\.)(?:"
    rf"{_NUMBER}(?:{_DOT}{_NUMBER}){{3}}(?!\w){_REST}"
    rf"|(?:{_NUMBER}(?:{_DOT}{_NUMBER}){{1,2}}|0x[0-9a-f]+|\d{{8,}})(?=:\d|[/\\]){_REST}"
    rf"|[0０](?=:\d{{2,5}}[/\\?#]){_REST}"
    rf"|\[(?=[0-9a-f.]*:[0-9a-f.]*:)[0-9a-f:.]{{2,45}}\]{_REST})",
    re.IGNORECASE,
)
#: Any host name with port and path; a name without a dot after an `@`; `localhost` with a port or path. Not
#: "Rating:10/10" or "12:30/13:00".
_LABEL = re.compile(
    rf"(?<![\w-])(?<![\w-]\.)(?:(?![\w-]+:\d{{1,3}}/\d+(?![\w./-]))(?=[\w.-]*[^\W\d])"
    rf"\w[\w-]{{0,62}}(?:{_DOT}[\w-]{{1,63}}){{0,32}}:\d{{1,5}}(?=[/\\?#])|localhost(?=:\d|[/\\?#])"
    rf"|(?<=@)[\w-]{{1,63}}(?=:\d|[/\\])){_REST}",
    re.IGNORECASE,
)
#: Punctuation that may follow a link in a text.
_AROUND = ".,;:!?)]}>\"'»”’*_~`…"


def links_in(text: str) -> list[str]:
    """The links of a text as URLs, without duplicates. Errs towards false positives."""
    # A detector may normalize or percent-decode the text first.
    spellings = dict.fromkeys((text, unicodedata.normalize("NFKC", text), unquote(text)))
    return list(dict.fromkeys(link for each in spellings for link in _links_in(each)))


def _links_in(text: str) -> list[str]:
    found = []
    for each in _WITH_SCHEME.finditer(text):
        scheme = "https" if each[1][:6].lower() == "https:" else "http"
        found.append((scheme, _alone(each[2])))
    # A name with a dot in the path of a link is usually a file name.
    rest = re.sub(r"https?:[/\\]*[^ \t\n\r\f]+", " ", text, flags=re.IGNORECASE)
    bare = [*_NAME.findall(rest), *_LABEL.findall(text), *map(_as_address, _ADDRESS.findall(text))]
    found += [("http", _alone(each)) for each in bare]
    return [f"{scheme}://{each}" for scheme, each in found if each]


def _alone(link: str) -> str:
    """A link without trailing punctuation; an IPv6 address keeps its bracket."""
    bare = link.rstrip(_AROUND)
    return f"{bare}]" if bare.count("[") > bare.count("]") else bare


def _as_address(link: str) -> str:
    """A link with an IP address as its host, normalized, without the scheme; empty if it does not parse."""
    try:
        return parse(f"http://{_alone(link)}").href.removeprefix("http://")
    except ValueError:
        return ""


async def refusal(urls: Collection[str], allowed_hosts: Collection[str]) -> str | None:
    """Why WAHA must not fetch these URLs; None if it may fetch all. `allowed_hosts`: hosts as in `Url.host`."""
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
        # The text is sent unchanged, and parsers in WAHA other than Node's may read another host in it.
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
