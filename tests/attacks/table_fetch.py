"""The defences of fetching and of links, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence


def each(test: str, *ids: str) -> tuple[str, ...]:
    """Single cases of a test."""
    return tuple(f"{test}[{one}]" for one in ids)


_GATE, _LINKS, _FETCH, _BODY = "policy/gate.py", "policy/links.py", "waha/web_fetch.py", "waha/body.py"
_FILES = "tools/local_files.py"
_WRITTEN = "fetch::no_other_host_goes_out_however_it_is_written"
_COMES = "fetch::what_is_no_picture_is_not_sent_as_one"

_ANY_HOST = (_FETCH, "if host not in listed and (what := not_public(host)):", "if False:")
_ANY_ADDRESS = (_FETCH, "if host not in listed and (what := not_public(address)):", "if False:")
_ANY_PICTURE = (_FILES, 'if kind != "file" and (', "if False and (")

FETCH = (
    Defence(
        "the target of a redirect is checked like the first URL",
        (_ANY_HOST, _ANY_ADDRESS),
        (
            *each(
                "fetch::no_redirect_leads_inside",
                "an address",
                "an address as one number",
                "an address in hexadecimal",
                "an address in octal",
                "an address with escapes",
                "an address that stands for any",
                "an IPv4 address in an IPv6 one",
                "a backslash",
                "localhost",
                "localhost with a dot",
                "a name that leads inside",
                "a name of which one address is inside",
            ),
            "fetch::no_later_redirect_leads_inside",
        ),
    ),
    Defence(
        "every address of a name is checked",
        (_ANY_ADDRESS,),
        (
            *each("fetch::no_name_leads_inside", "a name that leads inside", "a name of which one address is inside"),
            "fetch::no_preview_leads_inside",
        ),
    ),
    Defence(
        "the connection goes to the address that was checked",
        ((_FETCH, 'host = f"[{address}]" if ":" in address else address', "host = url.host"),),
        (
            *each("fetch::no_redirect_leads_inside", "a name that leads inside the second time"),
            *each("fetch::no_name_leads_inside", "a name that leads inside the second time"),
        ),
    ),
    Defence(
        "a redirect leads to a plain web address",
        (
            (
                _FETCH,
                "target = parse(URL(location, base=url.href).href)",
                "target = parse(URL(location, base=url.href).href, drop_credentials=True)",
            ),
        ),
        each("fetch::no_redirect_leads_to_what_is_no_plain_web_address", "a user"),
    ),
    Defence(
        "a fetch comes after all other checks",
        (
            (
                _GATE,
                "verdicts = await self._check_recipients(call)",
                "await self._urls.fetch(call, lambda: anyio.sleep(0))\n"
                "        verdicts = await self._check_recipients(call)",
            ),
        ),
        (
            "fetch::nothing_is_fetched_for_whom_the_list_does_not_name",
            "fetch::nothing_is_fetched_for_what_was_just_sent",
            "fetch::nothing_is_fetched_beyond_the_pace",
            "fetch::nothing_is_fetched_without_a_yes",
            "fetch::a_question_shows_the_whole_url_before_anything_is_fetched",
        ),
    ),
    Defence(
        "a conversion by URL reaches everyone",
        ((_GATE, 'if call.urls() and tool.reaches == "nobody" else []', "if False else []"),),
        (
            *each("fetch::nothing_is_fetched_for_whom_the_list_does_not_name", "a conversion"),
            *each(
                "fetch::nothing_is_fetched_without_a_yes",
                "convert_media-declined",
                "convert_media-cancelled",
                "convert_media-nonsense",
            ),
        ),
    ),
    Defence(
        "a question says that the content of a URL is unknown",
        (("policy/approver.py", "people = call.url_lines() | ", "people = "),),
        ("fetch::a_question_shows_the_whole_url_before_anything_is_fetched",),
    ),
    Defence(
        "a failed fetch gives the approval back",
        ((_GATE, "await self._approver.give_back(call)", "pass"),),
        ("fetch::what_could_not_be_fetched_gives_the_yes_back_once",),
    ),
    Defence(
        "a web page is not taken as a file",
        (
            (_FILES, "if page and wanted not in", "if False and wanted not in"),
            _ANY_PICTURE,
        ),
        each(_COMES, "a web page", "a web page as a picture", "a web page of no type"),
    ),
    Defence(
        "a picture must be one by the server's type or by its bytes",
        (_ANY_PICTURE,),
        each(_COMES, "a text as a picture", "nothing that is known"),
    ),
    Defence(
        "the type of a file is read from its bytes",
        ((_FILES, 'real = _real_type(content, kind, "url", stated, filename)', "real = stated"),),
        each(_COMES, "sound", "a program"),
    ),
    Defence(
        "only a complete answer is a file",
        ((_FETCH, "if response.status_code != 200:", "if False:"),),
        each(_COMES, "an error with a picture", "a part"),
    ),
    Defence(
        "the size limit applies while a file is received",
        ((_BODY, "if max(received, size) > cap:", "if False:"), (_FILES, "if len(content) > MAX_FILE:", "if False:")),
        each(_COMES, "too much"),
    ),
    Defence(
        "a file that is compressed twice is not read",
        (
            (_BODY, 'if encodings not in ("", "identity", "gzip", "x-gzip"):', "if False:"),
            (_BODY, 'if encodings.endswith("gzip") else None', "if False else None"),
            (_FILES, 'real = _real_type(content, kind, "url", stated, filename)', "real = stated"),
        ),
        each(_COMES, "packed twice"),
    ),
    Defence(
        "a compressed file must be complete",
        ((_BODY, "if unpack is not None and received and not unpack.eof:", "if False:"),),
        each(_COMES, "half of what was packed"),
    ),
    Defence(
        "a fetch has a deadline",
        ((_FETCH, "with anyio.move_on_after(DEADLINE):", "with anyio.move_on_after(1e9):"),),
        each(_COMES, "drops"),
    ),
    # Links
    Defence(
        "hosts that the list of links does not cover are refused",
        (("policy/url_checks.py", 'if others and self._app.links.others == "refuse":', "if False:"),),
        (
            _WRITTEN,
            "fetch::no_other_host_goes_out_wherever_it_stands",
        ),
    ),
    Defence(
        "a listed host covers its subdomains and no more",
        (
            (
                _LINKS,
                'any(host.endswith(f".{each}") for each in allowed)',
                "any(host.endswith(each) for each in allowed)",
            ),
        ),
        each(_WRITTEN, "a name that ends as a listed one"),
    ),
    Defence(
        "hidden characters split no name",
        ((_LINKS, 'return "".join(c for c in text if c.isspace() or not hides(c))', "return text"),),
        each(
            _WRITTEN,
            "a zero-width space before the dot",
            "a joiner",
            "tags",
            "an unassigned character that shows nothing",
            "another that shows nothing",
        ),
    ),
    Defence(
        "marks and symbols can be part of a host name",
        ((_LINKS, "c if c.isascii() else _STAND_INS.get(unicodedata.category(c)[0], c)", "c"),),
        each(_WRITTEN, "an emoji name", "a name with marks"),
    ),
    Defence(
        "a link ends where some reader ends it",
        (
            (
                _LINKS,
                '_WHOLE = re.compile(r"https?:[/\\\\]*[\\w\\-.~:/\\\\?#\\[\\]@$&+=%]+", re.IGNORECASE)',
                '_WHOLE = re.compile(r"https?:[^ ]+", re.IGNORECASE)',
            ),
        ),
        each(
            _WRITTEN,
            "behind a listed one and a zero-width space",
            "behind a listed one and a comma",
        ),
    ),
    Defence(
        "an ambiguous host is not covered",
        ((_LINKS, "            elif not certain:\n                unclear = True\n", ""),),
        each(_WRITTEN, "a backslash before it", "a user before a listed name", "escapes in a listed name"),
    ),
    Defence(
        "more links than can be checked are not covered",
        (
            (
                _LINKS,
                "if links is None or len(links) > MOST_LINKS:",
                "if links is None:",
            ),
        ),
        each(_WRITTEN, "the last of many"),
    ),
    Defence(
        "a message that is forwarded or quoted is checked for links",
        ((_LINKS, "if not mark.reached or (to and parse_message_id(message_id).chat not in to):", "if False:"),),
        each("fetch::no_other_host_goes_out_wherever_it_stands", "a forwarded message", "a quote from another chat"),
    ),
    Defence(
        "the parts of a message beside its text are checked for links",
        ((_LINKS, "yield from _links_in_row(row)", "yield from ()"),),
        (
            "fetch::no_other_host_goes_out_in_what_a_message_has_beside_its_text",
            "fetch::no_invitation_goes_out_as_a_card",
        ),
    ),
    Defence(
        "a question shows the links beside a message's text",
        (("policy/approver.py", "| link_lines(call) | people", "| people"),),
        ("fetch::a_question_shows_the_links_that_a_message_has_beside_its_text",),
    ),
    Defence(
        "an approval covers the links in a message, too",
        ((_GATE, "call.quoted_texts() | brought_links(call)", "call.quoted_texts()"),),
        ("fetch::a_yes_is_not_for_another_link_in_the_message",),
    ),
    Defence(
        "each field of a card is one line",
        (("tools/messages/compose.py", '_LINE_ENDS.sub(" ", value).strip()', "value"),),
        ("fetch::no_field_of_a_card_begins_another_line",),
    ),
    Defence(
        "a name ends at its last letter",
        ((_LINKS, "[^\\W\\d_]{{2,}})(?![^\\W_])", "[^\\W\\d_]{{2,}})(?![\\w-])"),),
        each(_WRITTEN, "a hyphen behind it", "an underscore behind it", "italics"),
    ),
    Defence(
        "a redirect leads to no host that the list does not cover",
        ((_FETCH, "if why := why_not(asked.host):", "if False:"),),
        ("fetch::a_redirect_leads_to_no_other_host",),
    ),
    Defence(
        "a person is asked about other hosts",
        ((_GATE, "        if others:\n            why.append(", "        if False:\n            why.append("),),
        ("fetch::a_person_is_asked_about_other_hosts_where_nothing_else_is_asked",),
    ),
)
