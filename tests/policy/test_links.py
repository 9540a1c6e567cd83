"""The App's list of links: which hosts may be named, in whatever form they are written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.policy.common import SAM
from tests.policy.test_gate import sample
from waha_mcp.app.policy_fields import Links, PolicyFields
from waha_mcp.policy.call import Call
from waha_mcp.policy.links import MOST_LINKS, Others, covered, foreign_hosts, link_lines, others_of, shown, texts_of
from waha_mcp.tools.catalog import CATALOG, Tool

ALLOW = frozenset({"example.com", "10.0.0.5", "xn--bcher-kva.example"})
REFUSE = Links(allow=ALLOW, others="refuse")


def call_of(tool: str, *reached: str, rows: dict[str, Any] | None = None, **arguments: Any) -> Call:
    """A call as it is in the gate once its recipients are known."""
    every = dict.fromkeys(CATALOG[tool].arguments.model_fields) | arguments
    return Call(CATALOG[tool], every, None, reached=reached or (SAM,), named_messages=rows or {})  # type: ignore[arg-type]


def others_in(text: str, rule: Links = REFUSE) -> Others:
    return others_of(call_of("send_text", chat=SAM, text=text), rule)


# The setting


def test_links_have_no_limit_unless_the_app_sets_one() -> None:
    assert PolicyFields().links == Links(allow=frozenset(), others="allow")
    assert not others_in("https://evil.test", Links())


def test_hosts_are_normalized_and_a_list_says_what_happens_with_others() -> None:
    rule = PolicyFields.model_validate({"links": {"allow": ["EXAMPLE.com.", "bücher.example"], "others": "ask"}}).links
    assert rule == Links(allow=frozenset({"example.com", "xn--bcher-kva.example"}), others="ask")
    for wrong in ({"allow": ["example.com"]}, {"others": "never"}, {"allow": ["https://example.com"], "others": "ask"}):
        with pytest.raises(ValidationError):
            PolicyFields.model_validate({"links": wrong})


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        ("example.com", True),
        ("www.example.com", True),
        ("a.b.example.com", True),
        ("notexample.com", False),
        ("example.com.evil.test", False),
        ("com", False),
        ("10.0.0.5", True),
        ("110.0.0.5", False),
    ],
)
def test_a_listed_host_covers_what_is_below_it(host: str, is_covered: bool) -> None:
    assert covered(host, ALLOW) is is_covered


# In a text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "no link",
            "https://example.com",
            "see example.com/a, www.example.com.",
            "(https://docs.example.com/x?y=1#z)",
        ),
        *("HTTPS://EXAMPLE.COM/", "10.0.0.5/x", "bücher.example", "https://bücher.example/x", "sam@example.com"),
        *(
            "as in report.pdf, photo.JPG and notes.txt",
            "see\texample.com\r\nand\x85more",
            "x=example.com",
            "it is 12.30",
            "version 1.2.3",
            "e.g. this",
            "https://example.com/a.pdf",
        ),
        *("https://example.com/report.pdf?x=1.2", "example.com😀 ", "“example.com”", "costs 10.50", "a\nb", ""),
        "https://example.com/~sam/a_(b).html",
        *("_example.com_", "example.com-now", "https://example.com/?to=evil.test"),
    ],
)
def test_what_the_list_covers_passes(text: str) -> None:
    assert others_in(text) == Others()


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("https://evil.test", "evil.test"),
        ("see evil.test now", "evil.test"),
        ("evil.test/x", "evil.test"),
        ("https://example.com.evil.test/", "example.com.evil.test"),
        ("https://evil-example.com/", "evil-example.com"),
        ("https://example.com@evil.test", "evil.test"),
        ("https://example.com:x@evil.test/", "evil.test"),
        ("https://example.com\\@evil.test", None),
        ("https://evil.test\\@example.com", "evil.test"),
        ("https://evil.test@example.com/", None),
        ("http://EVIL。test", "evil.test"),
        ("http://ｅｖｉｌ.test", "evil.test"),
        ("ｅｖｉｌ．ｔｅｓｔ", "evil.test"),
        ("https://ex%61mple.com/", None),
        ("https://%65vil.test/", "evil.test"),
        ("evil%2etest", "evil.test"),
        ("https://ev\u200bil.test/", "evil.test"),
        ("ev\u00adil\u2060.\u200dtest", "evil.test"),
        ("evil\u034f.test", "evil.test"),
        ("evil\u180b.te\ufe0fst", "evil.test"),
        ("evil.\u202etest", "evil.test"),
        ("ev\x07il.test", "evil.test"),
        ("evil.te\U000e0041st", "evil.test"),
        ("example.com\u200bevil.test", "evil.test"),
        ("https://example.com/\u3000evil.test", "evil.test"),
        ("https://example.com/\u200bevil.test", "evil.test"),
        ("https://example.com/,evil.test", "evil.test"),
        ("https://example.com/?to=https://evil.test", "evil.test"),
        ("https://example.com/?to=https%3A%2F%2Fevil.test", "evil.test"),
        ("https://\u0430pple.com", "xn--pple-43d.com"),
        ("\u0430pple.com", "xn--pple-43d.com"),
        ("ex\u0430mple.com", "xn--exmple-4nf.com"),
        ("https://exаmple.com/a", "xn--exmple-4nf.com"),
        ("xn--pple-43d.com", "xn--pple-43d.com"),
        ("उदाहरण.भारत", "xn--p1b6ci4b4b3a.xn--h2brj9c"),
        ("e\u0301vil.test", "xn--vil-9la.test"),
        ("💩.la", "xn--ls8h.la"),
        ("👉evil.test", "evil.test"),
        ("8.8.8.8", "8.8.8.8"),
        ("http://134744072/", "8.8.8.8"),
        ("0x08080808/x", "8.8.8.8"),
        ("[2a00::1]", "[2a00::1]"),
        ("mailto:sam@evil.test", "evil.test"),
        ("write to sam@evil.test", "evil.test"),
        ("ftp://evil.test/a", "evil.test"),
        ("upi://pay?pa=x", "pay"),
        ("https:evil.test", "evil.test"),
        ("evil.test:8080/x", "evil.test"),
        ("wa.me/12025550199", "wa.me"),
        ("one.Two", "one.two"),
        ("https://report.pdf/x", "report.pdf"),
        ("report.pdf:80/x", "report.pdf"),
        ("report.pdf:8080", "report.pdf"),
        ("https://[example.com", None),
        ("evil\u3164.test", "evil.test"),
    ],
)
def test_what_the_list_does_not_cover_is_found_however_it_is_written(text: str, hosts: str | None) -> None:
    found = others_in(text)
    assert found
    if hosts is None:
        assert found.unclear
    else:
        assert hosts in found.hosts


@pytest.mark.parametrize(
    "around", ["{}", "see {} now", "({})", "*{}*", "“{}”", "a,{}.", "\n{}\n", "{}!", "\u200b{}", "‹{}›"]
)
def test_a_link_is_found_whatever_stands_around_it(around: str) -> None:
    for link in ("https://evil.test/x", "evil.test", "www.evil.test"):
        assert any(host.endswith("evil.test") for host in others_in(around.format(link)).hosts)
    assert not others_in(around.format("https://example.com/x"))


def test_more_links_than_can_be_judged_are_not_certain() -> None:
    good = " ".join(f"https://example.com/{at}" for at in range(MOST_LINKS))
    assert others_in(good) == Others()
    assert others_in(good + " https://example.com/x") == Others(unclear=True)
    assert others_in(good + " https://example.com/x https://evil.test").unclear


# In a call


def test_hosts_are_named_to_people_in_letters_and_in_punycode() -> None:
    assert shown("example.com") == "example.com"
    assert shown("xn--pple-43d.com") == "аpple.com (xn--pple-43d.com)"
    hosts = tuple(f"{at}.test" for at in range(7))
    assert str(Others(hosts, unclear=True)) == (
        "0.test, 1.test, 2.test, 3.test, 4.test, 2 more, links whose host is not certain"
    )
    assert str(Others(("a.test",))) == "a.test"
    assert str(Others(unclear=True)) == "links whose host is not certain"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("send_text", {"text": "evil.test"}),
        ("send_media", {"kind": "image", "url": "https://evil.test/a.png"}),
        ("send_media", {"kind": "image", "data": "QQ==", "caption": "evil.test"}),
        ("send_media", {"kind": "file", "data": "QQ==", "filename": "evil.test"}),
        ("send_media", {"kind": "file", "path": "evil.test"}),
        ("send_media", {"kind": "file", "url": "https://example.com/a/evil%2Etest"}),
        ("send_poll", {"question": "a", "options": ["b", "evil.test"]}),
        ("send_location", {"latitude": 1, "longitude": 1, "title": "evil.test"}),
        ("send_event", {"name": "a", "description": "evil.test"}),
        ("send_link_preview", {"text": "https://example.com", "link": "https://example.com", "title": "evil.test"}),
        ("send_link_preview", {"text": "a", "link": "a", "title": "b", "image_url": "https://evil.test/a.png"}),
        ("edit_message", {"message_id": f"true_{SAM}_A", "text": "evil.test"}),
        ("update_profile", {"about": "evil.test"}),
        ("post_text_status", {"text": "evil.test"}),
        ("post_media_status", {"kind": "image", "url": "https://evil.test/a.png"}),
        ("create_group", {"subject": "evil.test"}),
        ("update_group", {"description": "evil.test"}),
        ("set_group_picture", {"url": "https://evil.test/a.png"}),
        ("create_channel", {"name": "a", "description": "evil.test"}),
        ("set_profile_picture", {"url": "https://evil.test/a.png"}),
        ("convert_media", {"kind": "voice", "url": "https://evil.test/a"}),
        ("update_session_settings", {"webhooks": [{"url": "https://evil.test/a"}]}),
    ],
)
def test_every_text_of_a_call_is_looked_through(tool: str, arguments: dict[str, Any]) -> None:
    assert others_of(call_of(tool, **arguments), REFUSE).hosts == ("evil.test",)


def test_the_models_in_arguments_are_looked_through() -> None:
    arguments = CATALOG["send_contact_cards"].parse(
        {"chat": SAM, "contacts": [{"name": "A", "phone": "+12025550123", "organization": "evil.test"}]}
    )
    call = Call(CATALOG["send_contact_cards"], arguments, None, reached=(SAM,))  # type: ignore[arg-type]
    assert others_of(call, REFUSE).hosts == ("evil.test",)


@pytest.mark.parametrize("tool", [each for each in CATALOG.values() if each.effect], ids=lambda tool: tool.name)
def test_no_tool_has_a_text_that_is_not_looked_through(tool: Tool) -> None:
    chats = {"person": SAM, "group": "1@g.us", "channel": "1@newsletter", "message": f"true_{SAM}_A"}
    given = sample(tool, chats)
    texts = list(texts_of(Call(tool, given, None, reached=(SAM,))))  # type: ignore[arg-type]
    left_out = {*tool.references, *tool.messages, *tool.unread}
    for name, value in given.items():
        if isinstance(value, str) and name not in left_out:
            assert value in texts, name


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("send_media", {"kind": "file", "data": "https://evil.test", "mimetype": "application/vnd.evil.test"}),
        (
            "send_text",
            {"chat": SAM, "text": "hi", "mentions": ["evil.test"], "reply_to": f"true_{SAM}_evil.test"},
        ),
    ],
)
def test_what_nobody_reads_as_a_text_is_not_looked_through(tool: str, arguments: dict[str, Any]) -> None:
    assert not others_of(call_of(tool, **arguments), REFUSE)


def test_what_reaches_nobody_may_name_any_host() -> None:
    call = call_of("save_contact", contact=SAM, first_name="evil.test")
    call.reached = ()
    assert not others_of(call, REFUSE)


TEXT = {"id": f"false_{SAM}_A", "timestamp": 1, "from": SAM, "fromMe": False, "body": "evil.test"}
OTHER = "447700900142@c.us"


@pytest.mark.parametrize(
    ("tool", "arguments", "found"),
    [
        ("forward_message", {"chat": OTHER, "message_id": f"false_{SAM}_A"}, True),
        ("forward_message", {"chat": SAM, "message_id": f"false_{SAM}_A"}, True),
        ("send_text", {"chat": OTHER, "text": "look", "reply_to": f"false_{SAM}_A"}, True),
        ("send_text", {"chat": SAM, "text": "look", "reply_to": f"false_{SAM}_A"}, False),
        ("pin_message", {"message_id": f"false_{SAM}_A"}, False),
    ],
)
def test_what_a_message_brings_to_another_chat_is_looked_through(
    tool: str, arguments: dict[str, Any], found: bool
) -> None:
    call = call_of(tool, rows={f"false_{SAM}_A": TEXT}, **arguments)
    assert others_of(call, REFUSE) == (Others(("evil.test",)) if found else Others())


def test_a_message_of_which_the_text_is_not_known_is_not_certain() -> None:
    arguments: dict[str, Any] = {"chat": OTHER, "message_id": f"true_{SAM}_A"}
    assert others_of(call_of("forward_message", rows={f"true_{SAM}_A": {}}, **arguments), REFUSE) == Others(
        unclear=True
    )
    assert others_of(call_of("forward_message", **arguments), REFUSE) == Others(unclear=True)


def test_the_type_of_a_forwarded_file_is_no_host() -> None:
    media = {
        "mimetype": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "filename": "a.docx",
    }
    row = TEXT | {"body": "", "hasMedia": True, "media": media}
    arguments: dict[str, Any] = {"chat": OTHER, "message_id": f"false_{SAM}_A"}
    assert not others_of(call_of("forward_message", rows={f"false_{SAM}_A": row}, **arguments), REFUSE)
    named = row | {"media": media | {"filename": "evil.test"}}
    assert others_of(call_of("forward_message", rows={f"false_{SAM}_A": named}, **arguments), REFUSE).hosts == (
        "evil.test",
    )


@pytest.mark.parametrize(
    "raw",
    [
        {"imageMessage": {"url": "https://mmg.whatsapp.net/v/t62.7118-24/1_n.enc?oh=1", "directPath": "/v/t62/1.enc"}},
        {"imageMessage": {"thumbnailUrl": "https://media.fham1-1.fna.whatsapp.net/a", "mimetype": "image/x.evil"}},
        {"contactMessage": {"vcard": "BEGIN:VCARD\nitem1.TEL;waid=12025550199:+12025550199\nEND:VCARD"}},
        {"contactMessage": {"vcard": "BEGIN:VCARD\nPHOTO;ENCODING=b:%%%\nNOTE;ENCODING=b:aGVsbG8\nEND:VCARD"}},
        {
            "buttons": [
                {"buttonParamsJson": '{"url": "https:\\/\\/example.com", "merchant_url": "https://example.com"}'}
            ]
        },
        {"key": {"remoteJid": "12025550123@s.whatsapp.net", "id": "evil.test"}},
        {"url": "https://mmg.whatsapp.net/v/12345678/a.enc"},
        {"url": "https://report.pdf"},
        {"text": "[see the list"},
        {"text": "[" * 20_000},
    ],
    ids=[
        "a file",
        "a thumbnail",
        "a card",
        "a note",
        "a button",
        "ids",
        "a number in a path",
        "a name",
        "no JSON",
        "no end",
    ],
)  # fmt: skip
def test_where_whatsapp_keeps_a_file_and_what_is_no_link_pass_in_a_message(raw: dict[str, Any]) -> None:
    media = {"url": "http://waha.lan:3000/api/files/a.png", "mimetype": "image/png"}
    row = TEXT | {"body": "", "media": media, "replyTo": {"id": "B", "media": media}, "_data": {"message": raw}}
    assert not others_of(forwarded(row), REFUSE)


@pytest.mark.parametrize(
    "field",
    ["url", "directPath", "mediaUrl", "deprecatedMms3Url", "staticUrl", "clientUrl", "eurl", "img", "jpegThumbnailUrl"],
)
def test_a_file_on_whatsapps_servers_passes_in_each_field_for_one_and_no_other_link_does(field: str) -> None:
    assert not others_of(forwarded(TEXT | {"body": "", field: "https://mmg.whatsapp.net/v/1.enc"}), REFUSE)
    assert others_of(forwarded(TEXT | {"body": "", field: "https://evil.test/v/1.enc"}), REFUSE).hosts == ("evil.test",)


@pytest.mark.parametrize(
    "field",
    [
        "address", "body", "buttonText", "canonicalUrl", "caption", "comment", "contentText", "conversation",
        "copy_code", "description", "displayName", "display_text", "fileName", "footer", "footerText", "headerText",
        "hydratedContentText", "hydratedFooterText", "hydratedTitleText", "joinLink", "link", "matchedText",
        "merchant_url", "name", "optionName", "selectedDisplayText", "sourceUrl", "subtitle", "text", "title", "url",
        "vcard", "vCards", "websites",
    ],
)  # fmt: skip
def test_a_host_alone_is_a_link_in_each_field_that_is_shown(field: str) -> None:
    row = TEXT | {"body": "", "_data": {"message": {field: "evil.test"}}}
    assert others_of(forwarded(row), REFUSE).hosts == ("evil.test",)


def forwarded(row: dict[str, Any]) -> Call:
    return call_of("forward_message", rows={f"false_{SAM}_A": row}, chat=OTHER, message_id=f"false_{SAM}_A")


@pytest.mark.parametrize(
    "raw",
    [
        {"url": "https://chat.whatsapp.com/AbCd"},
        {"url": "https://mmg.whatsapp.net/?to=https://evil.test"},
        {"url": "https://mmg.whatsapp.net.evil.test/"},
        {"title": "https://mmg.whatsapp.net/"},
        {"params": '{"url": "https://evil.test", "url": "https://example.com"}'},
        {"params": '{"x": "{\\"u\\": \\"\\u0068ttps://evil.test\\"}"}'},
        {"vcard": "BEGIN:VCARD\nURL:https://evil\n .test/x\nEND:VCARD"},
        {"vcard": "BEGIN:VCARD\nURL;ENCODING=QUOTED-PRINTABLE:https=3A=2F=2Fevil=2E=\ntest=2Fx\nEND:VCARD"},
        {"vcard": "BEGIN:VCARD\nURL;QUOTED-PRINTABLE:https=3A=2F=2Fevil=2Etest=2Fx\nEND:VCARD"},
        {"vcard": "BEGIN:VCARD\nitem1.URL;ENCODING=b:aHR0cHM6Ly9ldmlsLnRlc3QveA\nEND:VCARD"},
        {"vcard": "BEGIN:VCARD\nURL;BASE64:aHR0cHM6Ly9ldmls\n LnRlc3QveA==\nEND:VCARD"},
        {"groupInviteMessage": {"groupName": "Winners", "inviteCode": "AbCdEf123"}},
        {"params": '{"title": "evil\\u002etest"}'},
        {"params": ' [{"title": "{\\"text\\": \\"evil\\\\u002etest\\"}"}]'},
        {"text": "{evil.test"},
        {"url": "https://mmg.whatsapp.net/a evil.test"},
        {"url": "evil.test"},
        {"url": "http://mmg.whatsapp.net/a"},
        {"url": "https://evil.test@mmg.whatsapp.net/a"},
    ],
)
def test_other_links_in_a_message_do_not_pass_as_its_file(raw: dict[str, Any]) -> None:
    row = TEXT | {"body": "", "_data": {"message": raw}}
    call = call_of("forward_message", rows={f"false_{SAM}_A": row}, chat=OTHER, message_id=f"false_{SAM}_A")
    assert others_of(call, REFUSE)


def test_a_question_has_a_line_for_each_link_and_says_what_is_cut() -> None:
    row = {"id": f"false_{SAM}_A", "a": ["https://evil.test/" + "x" * 400, "https://evil.test/1"]}
    call = call_of("forward_message", rows={f"false_{SAM}_A": row}, chat=OTHER, message_id=f"false_{SAM}_A")
    lines = link_lines(call)["links in message_id"].split("\n")
    assert sorted(lines) == ["https://evil.test/1", f"https://evil.test/{'x' * 282}… (cut: it has 418 characters)"]
    row["a"] = [f"https://evil.test/{at}" for at in range(MOST_LINKS)]
    assert "more" not in link_lines(call)["links in message_id"]
    row["a"] = [f"https://evil.test/{at}" for at in range(MOST_LINKS + 2)]
    assert link_lines(call)["links in message_id"].endswith("\n… and 2 more")
    row["a"] = ["https://evil.test/" + "x" * 282]
    assert link_lines(call)["links in message_id"] == row["a"][0]
    assert link_lines(call_of("send_text", chat=SAM, text="https://evil.test")) == {}
    assert link_lines(call_of("forward_message", chat=OTHER, message_id=f"false_{SAM}_A")) == {}


def test_the_hosts_with_foreign_letters_are_told_for_a_question() -> None:
    text = "https://example.com, \u0430pple.com and \u0430pple.com/x, b%C3%BCcher.example, xn--pple-43d.com"
    found = foreign_hosts(call_of("send_text", chat=SAM, text=text))
    assert sorted(found) == ["xn--bcher-kva.example", "xn--pple-43d.com"]
    assert foreign_hosts(call_of("send_text", chat=SAM, text="example.com, http://[x and 😀")) == []
    assert foreign_hosts(call_of("forward_message", chat=OTHER, message_id=f"true_{SAM}_A")) == []
