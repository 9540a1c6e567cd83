"""Checks URLs that would be fetched (media, link previews) against server-side request forgery (SSRF).

This bridge fetches media from an address that it has checked (`waha.web_fetch`). What WAHA fetches by itself (link
previews, and media with `media_fetch = "waha"`) is checked with this machine's resolver; not covered there are names
that WAHA's resolver answers differently or later, and redirects. WAHA's own network rules have to stop those.
"""

from __future__ import annotations

from collections.abc import Collection

from waha_mcp.app.urls import not_public, parse
from waha_mcp.policy.links import MOST_LINKS
from waha_mcp.waha.web_fetch import NotAllowed, addresses_of


def refusal_as_written(urls: Collection[str], listed: Collection[str]) -> str | None:
    """Why these URLs must not be fetched, as far as that is known without network requests; None if there is no reason.

    `listed`: hosts as in `Url.host` that need not be public.
    """
    if len(urls) > MOST_LINKS:
        return f"there are more than {MOST_LINKS} links to check"
    return next((why for url in urls if (why := _as_written(url, listed))), None)


def _as_written(url: str, listed: Collection[str]) -> str | None:
    try:
        parsed = parse(url)
    except ValueError as error:
        return str(error)
    host = parsed.host
    if host not in listed and (what := not_public(host)):
        return f"'{host}' is {what}"
    if not parsed.plain:
        # The text is sent unchanged, and parsers in WAHA other than Node's may read another host in it.
        return f"the host '{host}' is written in a way that programs read differently"
    return None


async def refusal(urls: Collection[str], listed: Collection[str]) -> str | None:
    """Why WAHA must not fetch these URLs by itself; None if it may fetch all. Looks up their hosts."""
    if why := refusal_as_written(urls, listed):
        return why
    for host in dict.fromkeys(parse(url).host for url in urls):
        try:
            if host not in listed:
                await addresses_of(host, ())
        except NotAllowed as error:
            return str(error)
    return None
