"""Throughput: batches of pictures and sentences, and many photos in one call."""

from __future__ import annotations

from dataclasses import replace

from clipshelf_bench.bench import Bench
from clipshelf_bench.parts.embedding import batch_cases, embedding_table
from clipshelf_bench.parts.photo_pipeline import photo_pipeline_table
from clipshelf_bench.tables import Table

# A turn of a batch is long, so fewer rounds suffice.
_MAX_ROUNDS = 9
_LARGE_IMAGE_BATCH, _PHOTO_BATCH = 32, 8


def throughput(bench: Bench) -> list[Table]:
    """Milliseconds per item of batches, and how near many photos in one call come to the vision graph alone.

    Batches are of pictures and sentences, and when not quick also of more pictures and of JPEG files.
    """
    options = replace(bench.options, rounds=min(bench.options.rounds, _MAX_ROUNDS), runs=1)
    tables = []
    for subject in bench.subjects:
        cases = batch_cases(bench, subject)
        if not bench.quick:
            cases += [bench.image_case(subject, _LARGE_IMAGE_BATCH), bench.photo_case(_PHOTO_BATCH)]
        title = "Batches, per item"
        tables.append(embedding_table(bench, subject, cases, options, part="throughput", title=title, per_item=True))
        tables.append(photo_pipeline_table(bench, subject))
    return tables
