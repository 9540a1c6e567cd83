"""HTML pages for people, of the console and of OAuth: what a browser is told with each of them."""

from __future__ import annotations

from html import escape
from importlib import resources

from starlette.responses import HTMLResponse

#: Of all answers to a person's browser: they are kept nowhere, and shown within no other page.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def as_page(text: str, nonce: str, status: int = 200, *, posts: bool = False, more: str = "") -> HTMLResponse:
    """A whole page, whose style has this nonce. It loads nothing, and can do nothing but what is said here.

    `posts`: it has a form, for this server. `more`: of its policy, each with "; " after it.
    """
    target = "'self'" if posts else "'none'"
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; form-action {target}; {more}base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    headers = HEADERS | {"Content-Security-Policy": policy, "X-Robots-Tag": "noindex"}
    if posts:
        # With no referrer at all, a browser sends no origin with a form, either.
        headers["Referrer-Policy"] = "same-origin"
    return HTMLResponse(text, status, headers)


def page_text(file: str, **texts: str) -> str:
    """A file of this package, with these texts (escaped) in place of their names."""
    text = resources.files("waha_mcp.console").joinpath(file).read_text(encoding="utf-8")
    for name, value in texts.items():
        text = text.replace(f"{{{name}}}", escape(value))
    return text
