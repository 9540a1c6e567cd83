"""Made-up messages in several scripts, any number of them: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

from waha_mcp.history.records import Has, Record
from waha_mcp.whatsapp.ids import MessageKey

#: Of each script: its letters, the length of its words, the number of its words, and its share of 100 messages.
SCRIPTS: dict[str, tuple[str, range, int, int]] = {
    "latin": ("eeeeaaaiioonnrrttssllddchumgpbfvwkzyjxqéüöäñçøå", range(2, 10), 20_000, 50),
    "cyrillic": ("оооеееааиинтсрвлкмдпуяыьгзбчйхжшюцщэф", range(2, 10), 12_000, 15),
    "arabic": ("اااللييمونرتبعدسفهكقحجشصطخضذثزغظءةى", range(2, 8), 12_000, 12),
    "devanagari": ("कखगचजटडतदनपबमयरलवशसहािीुूेोौंॅ", range(2, 8), 6_000, 6),
    "thai": ("กขคงจชดตทนบปพมยรลวสหอะาิีึุูเแโใไ่้", range(3, 9), 6_000, 5),
    "chinese": ("".join(map(chr, range(0x4E00, 0x4E00 + 2_500))), range(1, 4), 20_000, 12),
}
#: Words per message, on average and at most; the number of senders and of chats.
WORDS, MOST_WORDS, PEOPLE, CHATS = 5.5, 80, 2_000, 500
#: Seconds between two messages, on average; the last one is at this Unix second.
APART, LAST = 150.0, 1_790_000_000


class Sayings:
    """The vocabulary of each script, most common first, and messages made of it."""

    def __init__(self, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self.words = {script: self._vocabulary(*of[:3]) for script, of in SCRIPTS.items()}
        self._weights = {
            script: list(accumulate(1 / (rank + 2.7) for rank in range(len(words))))
            for script, words in self.words.items()
        }
        self._shares = list(accumulate(of[3] for of in SCRIPTS.values()))

    def _vocabulary(self, letters: str, sizes: range, count: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            found["".join(self._rng.choices(letters, k=self._rng.choice(sizes)))] = None
        return list(found)

    def text(self) -> str:
        """A message in one of the scripts, with words that follow Zipf's law."""
        [script] = self._rng.choices(list(SCRIPTS), cum_weights=self._shares)
        count = min(1 + int(self._rng.expovariate(1 / WORDS)), MOST_WORDS)
        words = self._rng.choices(self.words[script], cum_weights=self._weights[script], k=count)
        return ("" if script == "chinese" else " ").join(words).capitalize()

    def records(self, count: int) -> Iterator[Record]:
        """This many messages of people and groups, newest first."""
        rng, second = self._rng, float(LAST)
        people = [f"1{203 + number // 100}55501{number % 100:02d}@c.us" for number in range(PEOPLE)]
        chats = [f"12036304{number:010d}@g.us" if number % 3 else people[number] for number in range(CHATS)]
        weights = list(accumulate(1 / (rank + 4) for rank in range(CHATS)))
        for _ in range(count):
            second -= rng.expovariate(1 / APART)
            [chat] = rng.choices(chats, cum_weights=weights)
            own, group = rng.random() < 0.4, chat.endswith("@g.us")
            sender = "me" if own else rng.choice(people[:200]) if group else chat
            key = MessageKey(own, chat, f"{rng.getrandbits(128):032X}", sender if group and not own else None)
            yield Record(key, int(second), sender, "text", self.text(), has=Has.LINK if rng.random() < 0.03 else Has(0))
