from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.runtime.native import kernel_path
from clipshelf.runtime.thread_limit import ThreadLimit

TEXT = "running shoes with great support and comfort for long walks on hard roads and in the woods"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The embedded model with two threads, its text tower open."""
    if kernel_path() is None:
        pytest.skip("onnxruntime's kernels know no limit")
    engine = Engine.load(threads=2, text_cache=0)
    engine.embed_texts([TEXT])
    yield engine


def share_of_others(engine: Engine, runs: int = 30) -> float:
    """CPU time of other threads while this one embeds texts, as a share of its own."""
    process, thread = time.process_time(), time.thread_time()
    for _ in range(runs):
        engine.embed_texts([TEXT])
    own = time.thread_time() - thread
    return (time.process_time() - process - own) / own


def others_help(engine: Engine) -> bool:
    """Whether other threads of the process take part; on a busy machine they do now and then."""
    return any(share_of_others(engine) > 0.03 for _ in range(20))


def others_rest(engine: Engine) -> bool:
    """Whether other threads do nothing for this one; one of an earlier test may wake up now and then."""
    return median(share_of_others(engine) for _ in range(5)) < 0.03


def test_kernels_leave_the_other_cores_alone_until_the_limit_is_lifted(engine: Engine) -> None:
    expected = engine.embed_texts([TEXT])
    assert others_help(engine)
    limit = ThreadLimit(1)
    with limit.applied():
        assert others_rest(engine)
        np.testing.assert_array_equal(engine.embed_texts([TEXT]), expected)
        limit.lift()
        assert others_help(engine)
        np.testing.assert_array_equal(engine.embed_texts([TEXT]), expected)
    with ThreadLimit(1).applied():
        assert others_rest(engine)
    assert others_help(engine)
