"""Links in outgoing texts: finds them, and judges their hosts by the App's `[links]`."""

from __future__ import annotations

import base64
import contextlib
import json
import quopri
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
#: Most hosts named to people; the rest are given as a count.
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
#: A host name with a dot whose last label is letters. For some detectors it ends there even before "-" or "_".
_NAME = re.compile(
    rf"(?<![\w-])(?:[\w-]{{1,63}}{_DOT}){{1,32}}(?:xn--[\w-]+|[^\W\d_]{{2,}})(?![^\W_]){_REST}", re.IGNORECASE
)
#: An IP address; shortened or as a single number only with a port or path, since it could be any number otherwise.
_ADDRESS = re.compile(
    rf"(?<![0-9a-z])(?<!\d\.)(?:"
    rf"{_NUMBER}(?:{_DOT}{_NUMBER}){{3}}(?![^\W_]){_REST}"
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


def links_in(text: str, *, bare: bool = True) -> list[str]:
    """The links of a text as URLs, without duplicates. Errs towards false positives.

    Without `bare`: only those with a scheme.
    """
    # A detector may decode, normalize or clean the text first.
    spellings = {text: None}
    for change in (unquote, _normalized, _without_hidden):
        spellings |= dict.fromkeys([change(each) for each in spellings])
    return list(dict.fromkeys(link for each in spellings for link in _links_in(each, bare=bare)))


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _without_hidden(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c.isspace() or not hides(c))


def _as_letters(text: str) -> str:
    """The text with a letter for each mark and a digit for each symbol, at the same places."""
    return "".join(c if c.isascii() else _STAND_INS.get(unicodedata.category(c)[0], c) for c in text)


def _links_in(text: str, *, bare: bool) -> list[str]:
    found = []
    for each in _WITH_SCHEME.finditer(text):
        scheme = "https" if each[1][:6].lower() == "https:" else "http"
        found.append((scheme, _alone(each[2])))
    if bare:
        found += [("http", _alone(each)) for each in _without_scheme(text)]
    return [f"{scheme}://{each}" for scheme, each in found if each]


def _without_scheme(text: str) -> list[str]:
    # A name with a dot in the path or query of a link is usually a file name.
    rest = _WHOLE.sub(" ", text)
    wide = [rest[each.start() : each.end()] for each in _NAME.finditer(_as_letters(rest))]
    # WhatsApp writes "_in italics_".
    names = [each.lstrip("_") for each in (*_NAME.findall(rest), *wide)]
    return [*names, *_LABEL.findall(text), *map(_as_address, _ADDRESS.findall(text))]


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
    """A host as shown to people: with letters beyond ASCII also in Punycode, since they may look like others."""
    return f"{idna_to_unicode(host)} ({host})" if "xn--" in host else host


def others_of(call: Call, rule: Links) -> Others:
    """What the call sends that the rule does not cover; empty if the rule sets no limit."""
    if rule.others == "allow" or not call.reached:
        return Others()
    hosts: dict[str, None] = {}
    unclear = False
    for links in _links_of(call):
        if links is None or len(links) > MOST_LINKS:
            unclear = True
        for link in (links or [])[:MOST_LINKS]:
            host, certain = _host_of(link)
            if host is not None and not covered(host, rule.allow):
                hosts[host] = None
            elif not certain:
                unclear = True
    return Others(tuple(hosts), unclear)


def foreign_hosts(call: Call) -> list[str]:
    """The hosts with letters beyond ASCII in the texts of a call, as in `Url.host`."""
    found = [_host_of(link)[0] for links in _links_of(call) for link in links or ()]
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
    """The texts that a call sends; None for one that is not known.

    Every string in the arguments, except those for chats and messages and those that nobody reads (`Tool.unread`);
    the names of files by URL; and the content of messages taken from elsewhere: forwarded ones, and quoted ones of
    other chats.
    """
    tool = call.tool
    left_out = tool.references.keys() | tool.messages.keys() | tool.unread
    for name, value in call.arguments.items():
        if name not in left_out:
            yield from _strings(value)
    yield from (name_in(url) or "" for url in call.urls().values())
    for row in _taken_along(call):
        yield from _said(row)


def _links_of(call: Call) -> Iterator[list[str] | None]:
    """The links of each text that a call sends, None for one that is not known; and of everything in the
    messages taken from elsewhere.
    """
    for text in texts_of(call):
        yield None if text is None else links_in(text)
    for row in _taken_along(call):
        yield from _links_in_row(row)


def _taken_along(call: Call) -> Iterator[Mapping[str, Any]]:
    """WAHA's rows of the messages whose content is sent elsewhere; empty rows for those that are not known."""
    to = call.named(reached=True)
    for name, mark in call.tool.messages.items():
        for message_id in as_list(call.arguments.get(name)):
            if not mark.reached or (to and parse_message_id(message_id).chat not in to):
                yield call.named_messages.get(message_id) or {}


def _said(row: Mapping[str, Any]) -> Iterator[str | None]:
    """The texts of WAHA's row of a message; None if the row does not tell."""
    message = message_from(row) if row else None
    if message is None:
        yield None
    else:
        yield from _strings(message.model_dump(include=SHOWN, exclude={"media": {"mimetype"}}))


# In a message

#: Fields of a raw message, in small letters and without "_", in which a link may stand without a scheme: what WhatsApp
#: shows as a text or leads to. Elsewhere, ids and numbers would be taken for hosts.
_SHOWN_FIELDS = frozenset(
    (
        *("address", "body", "buttontext", "canonicalurl", "caption", "comment", "contenttext", "conversation"),
        *("copycode", "description", "displayname", "displaytext", "filename", "footer", "footertext", "headertext"),
        *("hydratedcontenttext", "hydratedfootertext", "hydratedtitletext", "joinlink", "link", "matchedtext"),
        *("merchanturl", "name", "optionname", "selecteddisplaytext", "sourceurl", "subtitle", "text", "title"),
        *("url", "vcard", "vcards", "websites"),
    )
)
#: Fields, likewise, that say where WhatsApp's servers have a file or thumbnail, and the domain of these servers.
_OWN_FIELDS = frozenset({"url", "directpath", "mediaurl", "deprecatedmms3url", "staticurl", "clienturl", "eurl", "img"})
_OWN_DOMAIN = ".whatsapp.net"
#: The name of a group of lines in a vCard, which looks like a host.
_CARD_GROUP = re.compile(r"^item\d+\.(?=[a-z-]+[;:])", re.IGNORECASE | re.MULTILINE)
#: Longest link that a question shows whole, in characters.
_LONGEST_SHOWN = 300


def brought_links(call: Call) -> dict[str, list[str]]:
    """The links anywhere in the messages that a call names, by label: part of its digest."""
    found = {}
    for name in call.tool.messages:
        rows = [call.named_messages.get(each) or {} for each in as_list(call.arguments.get(name))]
        if links := list(dict.fromkeys(link for row in rows for part in _links_in_row(row) for link in part)):
            found[f"links in {name}"] = links
    return found


def link_lines(call: Call) -> dict[str, str]:
    """`brought_links` for a question: one link per line; truncation is marked."""
    return {label: "\n".join(_cut(links)) for label, links in brought_links(call).items()}


def _cut(links: list[str]) -> Iterator[str]:
    for link in links[:MOST_LINKS]:
        whole = len(link) <= _LONGEST_SHOWN
        yield link if whole else f"{link[:_LONGEST_SHOWN]}… (cut: it has {len(link)} characters)"
    if len(links) > MOST_LINKS:
        yield f"… and {len(links) - MOST_LINKS} more"


def _links_in_row(row: Mapping[str, Any]) -> Iterator[list[str]]:
    """The links of each string of WAHA's row of a message, except where WAHA and WhatsApp have its file."""
    for name, text in _named_strings(_without_file(row)):
        field = name.replace("_", "").lower()
        if (field in _OWN_FIELDS or "thumb" in field) and _is_own(text):
            continue
        if field.startswith("vcard"):
            text = _CARD_GROUP.sub("", text)
            # A long line goes on after a line end and a blank; version 2.1 may encode what follows the colon.
            text = "\n".join((text, whole := re.sub(r"\r?\n[ \t]", "", text), *_decoded_in_card(whole)))
        elif field == "invitecode":
            # As the link to the group that the invitation stands for.
            text = f"https://chat.whatsapp.com/{text}"
        if links := links_in(text, bare=field in _SHOWN_FIELDS):
            yield links


#: Encoded values in a vCard: quoted-printable ones go on after a line that ends with "=".
_QUOTED = re.compile(r"^[^:\n]*[;=](?:quoted-printable|q)(?:;[^:\n]*)?:((?:.*=\r?\n)*.*)", re.IGNORECASE | re.MULTILINE)
_BASE64 = re.compile(r"^[^:\n]*[;=](?:base64|b)(?:;[^:\n]*)?:([\w+/=-]*)", re.IGNORECASE | re.MULTILINE)


def _decoded_in_card(card: str) -> Iterator[str]:
    """The values of a vCard that are quoted-printable or base64, as texts."""
    for value in _QUOTED.findall(card):
        yield quopri.decodestring(value.encode(errors="replace")).decode(errors="replace")
    for value in _BASE64.findall(card):
        with contextlib.suppress(ValueError):
            data = base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
            yield data.decode()  # what is no text, such as a photo, holds no link


def _without_file(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without WAHA's own URL of its file, and of the file that it quotes."""
    kept = dict(row)
    if isinstance(media := kept.get("media"), Mapping):
        kept["media"] = {k: v for k, v in media.items() if k != "url"}
    if isinstance(quoted := kept.get("replyTo"), Mapping):
        kept["replyTo"] = _without_file(quoted)
    return kept


def _is_own(text: str) -> bool:
    """Whether a text is the URL of a file on WhatsApp's servers, with no other in it."""
    if any(map(str.isspace, text)) or not text.lower().startswith("https://"):
        return False
    found = [_host_of(link) for link in links_in(text, bare=False)]
    return all(certain and (host or "").endswith(_OWN_DOMAIN) for host, certain in found)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON. A name may occur twice, and which of the two counts depends on the reader."""


def _named_strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every string with the name of the field that holds it, also in JSON within a string."""
    left: list[tuple[str, Any]] = [("", value)]
    while left:
        name, value = left.pop()
        if isinstance(value, str):
            inner = _json_in(value)
            if inner is None:
                yield name, value
            else:
                left.append((name, inner))
        elif isinstance(value, Mapping | _Pairs):
            pairs = value if isinstance(value, _Pairs) else value.items()
            left += [pair for key, each in pairs for pair in ((str(key), each), ("", str(key)))]
        elif isinstance(value, list):
            left += [(name, each) for each in value]


def _json_in(text: str) -> Any:
    """The object or list of which a text is the JSON; None if it is none."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None


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
