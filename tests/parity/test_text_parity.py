"""Token ids against transformers' CLIP tokenizers, fast and slow, on a small CLIP-style vocabulary trained here."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from clipshelf.model.artifact import TextSpec
from clipshelf.model.tokenizer import Tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripts import texts_of_every_block
from tokenizers import Tokenizer as Trainable
from tokenizers import models, pre_tokenizers, trainers

transformers = pytest.importorskip("transformers", reason="parity needs clipshelf[export]")

CORPUS = [
    "I love running shoes, especially those with great support and comfort.",
    "A warm winter jacket; it's 100% wool, isn't it? We've worn ours for 12 years!",
    "Crème brûlée für zwei, naïve café — 東京の靴、привет, שלום, नमस्ते, สวัสดี 🙂👟",
] * 20
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77
# where CLIPTokenizer and CLIPTokenizerFast disagree: a final sigma becomes another letter, a mark is of no class that
# `regex` looks for, and str.strip takes separators for spaces
DISPUTED = "\u03a3\u0345\x1c\x1d\x1e\x1f"


@pytest.fixture(scope="module")
def tokenizers_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Tokenizer]:
    folder = tmp_path_factory.mktemp("clip-tokenizer")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained = Trainable(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(
        (text.lower() for text in CORPUS),
        trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False),
    )
    merges = json.loads(trained.to_str())["model"]["merges"]
    words = [*alphabet, *(symbol + "</w>" for symbol in alphabet)]
    words += [word for word in ("".join(pair) for pair in merges) if word not in set(words)]
    vocabulary = {word: i for i, word in enumerate([*dict.fromkeys(words), BOS, EOS])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    theirs = transformers.CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))
    spec = TextSpec(
        max_tokens=CONTEXT,
        pad_id=vocabulary[EOS],
        bos_id=vocabulary[BOS],
        eos_id=vocabulary[EOS],
        attention_mask=False,
    )
    return theirs, Tokenizer(folder / "tokenizer.json", spec)


@pytest.fixture(scope="module")
def slow(tokenizers_pair: tuple[Any, Tokenizer], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """CLIPTokenizer, whose regular expression, case and merges are Python; ftfy's guesses are replaced by NFC.

    transformers 5 has no tokenizer in Python any more; `make test-oldest-export` runs this comparison.
    """
    if not hasattr(transformers.CLIPTokenizer, "bpe"):
        pytest.skip("transformers 5 has the fast tokenizer only")
    files = tokenizers_pair[0].save_vocabulary(str(tmp_path_factory.mktemp("vocabulary")))
    tokenizer = transformers.CLIPTokenizer(*files)
    tokenizer.fix_text = lambda text: unicodedata.normalize("NFC", text)
    return tokenizer


def compare(pair: tuple[Any, Tokenizer], text: str) -> None:
    theirs, ours = pair
    expected = theirs(text)["input_ids"]
    parts = ours.encode_parts([text])[0]
    assert all(len(part) <= CONTEXT for part in parts)
    assert [i for part in parts for i in part[1:-1].tolist()] == expected[1:-1]
    assert {(int(part[0]), int(part[-1])) for part in parts} == {(expected[0], expected[-1])}


@settings(max_examples=400, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=120))
def test_ids_are_those_of_clip_for_any_text(tokenizers_pair: tuple[Any, Tokenizer], text: str) -> None:
    compare(tokenizers_pair, text)


def whole_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of each text without special tokens, its parts joined."""
    return [[i for part in parts for i in part[1:-1].tolist()] for parts in tokenizer.encode_parts(texts)]


def test_ids_are_those_of_clip_in_every_script(tokenizers_pair: tuple[Any, Tokenizer]) -> None:
    theirs, ours = tokenizers_pair
    texts = list(texts_of_every_block())
    assert whole_ids(ours, texts) == [ids[1:-1] for ids in theirs(texts)["input_ids"]]


def test_ids_are_those_of_the_python_tokenizer_in_every_script(
    tokenizers_pair: tuple[Any, Tokenizer], slow: Any
) -> None:
    texts = list(texts_of_every_block())
    whole = whole_ids(tokenizers_pair[1], texts)
    agreed = [(text, ids) for text, ids in zip(texts, whole, strict=True) if not set(DISPUTED) & set(text)]
    assert len(agreed) > 0.99 * len(texts) > 3000
    assert [text for text, ids in agreed if slow(text)["input_ids"][1:-1] != ids] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "\x00\x1f\x7f",
        "A  stylish   pair",
        "it's we've I'LL",
        "<|startoftext|> hi <|endoftext|>",
        "👩‍👩‍👧‍👦🏽",
        "e\u0301 é",
        "ﬁ ① Ⅷ",
        *CORPUS[:3],
        "word " * 300,
        "x" * 2000,
        "東京の靴。" * 200,
    ],
)
def test_ids_of_chosen_texts(tokenizers_pair: tuple[Any, Tokenizer], text: str) -> None:
    compare(tokenizers_pair, text)


def test_a_long_review_is_split_on_sentence_ends(tokenizers_pair: tuple[Any, Tokenizer], tmp_path: Path) -> None:
    theirs, ours = tokenizers_pair
    sentence = "I love running shoes, especially those with great support and comfort."
    parts = ours.encode_parts([" ".join([sentence] * 12)])[0]
    one = theirs(sentence)["input_ids"][1:-1]
    whole = (CONTEXT - 2) // len(one)
    assert len(parts) == -(-12 // whole)
    assert all(part[1:-1].tolist() == one * (len(part[1:-1]) // len(one)) for part in parts)
