"""A progress bar that shows rate and remaining time; silent where the output is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from clipshelf.types import Progress


@contextmanager
def progress_bar(label: str, unit: str) -> Iterator[Progress]:
    """Show a bar while the block runs; yields the hook that moves it."""
    with tqdm(desc=label, unit=unit, disable=None, leave=False) as bar:

        def update(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
