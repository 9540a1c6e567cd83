"""The URLs and links of a call: whether they may go out, and the fetching of the files that it names by URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from waha_mcp.app.definition import App
from waha_mcp.policy import Refusal
from waha_mcp.policy.call import Call
from waha_mcp.policy.fetching import refusal, refusal_as_written
from waha_mcp.policy.links import Others, covered, links_in, others_of, shown
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.local_files import MAX_FILE
from waha_mcp.waha.web_fetch import NotAllowed, NotFetched, fetch


class UrlChecks:
    """The URLs of one App's calls."""

    def __init__(self, app: App) -> None:
        self._app = app

    def check(self, call: Call) -> Others:
        """Refuse a call with a URL or link that may not go out; the hosts that a person has to be asked about.

        Raises:
            Refusal: there is one.
        """
        self._check_urls(call)
        return self._check_links(call)

    def _check_urls(self, call: Call) -> None:
        """Refuse URLs that must not be fetched, without network requests: looking up a name informs its owner."""
        for name, urls in (self._previewed(call) | {name: [url] for name, url in call.urls().items()}).items():
            if why := refusal_as_written(urls, self._app.media_hosts):
                raise _not_to_fetch(name, why)

    def _check_links(self, call: Call) -> Others:
        """The hosts that a person has to be asked about. Raises as `check`."""
        others = others_of(call, self._app.links)
        if others and self._app.links.others == "refuse":
            raise Refusal(
                "link refused",
                f"This was not done: the user's list of links ([links] in the App file) does not cover {others}. Only "
                "the user can change that list. Leave the link out; do not look for a way around.",
            )
        return others

    async def fetch(self, call: Call, depart: Callable[[], Awaitable[None]]) -> None:
        """Fetch the files that the call names by URL, and look up what WAHA is to fetch by itself.

        `depart` is awaited before the first byte leaves.

        Raises:
            Refusal: a URL leads to where it must not, or the user has paused it meanwhile.
            ArgumentError: a file cannot be fetched.
        """
        urls = call.urls()
        if urls:
            # A request for a file tells the server something.
            await depart()
        by_waha = self._previewed(call)
        if self._app.media_fetch == "waha":
            by_waha |= {name: [url] for name, url in urls.items()}
            urls = {}
        for name, each in by_waha.items():
            if why := await refusal(each, self._app.media_hosts):
                raise _not_to_fetch(name, why)
        fetched = {}
        for name, url in urls.items():
            try:
                fetched[url] = await fetch(
                    url, cap=MAX_FILE, listed=self._app.media_hosts, why_not=partial(self._why_not_asked, call)
                )
            except NotAllowed as error:
                raise _not_to_fetch(name, str(error)) from None
            except NotFetched as error:
                raise ArgumentError(f"{name}: {error}, so nothing was sent") from None
        call.context = replace(call.context, fetched=fetched)

    def _why_not_asked(self, call: Call, host: str) -> str | None:
        """Why a host must not be asked for a file, such as one that a server redirects to; None if it may be."""
        rule = self._app.links
        if rule.others == "allow" or covered(host, rule.allow) or host in others_of(call, rule).hosts:
            return None
        return f"the user's list of links ([links] in the App file) does not allow '{shown(host)}'"

    @staticmethod
    def _previewed(call: Call) -> dict[str, list[str]]:
        """The links of which WAHA would be asked for a preview, by parameter."""
        if not any(call.arguments.get(name) for name in call.tool.link_previews):
            return {}
        named = call.tool.references.keys() | call.tool.messages.keys()
        texts = [(k, v) for k, v in call.arguments.items() if isinstance(v, str) and k not in named]
        return {name: links_in(text) for name, text in texts}


def _not_to_fetch(name: str, why: str) -> Refusal:
    return Refusal("url refused", f"{name}: {why}, so it is not fetched. Give a public https URL, or the file itself.")
