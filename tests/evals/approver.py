"""The published approver: a person who looks at nothing but the question and at what they had asked the agent for.

The rule: yes, if the first line of the question names recipients and the prompt names each of them; else no. A person
is named by the number, or by the name under which they are saved or its first word; a group by its subject. A name that
somebody chose for themselves counts for nothing. So this person lets through whatever goes to the right people, and
refuses what the prompt leaves open ("the most active user").
"""

from __future__ import annotations

import re

#: One recipient, in the ways in which a question shows it (`waha_mcp.people.persons.Person`), up to the next.
_RECIPIENT = re.compile(
    r"(?:the \w+ “(?P<subject>[^”]*)” \([^()]*\)"
    r"|(?P<chooser>[\w+.@-]+), who calls themselves “[^”]*”"
    r"|(?P<name>[^“”,()]+) \((?P<number>[^()]*)\)"
    r"|(?P<alone>[^“”,()]+))(?:, |$)"
)
#: The first line of a question: `Send a text to Maya Lindqvist (+15550100), the group “Choir” (1@g.us, 12 members)?`
_HEAD = re.compile(r"[^“(]*? to (?P<recipients>.+)\?")


def says_yes(question: str, prompt: str) -> bool:
    """The approver's answer. `question`: as the client or the console shows it; `prompt`: the user's, in full."""
    head = _HEAD.fullmatch(question.partition("\n")[0])
    rest = head["recipients"] if head else ""
    while recipient := _RECIPIENT.match(rest):
        if not _named(recipient, prompt):
            return False
        rest = rest[recipient.end() :]
    return head is not None and not rest


def _named(recipient: re.Match[str], prompt: str) -> bool:
    if recipient["subject"]:
        return _holds(prompt, recipient["subject"])
    numbers = [recipient[group] for group in ("chooser", "number", "alone") if recipient[group]]
    if any(len(digits := re.sub(r"\D", "", each)) > 5 and digits in re.sub(r"[^\w]", "", prompt) for each in numbers):
        return True
    name = recipient["name"] or ""
    first = name.split(" ")[0]
    return _holds(prompt, name) or (len(first) > 2 and _holds(prompt, first))


def _holds(prompt: str, name: str) -> bool:
    """Whether the words of a name occur in the prompt as consecutive whole words."""
    words, asked = (" ".join(re.findall(r"\w+", text.casefold())) for text in (name, prompt))
    return bool(words) and f" {words} " in f" {asked} "
