from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
from clipshelf import Engine, bundled
from clipshelf.errors import InputError
from clipshelf.model import tokenizer as module
from clipshelf.model.artifact import Artifact
from clipshelf.model.text_parts import MAX_TEXT
from clipshelf.model.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    artifact = Artifact.open(bundled.model_path())
    return Tokenizer(artifact.path / "tokenizer.json", artifact.manifest.text)


# what was slow or could be: runs of marks, quotes, spaces and lines, words without end, several code points a character
TEXTS = {
    "dots": ".",
    "ellipses": "\u2026",
    "marks": "!?",
    "quotes": '."',
    "brackets": ".)]",
    "words": "shoe ",
    "one word": "a",
    "spaces": " ",
    "lines": "\n.",
    "chinese": "\u65e5\u672c\u3002",
    "emoji": "\U0001f469\u200d\U0001f467",
    "accents": "e\u0301\u0302",
}


@pytest.mark.parametrize("name", TEXTS)
def test_time_is_linear_in_the_length_and_other_threads_go_on(tokenizer: Tokenizer, name: str) -> None:
    text = TEXTS[name] * (80_000 // len(TEXTS[name]))
    waits, stop = [0.0], threading.Event()

    def watch() -> None:
        before = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            waits.append(now - before)
            before = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    parts = tokenizer.encode_parts([text])[0]
    took = time.perf_counter() - start
    stop.set()
    watcher.join()
    assert all(len(part) <= 128 for part in parts)
    assert took < 5 and max(waits) < 1  # 0.1 s and 0.02 s on a quiet machine; 90 s and 14 s for dots before


def test_a_text_in_pieces_has_the_tokens_of_the_whole(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    words = [
        "shoe",
        "warm,",
        "jacket.",
        "...",
        "?!",
        "\u201cred\u201d",
        "\u3002",
        "\n",
        "  ",
        "\t",
        "\u65e5\u672c",
        "a.b",
        "caf\u00e9",
    ]
    texts = ["".join(rng.choice(words) + rng.choice([" ", "", "\n", ". "]) for _ in range(3000)) for _ in range(20)]
    pieces = tokenizer.encode_parts(texts)
    monkeypatch.setattr(module, "_PIECE_LENGTH", 10**9)
    for found, expected in zip(pieces, tokenizer.encode_parts(texts), strict=True):
        assert len(found) == len(expected)
        assert all(np.array_equal(part, whole) for part, whole in zip(found, expected, strict=True))


@pytest.mark.parametrize("text", ["", " ", " " * 10_000, "\n" * 10_000])
def test_texts_of_spaces_are_one_part(tokenizer: Tokenizer, text: str) -> None:
    (part,) = tokenizer.encode_parts([text])[0]
    assert part.tolist() == tokenizer.encode([""])[0].tolist()


def test_a_text_that_is_too_long_is_refused_by_itself(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"texts\[1\]: expected at most 1,000,000 characters, found 1,000,001"):
        engine.embed_texts(["red", "x" * (MAX_TEXT + 1)])
    failures: list[object] = []
    rows = engine.embed_texts(["red", "x" * (MAX_TEXT + 1), "blue"], on_error=failures.append)
    assert len(failures) == 1 and not rows[1].any() and rows[2].any()
