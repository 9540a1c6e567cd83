"""Fetches files from web addresses that an agent names, without reaching into a private network.

A host is looked up once per request, each of its addresses is checked, and the connection goes to a checked address, so
a name that changes its address in between (DNS rebinding) achieves nothing. TLS checks the name. A redirect is a new
request, checked the same way. No cookie, key, referrer or proxy of the environment is used; its certificates are.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass

import anyio
import httpx
from ada_url import URL

from waha_mcp import __version__
from waha_mcp.app.urls import Url, not_public, parse
from waha_mcp.waha.body import BodyError, TooMuch, read_body

#: Seconds for one DNS lookup, one connection, a pause of the server, and the whole fetch including redirects.
LOOKUP, CONNECT_TIMEOUT, READ_TIMEOUT, DEADLINE = 3.0, 5.0, 10.0, 25.0
#: The maximum number of redirects followed, and of addresses tried per host.
MOST_REDIRECTS, MOST_ADDRESSES = 5, 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MIMETYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")

#: Why a host must not be contacted, as a clause; None if it may be.
MayAsk = Callable[[str], str | None]


class NotFetched(Exception):
    """The file was not fetched. The text is a clause that says why; of a URL, it names at most the host."""


class NotAllowed(NotFetched):
    """The URL, or what it redirects to, must not be fetched."""


@dataclass(frozen=True)
class WebFile:
    """A fetched file. `mimetype`: lower-case, as the server states it; None where it states none."""

    content: bytes
    mimetype: str | None


async def addresses_of(host: str, listed: Collection[str]) -> list[str]:
    """The IP addresses of a host (as in `Url.host`), each of them public unless the host is `listed`.

    Raises:
        NotAllowed: the host or an address is not public, or the name has no address.
    """
    if host not in listed and (what := not_public(host)):
        raise NotAllowed(f"'{host}' is {what}")
    addresses = await _look_up(host)
    if not addresses:
        raise NotAllowed(f"'{host}' cannot be resolved to an address")
    for address in addresses:
        if host not in listed and (what := not_public(address)):
            raise NotAllowed(f"'{host}' resolves to {address}, {what}")
    return addresses


async def _look_up(host: str) -> list[str]:
    with anyio.move_on_after(LOOKUP):
        try:
            found = await anyio.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
        except OSError:
            return []
        return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    return []


async def fetch(url: str, *, cap: int, listed: Collection[str] = (), why_not: MayAsk = lambda host: None) -> WebFile:
    """Fetch the file at a URL, of at most `cap` bytes.

    `listed`: hosts that need not be public. `why_not` is asked for the host of each request, redirects included.

    Raises:
        NotFetched: with the reason.
    """
    with anyio.move_on_after(DEADLINE):
        asked = parse(url)
        for _ in range(MOST_REDIRECTS + 1):
            if why := why_not(asked.host):
                raise NotAllowed(why)
            answer = await _ask(asked, await addresses_of(asked.host, listed), cap)
            if isinstance(answer, WebFile):
                return answer
            asked = _followed(asked, answer)
        raise NotFetched(f"it is redirected more than {MOST_REDIRECTS} times")
    raise NotFetched(f"no complete answer came within {DEADLINE:.0f} s")


def _followed(url: Url, location: str) -> Url:
    """The target of a redirect. Raises NotAllowed."""
    try:
        target = parse(URL(location, base=url.href).href)
    except ValueError:  # the parser's message quotes its input
        raise NotAllowed(f"'{url.host}' redirects to something other than a plain http or https URL") from None
    if url.scheme == "https" and target.scheme != "https":
        raise NotAllowed(f"'{url.host}' redirects from https to http on '{target.host}'")
    return target


async def _ask(url: Url, addresses: list[str], cap: int) -> WebFile | str:
    """Request a URL from the first address that accepts the connection: the file, or the redirect's target.

    Raises:
        NotFetched: with the reason.
    """
    for address in addresses[:MOST_ADDRESSES]:
        try:
            return await _ask_at(url, address, cap)
        except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
            if "CERTIFICATE_VERIFY_FAILED" in str(failure):
                raise NotFetched(f"the certificate of '{url.host}' cannot be verified") from None
        except httpx.TimeoutException:
            raise NotFetched(f"'{url.host}' gave no answer in time") from None
        except httpx.HTTPError:
            raise NotFetched(f"the connection to '{url.host}' broke, or it does not speak HTTP") from None
    raise NotFetched(f"no connection to '{url.host}' could be made")


async def _ask_at(url: Url, address: str, cap: int) -> WebFile | str:
    host = f"[{address}]" if ":" in address else address
    port = "" if url.port is None else f":{url.port}"
    target = url.href.partition("#")[0].split("/", 3)[3]
    # Plain http needs no certificates, which take long to load.
    verify = httpx.create_ssl_context() if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    headers = {
        "Host": f"{url.host}{port}",
        "User-Agent": f"waha-mcp/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    request = httpx.Request(
        "GET",
        f"{url.scheme}://{host}{port}/{target}",
        headers=headers,
        extensions={
            "timeout": httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT).as_dict(),
            # The name that TLS asks for and checks the certificate against.
            "sni_hostname": url.host.strip("[]"),
        },
    )
    # A bare transport: it has no cookies, uses no proxy, and does not follow redirects.
    async with httpx.AsyncHTTPTransport(verify=verify) as transport:
        response = await transport.handle_async_request(request)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return str(response.headers["location"])
            if response.status_code != 200:
                raise NotFetched(f"'{url.host}' answered {response.status_code}{_STATUS.get(response.status_code, '')}")
            content = await read_body(response, cap)
        except TooMuch:
            raise NotFetched(f"the file is over {cap // 2**20} MiB") from None
        except BodyError:
            raise NotFetched(f"the answer of '{url.host}' is damaged, or compressed in an unsupported way") from None
        finally:
            await response.aclose()
    stated = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return WebFile(content, stated if _MIMETYPE.fullmatch(stated) else None)


_STATUS = {
    401: ": it requires a login",
    403: ": access is denied",
    404: ": there is no such file",
    410: ": the file is gone",
    429: ": too many requests",
}
