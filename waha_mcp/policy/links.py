"""Links in what goes out: finds them, and judges their hosts by the App's `[links]`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ada_url import idna_to_unicode

from waha_mcp.app.policy_fields import Links
from waha_mcp.app.urls import MAX_URL, parse
from waha_mcp.policy.call import SHOWN, Call, as_list
from waha_mcp.tools.local_files import name_in
from waha_mcp.waha.messages import message_from
from waha_mcp.whatsapp.ids import parse_message_id
from waha_mcp.whatsapp.untrusted import hides

#: Most links of one text that are judged.
MOST_LINKS = 30
#: Hosts that are named to people; of the rest the count is given.
_MOST_NAMED = 5

# Finding

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
#: A link with a scheme, up to where some detectors end it.
_WHOLE = re.compile(r"https?:[/\\]*[\w\-.~:/\\?#\[\]@$&+=%]+", re.IGNORECASE)
#: By the first letter of a Unicode category: marks and symbols may stand in host names, too, which `\w` leaves out.
_STAND_INS = {"M": "x", "S": "0"}
#: Punctuation that may follow a link in a text.
_AROUND = ".,;:!?)]}>\"'»”’*_~`…"


def links_in(text: str) -> list[str]:
    """The links of a text as URLs, without duplicates. Errs towards false positives."""
    # A detector may decode, normalize or clean the text first.
    spellings = {text: None}
    for change in (unquote, _normalized, _without_hidden):
        spellings |= dict.fromkeys([change(each) for each in spellings])
    return list(dict.fromkeys(link for each in spellings for link in _links_in(each)))


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _without_hidden(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c.isspace() or not hides(c))


def _as_letters(text: str) -> str:
    """The text with a letter for each mark and a digit for each symbol, at the same places."""
    return "".join(c if c.isascii() else _STAND_INS.get(unicodedata.category(c)[0], c) for c in text)


def _links_in(text: str) -> list[str]:
    found = []
    for each in _WITH_SCHEME.finditer(text):
        scheme = "https" if each[1][:6].lower() == "https:" else "http"
        found.append((scheme, _alone(each[2])))
    # A name with a dot in the path of a link is usually a file name.
    rest = _WHOLE.sub(" ", text)
    wide = [rest[each.start() : each.end()] for each in _NAME.finditer(_as_letters(rest))]
    bare = [*_NAME.findall(rest), *wide, *_LABEL.findall(text), *map(_as_address, _ADDRESS.findall(text))]
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


# Judging

#: Endings of file names that are no top-level domains, so that "report.pdf" names no host.
_NO_DOMAINS = frozenset(
    (
        *(
            "aspx",
            "avi",
            "bmp",
            "csv",
            "doc",
            "docx",
            "epub",
            "flac",
            "gif",
            "gz",
            "heic",
            "htm",
            "html",
            "ics",
            "jpeg",
        ),
        *("jpg", "json", "jsp", "mkv", "odp", "ods", "odt", "oga", "ogg", "opus", "pdf", "php", "png", "ppt", "pptx"),
        *("rar", "rtf", "svg", "tar", "tif", "tiff", "txt", "vcf", "wav", "webm", "webp", "xls", "xlsx", "xml"),
    )
)


@dataclass(frozen=True)
class Others:
    """What the App's list of links does not cover: `hosts` as in `Url.host`; `unclear` links have no certain host."""

    hosts: tuple[str, ...] = ()
    unclear: bool = False

    def __bool__(self) -> bool:
        return bool(self.hosts) or self.unclear

    def __str__(self) -> str:
        named = [shown(host) for host in self.hosts[:_MOST_NAMED]]
        if more := len(self.hosts) - len(named):
            named.append(f"{more} more")
        if self.unclear:
            named.append("links whose host is not certain")
        return ", ".join(named)


def covered(host: str, allowed: Collection[str]) -> bool:
    """Whether a list of hosts covers this one: it is listed, or below a listed name. Hosts as in `Url.host`."""
    return host in allowed or any(host.endswith(f".{each}") for each in allowed)


def shown(host: str) -> str:
    """A host as people are shown it: with letters beyond ASCII also in Punycode, since they may look like others."""
    return f"{idna_to_unicode(host)} ({host})" if "xn--" in host else host


def others_of(call: Call, rule: Links) -> Others:
    """What the call sends out that the rule does not cover; nothing where the rule sets no limit."""
    if rule.others == "allow" or not call.reached:
        return Others()
    hosts: dict[str, None] = {}
    unclear = False
    for text in texts_of(call):
        if text is None:
            unclear = True
            continue
        links = links_in(text)
        if len(links) > MOST_LINKS:
            unclear = True
        for link in links[:MOST_LINKS]:
            host, certain = _host_of(link)
            if host is not None and not covered(host, rule.allow):
                hosts[host] = None
            elif not certain:
                unclear = True
    return Others(tuple(hosts), unclear)


def foreign_hosts(call: Call) -> list[str]:
    """The hosts with letters beyond ASCII in the texts of a call, as in `Url.host`."""
    found = [_host_of(link)[0] for text in texts_of(call) for link in links_in(text or "")]
    return [host for host in dict.fromkeys(found) if host and "xn--" in host]


def _host_of(link: str) -> tuple[str | None, bool]:
    """The host of a found link, and whether every program reads this one; (None, True) for the name of a file."""
    try:
        url = parse(link)
    except ValueError:
        try:
            return parse(link, drop_credentials=True).host, False
        except ValueError:
            return None, False
    if url.path == "/" and url.port is None and url.host.rpartition(".")[2] in _NO_DOMAINS:
        return None, True
    return url.host, url.plain


def texts_of(call: Call) -> Iterator[str | None]:
    """The texts that a call sends out; None for one that is not known.

    Every string in the arguments but those for chats and messages and those that nobody reads (`Tool.unread`), the
    names of files by URL, and what the messages say that are taken from elsewhere: forwarded ones, and quoted ones of
    other chats.
    """
    tool = call.tool
    left_out = tool.references.keys() | tool.messages.keys() | tool.unread
    for name, value in call.arguments.items():
        if name not in left_out:
            yield from _strings(value)
    yield from (name_in(url) or "" for url in call.urls().values())
    to = call.named(reached=True)
    for name, mark in tool.messages.items():
        for message_id in as_list(call.arguments.get(name)):
            if not mark.reached or (to and parse_message_id(message_id).chat not in to):
                yield from _said(call.named_messages.get(message_id) or {})


def _said(row: Mapping[str, Any]) -> Iterator[str | None]:
    """The texts of WAHA's row of a message; None if the row does not tell."""
    message = message_from(row) if row else None
    if message is None:
        yield None
    else:
        yield from _strings(message.model_dump(include=SHOWN, exclude={"media": {"mimetype"}}))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strings(key)
            yield from _strings(each)
    elif isinstance(value, Iterable):  # models, too: they give pairs
        for each in value:
            yield from _strings(each)
