from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Engine, Failure
from clipshelf.errors import ImageError, InputError
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import ImageSource, Pixels
from support import tiny


def test_embeddings_are_unit_norm_float32_in_order(engine: Engine) -> None:
    images = engine.embed_images([tiny.picture(colour) for colour in tiny.COLOURS])
    texts = engine.embed_texts(list(tiny.COLOURS))
    for embeds in (images, texts):
        assert embeds.shape == (3, engine.dim) and embeds.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-6)
    assert (images @ texts.T).argmax(1).tolist() == [0, 1, 2]


def test_an_embedding_does_not_depend_on_its_batch_mates(engine: Engine) -> None:
    texts = ["red", "a warm green shirt", "blue shoe", "red", "watch " * 30] * 20
    together = engine.embed_texts(texts)
    alone = np.concatenate([engine.embed_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    pictures = [tiny.picture(colour) for colour in list(tiny.COLOURS) * 7]
    np.testing.assert_array_equal(
        engine.embed_images(iter(pictures)), np.concatenate([engine.embed_images([p]) for p in pictures])
    )


def test_nothing_in_gives_nothing_out(engine: Engine) -> None:
    assert engine.embed_texts([]).shape == engine.embed_images([]).shape == (0, engine.dim)


def test_misuse_is_named(engine: Engine) -> None:
    with pytest.raises(InputError, match="texts: expected a sequence, found one str"):
        engine.embed_texts("red")
    with pytest.raises(InputError, match=r"texts\[1\]: expected str, found int"):
        engine.embed_texts(["red", 3])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"texts\[0\]: expected Unicode text, found a lone surrogate at 1"):
        engine.embed_texts(["a\ud800"])
    with pytest.raises(InputError, match="images: expected a sequence, found one str"):
        engine.embed_images("red.jpg")
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        engine.embed_images([tiny.picture("red"), "nowhere.jpg"])
    with pytest.raises(InputError, match=r"threads: expected 1 to \d+, found 0"):
        Engine.load(engine.artifact.path, threads=0)


def test_broken_items_can_be_skipped_and_are_reported(engine: Engine) -> None:
    failures: list[Failure] = []
    pictures: list[ImageSource] = [
        tiny.picture("red"),
        b"broken",
        tiny.picture("blue"),
        *[tiny.picture("green")] * 20,
        "nowhere.jpg",
    ]
    embeds = engine.embed_images(pictures, on_error=failures.append)
    assert embeds.shape == (24, engine.dim)
    assert [(failure.index, failure.source) for failure in failures] == [(1, "6 bytes"), (23, "nowhere.jpg")]
    assert "expected a picture" in failures[0].reason
    assert not embeds[[1, 23]].any()
    np.testing.assert_array_equal(embeds[2], engine.embed_images([tiny.picture("blue")])[0])
    failures.clear()
    texts = engine.embed_texts(["red", None, "blue"], on_error=failures.append)  # type: ignore[list-item]
    assert [failure.index for failure in failures] == [1] and not texts[1].any() and texts[2].any()
    with pytest.raises(InputError, match="on_error: expected 'raise' or a callable that takes a Failure, found 'skip'"):
        engine.embed_images([], on_error="skip")  # type: ignore[arg-type]


def test_pictures_are_decoded_a_bounded_number_ahead(engine: Engine) -> None:
    taken = 0

    def pictures() -> Iterator[Pixels]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield tiny.picture("red")

    seen: list[tuple[int, int]] = []
    embeds = engine.embed_images(pictures(), progress=lambda done, _: seen.append((done, taken)))
    assert len(embeds) == 200 and seen[-1] == (200, 200)
    assert all(taken - done <= 40 for done, taken in seen)


def test_a_text_past_the_context_is_pooled_from_its_parts(engine: Engine) -> None:
    sentences = ["red shoe red.", "blue watch warm blue.", "green shirt"]
    whole = engine.embed_texts([" ".join(sentences), "red"])
    parts = engine.embed_texts(sentences)
    # two special tokens, four or three words and the full stop, which is a word of its own
    pooled = parts * np.array([[6], [7], [4]])
    pooled = pooled.sum(axis=0) / np.linalg.norm(pooled.sum(axis=0))
    np.testing.assert_allclose(whole[0], pooled, atol=1e-6)
    np.testing.assert_array_equal(whole[1], engine.embed_texts(["red"])[0])


@pytest.mark.parametrize(
    "parts",
    [
        ["red red red red red.", "green green"],  # a sentence of just the room that the context leaves
        ["red red red red red red", "green. green"],  # a sentence of one word more is cut at a space
    ],
)
def test_a_long_text_is_cut_as_late_as_it_may_be(engine: Engine, parts: list[str]) -> None:
    whole = engine.embed_texts([" ".join(parts)])[0]
    lengths = np.array([[2 + len(re.findall(r"\w+|\.", part))] for part in parts])
    pooled = (engine.embed_texts(parts) * lengths).sum(axis=0)
    np.testing.assert_allclose(whole, pooled / np.linalg.norm(pooled), atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_opens_its_own_sessions(engine: Engine) -> None:
    def embeds() -> bytes:
        return engine.embed_texts(["red shoe"]).tobytes() + engine.embed_images([tiny.picture("red")] * 2).tobytes()

    expected = embeds()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # where it would wait for threads that are the parent's
        os.write(write, embeds())
        os._exit(0)
    os.close(write)
    assert os.read(read, len(expected) + 1) == expected
    assert os.waitpid(child, 0)[1] == 0
    os.close(read)


def test_pictures_are_decoded_in_threads_that_stay(engine: Engine) -> None:
    threads = set[threading.Thread]()
    for _ in range(20):
        engine.embed_images([tiny.Noted("red", threads), tiny.Noted("blue", threads)])
    assert threading.current_thread() not in threads
    assert 1 <= len(threads) <= available_cpus()


def test_threads_may_share_an_engine_from_its_first_use(tiny_artifact: Path) -> None:
    engine = Engine.load(tiny_artifact, threads=1)
    with ThreadPoolExecutor(8) as pool:
        texts = [pool.submit(engine.embed_texts, ["red shoe"]) for _ in range(32)]
        images = [pool.submit(engine.embed_images, [tiny.picture("blue")]) for _ in range(32)]
    assert len({future.result().tobytes() for future in texts}) == 1
    assert len({future.result().tobytes() for future in images}) == 1


def test_the_runtime_imports_no_export_package() -> None:
    code = (
        "import sys, clipshelf, clipshelf.cli.main, clipshelf.cli.demo, clipshelf.cli.describe;"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'onnx', 'optimum') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
