"""Which scenarios of the suite apply, and why the others do not.

Most are written for the suite's own "everything server": they call tools, prompts and resources of fixed names, which a
server with tools of its own does not have. Every scenario of the suite is listed here once; one that is not listed, or
that the suite no longer has, is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: npm's name of the suite.
SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"

#: Revisions of the protocol: the one with the handshake, and the one without.
OLDER, NEWER = "2025-11-25", "2026-07-28"

#: The scenarios of each revision that apply.
APPLY = {
    OLDER: {
        "server-initialize",
        "ping",
        "tools-list",
        "resources-list",
        "prompts-list",
        "completion-complete",
        "dns-rebinding-protection",
    },
    NEWER: {
        "server-stateless",
        "http-header-validation",
        "tools-list",
        "resources-list",
        "prompts-list",
        "completion-complete",
        "caching",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "input-required-result-unsupported-methods",
        "dns-rebinding-protection",
    },
}
#: Further scenarios of the older revision, which apply with `--sessions`.
WITH_SESSIONS = {"server-session-lifecycle", "server-sse-multiple-streams"}

_NO_SESSION = "without --sessions there is no session, and no stream that outlives a request"


def _all(reason: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, reason)


#: Scenarios that apply nowhere, with the reason.
LEFT_OUT = {
    **_all(
        "calls a tool of the everything server",
        *(
            f"tools-call-{name}"
            for name in (
                "simple-text",
                "image",
                "audio",
                "embedded-resource",
                "mixed-content",
                "with-logging",
                "error",
                "with-progress",
                "sampling",
                "elicitation",
            )
        ),
        "elicitation-sep1034-defaults",
        "elicitation-sep1330-enums",
        *(
            f"input-required-result-{name}"
            for name in (
                "basic-elicitation",
                "basic-sampling",
                "basic-list-roots",
                "request-state",
                "multiple-input-requests",
                "multi-round",
                "missing-input-response",
                "result-type",
                "tampered-state",
                "capability-check",
                "ignore-extra-params",
                "validate-input",
            )
        ),
        "json-schema-2020-12",
        "server-sse-polling",
    ),
    **_all(
        "asks for a prompt of the everything server",
        "prompts-get-simple",
        "prompts-get-with-args",
        "prompts-get-embedded-resource",
        "prompts-get-with-image",
        "input-required-result-non-tool-request",
    ),
    **_all(
        "reads or watches a resource of the everything server",
        "resources-read-text",
        "resources-read-binary",
        "resources-templates-read",
        "resources-subscribe",
        "resources-unsubscribe",
    ),
    **_all("the server sends no log messages over MCP, and says so", "logging-set-level"),
    **_all("no tool takes an argument from an HTTP header", "http-custom-header-server-validation"),
    **_all(
        "the extension for tasks is not offered",
        "tasks-lifecycle",
        "tasks-capability-negotiation",
        "tasks-wire-fields",
        "tasks-request-state-removal",
        "tasks-mrtr-input",
        "tasks-request-headers",
        "tasks-dispatch-and-envelope",
        "tasks-status-notifications",
        "tasks-required-task-error",
        "tasks-mrtr-composition",
    ),
}

#: Checks of scenarios that apply, which fail with "Not testable": they call a diagnostic tool of the everything server.
UNTESTABLE = {
    "server-stateless": {
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream",
        "sep-2575-server-no-log-without-loglevel",
    }
}


@dataclass(frozen=True)
class Check:
    """One check of a scenario. `status`: SUCCESS, FAILURE, WARNING, INFO or SKIPPED."""

    name: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class Verdict:
    """The result of a scenario. `good`: None if it is left out."""

    good: bool | None
    text: str


def verdict(name: str, checks: Iterable[Check], revision: str, *, sessions: bool) -> Verdict:
    """The result of a scenario that has run."""
    applies = name in APPLY[revision] or (sessions and revision == OLDER and name in WITH_SESSIONS)
    if not applies:
        why = _NO_SESSION if revision == OLDER and name in WITH_SESSIONS else LEFT_OUT.get(name)
        return Verdict(False, "is not in tests/conformance/scenarios.py") if why is None else Verdict(None, why)
    failed, untested, done, warned = [], 0, 0, 0
    for check in checks:
        if check.status == "FAILURE":
            if check.name in UNTESTABLE.get(name, ()) and check.message.startswith("Not testable"):
                untested += 1
            else:
                failed.append(f"{check.name}: {check.message}")
        # Every message is validated against the schema, whatever the scenario is about.
        done += check.status == "SUCCESS" and check.name != "wire-schema-valid"
        warned += check.status == "WARNING"
    if failed:
        return Verdict(False, "; ".join(failed))
    if not done:
        return Verdict(False, "has checked nothing")
    more = [f"{count} {what}" for count, what in ((untested, "not testable here"), (warned, "warnings")) if count]
    return Verdict(True, ", ".join([f"{done} checks", *more]))


def missing(names: Iterable[str], revision: str, *, sessions: bool) -> list[str]:
    """Scenarios that apply and were not run."""
    wanted = APPLY[revision] | (WITH_SESSIONS if sessions and revision == OLDER else set())
    return sorted(wanted - set(names))


def stale(names: Iterable[str]) -> list[str]:
    """Scenarios that are left out here and that no run of the suite has."""
    return sorted(LEFT_OUT.keys() - set(names))
