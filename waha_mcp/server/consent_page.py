"""The page on which a person lets an OAuth client use an App. It needs no JavaScript and loads nothing.

Everything that is put into it is escaped here. What a client says of itself is a stranger's word, and marked as such.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from html import escape

from pydantic import AnyUrl
from starlette.responses import HTMLResponse

from waha_mcp.console.pages import as_page
from waha_mcp.digests import digest
from waha_mcp.server.consent_words import Terms
from waha_mcp.server.oauth_clients import LOOPBACK
from waha_mcp.whatsapp.untrusted import reveal

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --go: #0a7a50; --no: #b3261e; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { --go: #17805a; --no: #f2928c; --page: #16181a; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; background: var(--page); max-width: 34rem; margin: 0 auto;
  padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: .5rem 0 1rem; }
h2 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; }
dl { margin: 1rem 0; padding: .8rem 1rem; background: var(--soft); border-radius: .6rem; }
dt { font-size: .85rem; opacity: .75; }
dd { margin: 0 0 .6rem; } dd:last-child { margin: 0; }
ul { margin: .3rem 0 1rem; padding-left: 1.2rem; } li { margin: .3rem 0; }
code { font: .95em ui-monospace, monospace; background: var(--soft); border-radius: .3rem; padding: .1rem .3rem; }
label { display: block; font-weight: 600; margin: 1.2rem 0 .3rem; }
input[type=text] { width: 100%; font: 1.3rem ui-monospace, monospace; letter-spacing: .06em; padding: .6rem .7rem;
  border: 1px solid var(--line); border-radius: .5rem; background: none; color: inherit; text-transform: uppercase; }
.hint, footer, summary, details { font-size: .9rem; } .hint, footer { opacity: .8; } footer { margin-top: 2rem; }
.wrong, .care { border-left: .25rem solid var(--no); padding: .5rem .8rem; background: var(--soft);
  border-radius: 0 .4rem .4rem 0; }
.buttons { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.3rem 0; }
button, a.button { font: inherit; font-weight: 600; padding: .65rem 1.4rem; min-height: 2.75rem; border-radius: .5rem;
  border: 1px solid var(--line); background: none; color: inherit; cursor: pointer; text-decoration: none; }
.go { background: var(--go) !important; border-color: var(--go) !important; color: #fff !important; }
:focus-visible { outline: 3px solid #4a90d9; outline-offset: 2px; }
"""


@dataclass(frozen=True)
class Asker:
    """The client, as it is shown. `name`: what it calls itself. `redirect`: where the answer goes."""

    name: str | None
    redirect: str
    document: str | None = None

    @property
    def title(self) -> str:
        """The client's name as part of a sentence, in quotation marks since anybody can choose it."""
        return f"“{escape(reveal(self.name))}”" if self.name else "a program without a name"

    def rows(self) -> str:
        """The known facts about the client."""
        uri = AnyUrl(self.redirect)
        if uri.scheme == "https":
            where = f"<strong>{escape(uri.host or '')}</strong>"
        elif uri.host in LOOPBACK and uri.scheme == "http":
            where = "<strong>a program on the computer that you read this on</strong>"
        else:
            where = f"<strong>the app on this device that opens <code>{escape(uri.scheme)}:</code> links</strong>"
        rows = [
            ("It calls itself (anybody can use this name)", escape(reveal(self.name)) if self.name else "nothing"),
            ("The way back leads to", f"{where}<br><span class=hint>{escape(self.redirect)}</span>"),
        ]
        if self.document is not None:
            rows.insert(1, ("It is described at", escape(self.document)))
        return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>"


@dataclass(frozen=True)
class Form:
    """The hidden fields: the request's id, and a value that only the browser with its cookie can know."""

    action: str
    request: str
    proof: str

    def __call__(self, fields: str) -> str:
        return (
            f'<form method="post" action="{escape(self.action)}" autocomplete="off">'
            f'<input type="hidden" name="request" value="{escape(self.request)}">'
            f'<input type="hidden" name="proof" value="{escape(self.proof)}">{fields}</form>'
        )


def code_page(form: Form, asker: Asker, wrong: str | None = None) -> HTMLResponse:
    """The first step: the page asks for the one-time code. `wrong`: what was wrong with the last one."""
    invalid = ' aria-invalid="true" aria-describedby="wrong hint"' if wrong else ' aria-describedby="hint"'
    alert = f'<p class="wrong" id="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    fields = f"""<label for="code">One-time code of the App</label>
<input type="text" id="code" name="code" maxlength="64" required autofocus autocomplete="one-time-code"
 autocapitalize="characters" spellcheck="false" placeholder="XXXX-XXXX-XXXX"{invalid}>
<p class="hint" id="hint">Run <code>waha-mcp apps code ID</code> on the server: it prints the code. Never type a key
here. You see what the App may do before anything is allowed.</p>
<div class="buttons"><button class="go" name="step" value="code">Continue</button>
<button name="step" value="refuse" formnovalidate>Refuse</button></div>"""
    body = f"""<h1>{asker.title} wants to use a WhatsApp account</h1>
{asker.rows()}
<p>If you did not just ask for this in that program, close this page.</p>
{alert}{form(fields)}"""
    return _page("Connect to WhatsApp", body, 400 if wrong else 200)


def shown(terms: Terms) -> str:
    """Identifies these terms in the form, so that only the terms that were read can be allowed."""
    return digest(json.dumps(asdict(terms)))


def decision_page(form: Form, asker: Asker, terms: Terms, changed: bool = False) -> HTMLResponse:
    """The second step: what would be allowed, and the buttons. `changed`: the terms differ from those just shown."""
    alert = '<p class="wrong" role="alert">The App has just been changed: read this again.</p>' if changed else ""
    care = f'<p class="care">{escape(terms.risks)}</p>' if terms.risks else ""
    can = "".join(f"<li>{escape(each)}</li>" for each in terms.powers)
    buttons = f"""<input type="hidden" name="shown" value="{shown(terms)}">
<div class="buttons"><button class="go" name="step" value="allow">Allow</button>
<button name="step" value="refuse">Refuse</button></div>"""
    body = f"""<h1>Let {asker.title} use the App “{escape(terms.app)}”?</h1>
{alert}{asker.rows()}
<dl><dt>App</dt><dd><strong>{escape(terms.app)}</strong></dd>
<dt>WhatsApp account</dt><dd>{escape(terms.account)}</dd></dl>
<h2>What the agent will be able to do</h2>
<ul>{can}</ul>
{care}<details><summary>Its {len(terms.tools)} tools</summary><p>{escape("; ".join(terms.tools))}</p></details>
{form(buttons)}
<footer>It is valid until it has not been used for 30 days, or you end it:
<code>waha-mcp apps oauth {escape(terms.app)} --end</code>. What you change in the App holds for it at once.</footer>"""
    return _page("Allow access to WhatsApp", body, 409 if changed else 200)


def return_page(asker: Asker, target: str, allowed: bool) -> HTMLResponse:
    """The last step: returns by a meta refresh. A redirect would be subject to this page's own `form-action`."""
    done = f"{asker.title} may use the App now" if allowed else f"{asker.title} was refused"
    body = f"""<h1 role="status">{done}</h1>
<p>You are taken back to it.</p><p><a class="button go" href="{escape(target)}">Go back now</a></p>"""
    return _page("Back to the program", body, head=f'<meta http-equiv="refresh" content="0; url={escape(target)}">')


def problem_page(text: str, status: int = 400) -> HTMLResponse:
    """Why the request cannot continue."""
    return _page("This cannot go on", f'<h1>This cannot go on</h1><p role="alert">{escape(reveal(text))}</p>', status)


def _page(title: str, body: str, status: int = 200, head: str = "") -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · waha-mcp</title>{head}<style nonce="{nonce}">{_STYLE}</style></head>
<body><main>{body}</main></body></html>"""
    return as_page(text, nonce, status, posts=True)
