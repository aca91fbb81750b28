"""Latency of one call: a picture, a sentence, a JPEG file."""

from __future__ import annotations

from clipshelf_bench.bench import SHORT_TOKENS, Bench
from clipshelf_bench.parts.embedding import embedding_table
from clipshelf_bench.tables import Table


def latency(bench: Bench) -> list[Table]:
    """Milliseconds of one picture, one sentence, and one JPEG file to pixels and to an embedding.

    Sentences have 12 tokens, and when not quick also as many as the text tower takes.
    """
    tables = []
    for subject in bench.subjects:
        lengths = (SHORT_TOKENS,) if bench.quick else (SHORT_TOKENS, subject.tokens)
        cases = [
            bench.image_case(subject, 1),
            *(bench.text_case(subject, tokens, 1) for tokens in lengths),
            bench.decode_case(),
            bench.photo_case(1),
            bench.sentence_case(1),
        ]
        tables.append(
            embedding_table(bench, subject, cases, bench.options, part="latency", title="Latency of one call")
        )
    return tables
