"""Other words for a word, from WordNet lemmas that share a gloss."""

from __future__ import annotations

import random
import re
from collections import defaultdict

from .material import read_pairs

_WORD = re.compile(r"[a-z]{3,}")

#: Words that programming uses in its own sense, so WordNet's synonyms would mislead.
_LEAVE = frozenset({
    "string", "strings", "object", "objects", "class", "function", "method", "module", "python",
    "byte", "bytes", "float", "int", "list", "dict", "tuple", "set", "type", "thread",
    "threads", "socket", "code", "call", "the", "and", "for", "from", "with", "that", "this",
    "are", "not", "can", "may", "will", "one", "two", "has", "have", "was", "its", "use",
    "used", "using", "all", "any", "each",
})  # fmt: skip


class Thesaurus:
    """Synonyms by word; rewording is driven by the caller's random generator."""

    def __init__(self, glosses: dict[str, list[str]]) -> None:
        """Take gloss -> lemmas."""
        self._synonyms: dict[str, list[str]] = defaultdict(list)
        for lemmas in glosses.values():
            single = [lemma for lemma in lemmas if _WORD.fullmatch(lemma)]
            for lemma in single:
                self._synonyms[lemma] += [other for other in single if other != lemma]

    @classmethod
    def from_material(cls) -> Thesaurus:
        """Read the lemmas and glosses of WordNet."""
        glosses: dict[str, list[str]] = defaultdict(list)
        for pair in read_pairs("gloss"):
            glosses[pair.positive].append(pair.query)
        return cls(glosses)

    def reword(self, phrase: str, rng: random.Random, share: float = 0.3) -> str:
        """Return the phrase with about `share` of its known words replaced."""

        def replace(match: re.Match[str]) -> str:
            word = match.group(0)
            choices = self._synonyms.get(word, ())
            if word in _LEAVE or not choices or rng.random() > share:
                return word
            return rng.choice(choices)

        return _WORD.sub(replace, phrase)
