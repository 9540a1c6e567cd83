"""The defences that `test_secrets_kept` tries."""

from __future__ import annotations

from tests.attacks.defences import Defence

_LOG = "log.py"
_SHOWN = "secrets_kept::a_key_that_waha_shows_in_a_message_does_not_reach_the_agent"
_REFUSED = "secrets_kept::a_key_in_a_refusal_of_waha_reaches_neither_agent_nor_log"
_WRITTEN = "secrets_kept::a_key_that_the_agent_writes_does_not_stand_in_the_trail"
_ONCE = "secrets_kept::media_to_be_seen_once"
_SEARCH = "if any(_found(value, text) for value in values):"


def each_way(*forms: str) -> tuple[str, ...]:
    """The cases of these forms of a key."""
    return tuple(f"{test}[{form}]" for test in (_SHOWN, _REFUSED, _WRITTEN) for form in forms)


SECRETS = (
    Defence(
        "the key is taken out of answers and the trail",
        ((_LOG, _SEARCH, "if False:"),),
        (_SHOWN, _WRITTEN),
    ),
    Defence(
        "the key is taken out of WAHA's words",
        (
            ("waha/errors.py", "text = redact(text, SecretStr(hide))", "pass"),
            (
                "bridge.py",
                "return redact_answer(await self.references.in_text(text), self.app.key)",
                "return await self.references.in_text(text)",
            ),
        ),
        (_REFUSED,),
    ),
    Defence(
        "the key is known in other case",
        ((_LOG, "sorted({char.lower(), char.upper()}) if char.isascii() else [char]", "[char]"),),
        each_way("in lower case", "in upper case"),
    ),
    Defence(
        "the key is known with its characters escaped",
        ((_LOG, 'plain = _escaped if any(mark in text for mark in "%&\\\\") else _plain', "plain = _plain"),),
        each_way(
            "each character for URLs",
            "each character for URLs, upper",
            "for URLs twice",
            "escaped for JSON",
            "escaped for JavaScript",
            "by numbers for HTML",
            "by hex numbers for HTML, twice",
        ),
    ),
    Defence(
        "the key is known in hex",
        ((_LOG, "for form in (*parts, as_hex))", "for form in parts)"),),
        each_way("in hex"),
    ),
    Defence(
        "the key is known inside base64",
        (
            (
                _LOG,
                "for at in range(3)] if unmistakable(value) else whole",
                "for at in ()] if unmistakable(value) else whole",
            ),
        ),
        each_way("in base64", "in base64 behind one byte", "in base64 behind a name", "in base64 of all headers"),
    ),
    Defence(
        "view-once media is not copied",
        (("waha/messages.py", "if is_view_once(mapping_of(raw)):", "if False:"),),
        (
            f"{_ONCE}_is_neither_fetched_nor_saved",
            f"{_ONCE}_is_not_forwarded",
            "secrets_kept::sound_and_film_to_be_heard_once_are_neither",
        ),
    ),
    Defence(
        "WAHA is not asked to download view-once media",
        (("tools/core/attachments.py", "refuse_view_once(ctx.messages.get(message_id))", "pass"),),
        (f"{_ONCE}_is_neither_fetched_nor_saved", "secrets_kept::sound_and_film_to_be_heard_once_are_neither"),
    ),
    Defence(
        "a tool that is gone says why",
        (
            (
                "bridge.py",
                "return tool.name in self._listed or why_hidden(tool, self.app, self._declared) is None",
                "return False",
            ),
        ),
        ("secrets_kept::a_tool_that_is_gone_does_nothing_and_says_why",),
    ),
    Defence(
        "a tool that was never listed is unknown",
        (("bridge.py", "(why is not None and not self._was_offered(tool))", "False"),),
        ("secrets_kept::a_tool_that_was_never_listed_is_not_hinted_at",),
    ),
)
