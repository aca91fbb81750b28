"""Vocabularies that are trimmed to what texts or languages need."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
from clipshelf import Engine
from clipshelf.errors import ExportError
from clipshelf_export import export, import_onnx
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.checkpoints.tokenizer_files import read_tokenizer
from clipshelf_export.vocabulary.languages import LETTERS, Alphabet
from clipshelf_export.vocabulary.tokenizer_file import choose_ids, is_equal, trim_file
from clipshelf_export.vocabulary.trim import VocabularyOptions, trim_vocabulary
from test_export_import import write_community, write_immich
from test_export_multilingual import write, write_bert, write_xlmr
from test_export_siglip import write_gemma, write_model, write_sentencepiece
from tokenizers import Tokenizer

WRITERS: dict[str, Callable[[Path], Any]] = {
    "byte-level BPE": checkpoints.write_tokenizer,
    "BPE with byte fallback": lambda folder: write_gemma(folder, "right"),
    "Unigram": write_xlmr,
    "SentencePiece": write_sentencepiece,
    "WordPiece": write_bert,
}
GERMAN = ["Crème brûlée für zwei", "ein lamp, size 4!"]


@pytest.fixture(scope="module", params=[*WRITERS])
def tokenizer_json(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    folder.mkdir(exist_ok=True)
    WRITERS[request.param](folder)
    if (folder / "spiece.model").exists():
        from clipshelf_export.checkpoints.sentencepiece_files import read_siglip_tokenizer

        return read_siglip_tokenizer(folder).json
    return read_tokenizer(folder).json


def trimmed(tokenizer_json: str, texts: list[str], *languages: str) -> tuple[Tokenizer, Tokenizer, Any]:
    content, original = json.loads(tokenizer_json), Tokenizer.from_str(tokenizer_json)
    kept = choose_ids(content, original, texts, Alphabet(languages), ())
    return original, Tokenizer.from_str(json.dumps(trim_file(content, kept))), kept


def test_kept_texts_are_split_as_before(tokenizer_json: str) -> None:
    texts = [*checkpoints.SENTENCES[:20], *GERMAN, "", "東京の靴", "🙂 unknown"]
    original, tokenizer, kept = trimmed(tokenizer_json, texts)
    assert len(kept) < original.get_vocab_size()
    assert tokenizer.get_vocab_size() == len(kept)
    assert all(is_equal(original, tokenizer, kept, text) for text in texts)
    pieces = {piece: int(kept[id_]) for piece, id_ in tokenizer.get_vocab().items()}
    assert pieces.items() <= original.get_vocab().items()


def test_any_text_in_the_letters_of_a_language_is_split_as_before(tokenizer_json: str) -> None:
    original, tokenizer, kept = trimmed(tokenizer_json, [], "en", "ru")
    assert len(trimmed(tokenizer_json, [], "ru")[2]) < len(kept)
    rng = random.Random(5)
    words = " ".join(checkpoints.SENTENCES).split()
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFXYZ0123456789 .,-!? приветмир"
    for _ in range(300):
        parts = [rng.choice([rng.choice(words), "".join(rng.choices(letters, k=rng.randint(1, 9)))]) for _ in range(5)]
        assert is_equal(original, tokenizer, kept, " ".join(parts))


def test_other_texts_fall_back_to_known_pieces(tokenizer_json: str) -> None:
    _, tokenizer, kept = trimmed(tokenizer_json, ["red lamp"])
    ids = tokenizer.encode("東京 striped mal").ids
    assert ids
    assert max(ids) < len(kept)


@pytest.mark.parametrize("family", ["siglip", "metaclip_2", "altclip"])
def test_a_trimmed_artifact_embeds_kept_texts_to_the_bit(
    family: str, tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    if family == "siglip":
        write_model(tmp_path / "checkpoint", len(write_gemma(tmp_path / "checkpoint", "left")))
    else:
        write(family, tmp_path / "checkpoint")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join([*checkpoints.SENTENCES[:9], "ПРИВЕТ мир"]), encoding="utf-8")
    options: dict[str, Any] = {"precisions": ("fp32",), **calibration_data}
    whole = export(tmp_path / "checkpoint", tmp_path / "whole", **options)
    small = export(tmp_path / "checkpoint", tmp_path / "small", vocabulary_texts=texts, **options)
    record = small.manifest.source["vocabulary"]
    assert record["pieces"] < record["of"]
    assert (record["texts"], record["languages"], record["texts_from"]) == (10, [], "texts.txt")
    assert (small.path / "text.onnx").stat().st_size < (whole.path / "text.onnx").stat().st_size
    kept = texts.read_text(encoding="utf-8").splitlines()
    one, other = (Engine.load(artifact.path, threads=1).embed_texts(kept) for artifact in (whole, small))
    assert np.array_equal(one, other)


def test_a_trimmed_artifact_in_int8_is_faithful(
    tmp_path: Path, calibration_data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    from clipshelf.cli.main import main

    write_model(tmp_path / "checkpoint", len(write_gemma(tmp_path / "checkpoint", "right")))
    pictures, texts = str(calibration_data["calibration_images"]), str(calibration_data["calibration_texts"])
    arguments = ["--calibration-images", pictures, "--calibration-texts", texts, "--threads", "1"]
    languages = ["--vocabulary-languages", "en", "--vocabulary-texts", texts, "--min-overlap", "0.95"]
    assert main(["export", str(tmp_path / "checkpoint"), str(tmp_path / "out"), *arguments, *languages]) == 0
    record = Engine.load(tmp_path / "out").artifact.manifest.source["vocabulary"]
    assert f"vocabulary: {record['pieces']} of {record['of']} pieces" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["immich", "community"])
def test_ready_towers_are_trimmed_too(
    layout: str, tmp_path: Path, outlier_checkpoint: Path, calibration_data: dict[str, Any]
) -> None:
    folder = tmp_path / "towers"
    if layout == "immich":
        write_immich(folder, outlier_checkpoint)
    else:
        model, _ = write("altclip", tmp_path / "checkpoint")
        write_community(folder, tmp_path / "checkpoint", model, mask=True)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(checkpoints.SENTENCES[:9]), encoding="utf-8")
    options: dict[str, Any] = {"precisions": ("fp32",), **calibration_data}
    whole = import_onnx(folder, tmp_path / "whole", **options)
    small = import_onnx(folder, tmp_path / "small", vocabulary_texts=texts, **options)
    record = small.manifest.source["vocabulary"]
    assert record["pieces"] < record["of"]
    kept = checkpoints.SENTENCES[:9]
    one, other = (Engine.load(artifact.path, threads=1).embed_texts(kept) for artifact in (whole, small))
    assert np.array_equal(one, other)


def test_what_cannot_be_trimmed_is_refused(tmp_path: Path, outlier_checkpoint: Path) -> None:
    checkpoint = load_checkpoint(str(outlier_checkpoint))
    assert trim_vocabulary(checkpoint, VocabularyOptions()) is checkpoint
    with pytest.raises(ExportError, match=r"languages: expected some of ar, .*, found xx \(a list of texts"):
        trim_vocabulary(checkpoint, VocabularyOptions(languages=["en", "xx"]))
    with pytest.raises(ExportError, match=r"--vocabulary-texts: expected a text file in UTF-8, found: .*No such file"):
        trim_vocabulary(checkpoint, VocabularyOptions(tmp_path / "none.txt"))


def test_an_alphabet_takes_upper_case_digits_and_marks_of_its_languages() -> None:
    assert all(Alphabet([language]).has("3.5 % -") for language in LETTERS)
    assert Alphabet(["de"]).has("Größe ÜBER 4!")
    assert not Alphabet(["en"]).has("Größe")
    assert Alphabet(["hi", "ar"]).has("नमस्ते مرحبا")
    assert Alphabet(["tr"]).has("\u0130stanbul \u0131\u011fd\u0131r")
    assert not Alphabet([]).has("a")
