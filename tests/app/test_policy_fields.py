"""The policy fields of an App definition."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.policy.common import SAM, send
from waha_mcp.app.policy_fields import KINDS, Approval, PolicyFields, rates_in
from waha_mcp.people.persons import STATUS


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", "*"),
        (" * ", "*"),
        *((each, each) for each in KINDS),
        (" groups ", "groups"),
        ("+1 (202) 555-0123", SAM),
        ("12025550123@s.whatsapp.net", SAM),
        (" 12025550123@c.us ", SAM),
        ("status@broadcast", STATUS),
        ("Sam Okafor", "Sam Okafor"),
        (" Studio 54 ", "Studio 54"),
        ("Groups", "Groups"),
    ],
)
def test_an_entry_is_everyone_a_kind_a_chat_or_a_name(written: str, meant: str) -> None:
    assert PolicyFields.model_validate(send([written])).chats.send.allow == (meant,)


@pytest.mark.parametrize("entry", ["", "  "])
def test_an_empty_entry_is_told_so(entry: str) -> None:
    with pytest.raises(ValidationError, match="an empty text names nobody"):
        PolicyFields.model_validate(send([entry]))


@pytest.mark.parametrize("entry", ["sam@example.com", "0151 1234567", "1", "!?", "**", 12025550123])
def test_an_entry_that_can_mean_nobody_is_refused(entry: Any) -> None:
    with pytest.raises(ValidationError, match=r"send\.allow\.0"):
        PolicyFields.model_validate({"chats": {"send": {"allow": [entry]}}})


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({"ask": ["groups"]}, ()),
        ({"ask": ["groups"], "allow": ["*"]}, ("*",)),
        ({"deny": ["groups"]}, ("*",)),
        ({}, ("*",)),
    ],
)
def test_who_is_allowed_where_nobody_is_named(rule: dict[str, Any], allowed: tuple[str, ...]) -> None:
    assert PolicyFields.model_validate({"chats": {"send": rule}}).chats.send.allow == allowed


@pytest.mark.parametrize("rule", ["ask", 5, ["ask"]])
def test_a_rule_that_is_no_table_is_refused_by_name(rule: Any) -> None:
    with pytest.raises(ValidationError, match=r"chats\.send"):
        PolicyFields.model_validate({"chats": {"send": rule}})


@pytest.mark.parametrize("rates", ["", "  ", "20/minute", "20/minute; 200/hour", " 1 / day ;2/second"])
def test_rates_are_written_as_numbers_per_time(rates: str) -> None:
    assert PolicyFields.model_validate({"pace": {"total": rates}}).pace.total == rates.strip()


def test_rates_are_read_in_their_order_with_their_periods_in_seconds() -> None:
    rates = rates_in(" 1/second;20 /minute; 200/ hour ; 3000/day ")
    assert [(rate.amount, rate.window) for rate in rates] == [(1, 1), (20, 60), (200, 3_600), (3_000, 86_400)]
    assert [str(rate) for rate in rates] == ["1 per second", "20 per minute", "200 per hour", "3000 per day"]
    assert rates_in(" ") == []


@pytest.mark.parametrize("rates", ["20", "0/minute", "20/minute;", "20/minute; often", "often; 20/minute", "2/week"])
def test_rates_that_cannot_be_read_are_refused(rates: str) -> None:
    with pytest.raises(ValidationError, match="write limits like"):
        PolicyFields.model_validate({"pace": {"total": rates}})


@pytest.mark.parametrize("gap", [[0, 0], [0, 1.5], [2, 2], [60, 60], [0, 60]])
def test_a_gap_is_two_numbers_of_seconds(gap: list[float]) -> None:
    assert PolicyFields.model_validate({"pace": {"gap": gap}}).pace.gap == (float(gap[0]), float(gap[1]))


@pytest.mark.parametrize("gap", [[-1, 1], [3, 1], [0, 61], [61, 62], [1], [True, 2], ["1", 2], 1, [float("nan"), 1]])
def test_a_gap_that_is_none_is_refused(gap: Any) -> None:
    with pytest.raises(ValidationError, match=r"pace\.gap"):
        PolicyFields.model_validate({"pace": {"gap": gap}})


def test_an_error_in_a_policy_does_not_tell_what_was_written() -> None:
    with pytest.raises(ValidationError) as error:
        PolicyFields.model_validate({"pace": {"total": "20/day"}, "media_hosts": ["password@nas.example"]})
    assert "password" not in str(error.value)


def test_counters_in_redis_of_earlier_versions_are_refused_with_what_to_set_instead() -> None:
    with pytest.raises(ValidationError, match="WAHA_MCP_STORE") as error:
        PolicyFields.model_validate({"pace": {"total": "20/day", "redis": "redis://:password@127.0.0.1"}})
    assert "password" not in str(error.value)


def test_hosts_are_written_as_a_list() -> None:
    policy = PolicyFields.model_validate(send([SAM]) | {"media_hosts": ["NAS.example"]})
    assert policy.media_hosts == {"nas.example"}


def test_a_policy_does_not_change_once_it_is_read() -> None:
    policy = PolicyFields.model_validate(send([SAM]))
    with pytest.raises(ValidationError, match="frozen"):
        policy.approval = Approval(when=frozenset({"all"}))


# Approval


@pytest.mark.parametrize("when", ["never", "first_contact", "send", "destructive", "all"])
def test_approval_as_a_text_says_when(when: str) -> None:
    policy = PolicyFields.model_validate({"approval": when})
    assert policy.approval == PolicyFields.model_validate({"approval": {"when": when}}).approval
    assert policy.approval.when == ({when} - {"never"})
    assert policy.approval.ask_at == "client"
    assert (policy.approval.lifetime, policy.approval.wait, policy.approval.notify) == (600.0, 0.0, None)


def test_approval_may_be_for_several_occasions() -> None:
    occasions = ["first_contact", "destructive"]
    for given in (occasions, {"when": occasions}):
        assert PolicyFields.model_validate({"approval": given}).approval.when == set(occasions)


def test_approval_as_a_table_says_where_how_long_and_whom_to_tell() -> None:
    table = {"when": "send", "ask_at": "console", "lifetime": "2h", "wait": "50s", "notify": {"command": ["x", "y"]}}
    approval = PolicyFields.model_validate({"approval": table}).approval
    assert (approval.when, approval.ask_at) == (frozenset({"send"}), "console")
    assert (approval.lifetime, approval.wait) == (7_200.0, 50.0)
    assert approval.notify is not None
    assert approval.notify.command == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m", 60), ("60s", 60), ("90s", 90), ("10m", 600), ("24h", 86_400), ("1440m", 86_400)]
)
def test_a_lifetime_is_written_with_its_unit(text: str, seconds: float) -> None:
    table = {"when": "send", "lifetime": text}
    assert PolicyFields.model_validate({"approval": table}).approval.lifetime == seconds


WRONG_APPROVALS: list[Any] = [
    *({"lifetime": text} for text in ("59s", "0m", "25h", "1441m", "86401s")),
    *({"lifetime": text} for text in ("10", "m", "-1m", "1d", "10 m", "1.5h", "1m30s", "", 600, 600.5, True, None)),
    *({"wait": text} for text in ("51s", "1m", "-1s", 5, None)),
    *({"ask_at": where} for where in ("page", "", None, ["client"])),
    *({"when": when} for when in ("always", "", None, True, [], ["never"], ["send", "always"], ["send", 1], {"send"})),
    *({"notify": whom} for whom in ("notify-send", ["x"])),
    *({"notify": {"command": command}} for command in ([], "x", [5])),
    {"notify": {}},
    {"notify": {"command": ["x"], "url": "https://hooks.example/x"}},
    *({"notify": {"url": url}} for url in ("http://hooks.example/x", "ftp://nas.local/x", "x", "", 5)),
    {"notify": {"url": "https://user:pass@hooks.example/x"}},
    {"lasts": "10m"},
    *("always", "", 5, True, [], ["never", "send"], None),
]


@pytest.mark.parametrize("approval", WRONG_APPROVALS, ids=repr)
def test_an_approval_that_is_not_understood_is_refused(approval: Any) -> None:
    given = {"when": "send"} | approval if isinstance(approval, dict) else approval
    with pytest.raises(ValidationError, match="approval"):
        PolicyFields.model_validate({"approval": given})


@pytest.mark.parametrize(
    "table",
    [{}, {"notify": {"command": ["x"]}}, {"ask_at": "console"}, {"lifetime": "10m"}, {"wait": "5s"}],
    ids=repr,
)
def test_an_approval_that_does_not_say_when_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="say when a person is asked: when = "):
        PolicyFields.model_validate({"approval": table})
    assert PolicyFields.model_validate({"approval": table | {"when": "never"}}).approval.when == frozenset()


@pytest.mark.parametrize(
    ("url", "href"),
    [
        ("https://hooks.example/T0/secret", "https://hooks.example/T0/secret"),
        ("http://localhost:8080/x", "http://localhost:8080/x"),
        ("http://192.168.1.5/x", "http://192.168.1.5/x"),
        ("http://nas.local/x", "http://nas.local/x"),
    ],
)
def test_somebody_is_told_by_https_or_within_the_private_network(url: str, href: str) -> None:
    notify = PolicyFields.model_validate({"approval": {"when": "send", "notify": {"url": url}}}).approval.notify
    assert notify is not None
    assert notify.url is not None
    assert notify.url.get_secret_value() == href


@pytest.mark.parametrize("url", ["https://hooks.example/T0/sesame", "http://hooks.example/T0/sesame"])
def test_whom_to_tell_is_a_secret(url: str) -> None:
    try:
        shown = repr(PolicyFields.model_validate({"approval": {"when": "send", "notify": {"url": url}}}))
    except ValidationError as error:
        shown = str(error)
    assert "sesame" not in shown
