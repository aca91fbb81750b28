"""Tells when the texts of a catalogue are hardly in a language that the model knows.

A tokenizer cuts words that it was not trained on into many pieces. English product texts take 1.2 tokens a word with
the tokenizers of English models, French and German texts 1.8 to 2.6, and texts in an unknown script 5 and more. So the
number of tokens a word says, without a list of languages, whether a model was made for a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clipshelf.catalogue.statistics import sample_rows
from clipshelf.model.engine import Engine

_SAMPLE = 200  # texts
_MIN_WORDS = 40
_FOREIGN = 1.7  # tokens a word
_WORD = re.compile(r"\b[^\W\d_]{2,}\b")  # no numbers and codes, which take many tokens in any language


def language_note(engine: Engine, texts: Sequence[str]) -> str | None:
    """What to tell about the language of texts; None where the model's tokenizer knows their words, or texts are few.

    - `texts`: those of the catalogue, of which at most 200 are looked at.
    """
    sample = [texts[row] for row in sample_rows(len(texts), _SAMPLE).tolist()] if texts else []
    words = [" ".join(_WORD.findall(engine.prepare_text(text))) for text in sample]
    count = sum(len(text.split()) for text in words)
    if count < _MIN_WORDS:
        return None
    empty, *encoded = engine.towers.tokenizer().encode(["", *words])
    tokens = sum(len(ids) - len(empty) for ids in encoded)
    if tokens <= _FOREIGN * count:
        return None
    return (
        f"the texts take {tokens / count:.1f} tokens a word, where texts in a language of the model take about 1.2: "
        "it may not know their language, and matches of words will be poor"
    )
