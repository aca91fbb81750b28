from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.errors import InputError
from clipshelf.model.text_cache import TextCache, TextCacheUse
from clipshelf.runtime.session import Session
from clipshelf.types import TokenIds

TEXTS = ["red shoe", "a blue shirt", "red shoe", "warm"]


def tokens(*ids: int) -> TokenIds:
    return np.array(ids, np.int64)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of texts of each run of a session."""
    batches: list[int] = []
    run = Session.run

    def count(self: Session, feeds: dict[str, Any]) -> object:
        batches.append(len(next(iter(feeds.values()))))
        return run(self, feeds)

    monkeypatch.setattr(Session, "run", count)
    return batches


def test_what_was_used_longest_ago_is_dropped() -> None:
    cache, rows = TextCache(2), np.eye(3, dtype=np.float32)
    cache.put(tokens(1), rows[0])
    cache.put(tokens(2), rows[1])
    assert np.array_equal(cache.get(tokens(1)), rows[0])  # type: ignore[arg-type]
    cache.put(tokens(3), rows[2])
    assert cache.get(tokens(2)) is None and cache.get(tokens(3)) is not None
    assert cache.use == TextCacheUse(size=2, entries=2, hits=2, misses=1)
    rows[0] = 7
    assert cache.get(tokens(1)).max() == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [-1, 1.5, True, "9"])
def test_a_size_is_a_whole_number(size: object) -> None:
    with pytest.raises(InputError, match="text_cache: expected a whole number from 0 on"):
        TextCache(size)  # type: ignore[arg-type]


def test_an_embedding_from_the_cache_is_the_same_to_the_bit(default_engine: Engine, runs: list[int]) -> None:
    expected = Engine.load(text_cache=0).embed_texts(TEXTS)
    engine = Engine.load(text_cache=8)
    runs.clear()
    assert np.array_equal(engine.embed_texts(TEXTS), expected)
    computed = sum(runs)
    assert np.array_equal(engine.embed_texts(TEXTS[::-1]), expected[::-1])
    assert np.array_equal(engine.embed_texts([*TEXTS, "new"])[:4], expected)
    assert sum(runs) == computed + 1
    use = engine.text_cache_use
    assert (use.size, use.entries, use.hits) == (8, 4, 8)
    assert default_engine.text_cache_use == TextCacheUse(0, 0, 0, 0)


def test_fp32_keeps_nothing(tiny_artifact: Path) -> None:
    engine = Engine.load(tiny_artifact, text_cache=8)
    engine.embed_texts(TEXTS)
    engine.embed_texts(TEXTS)
    assert engine.text_cache_use == TextCacheUse(0, 0, 0, 0)


def test_threads_share_it() -> None:
    cache, wrong = TextCache(50), []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for token in rng.integers(0, 100, 2000).tolist():
            row = cache.get(tokens(token))
            if row is not None and row[0] != token:
                wrong.append(token)
            cache.put(tokens(token), np.array([token], np.float32))

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    use = cache.use
    assert not wrong and use.entries == 50 and use.hits + use.misses == 8000 and use.hits > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_while_it_is_locked_does_not_hang_the_child() -> None:
    cache = TextCache(2)
    with cache._lock:
        child = os.fork()
        if child == 0:
            cache.put(tokens(1), np.zeros(1, np.float32))
            os._exit(0 if cache.use.entries == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
