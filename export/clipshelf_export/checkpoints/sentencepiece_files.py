"""SigLIP's SentencePiece model and its canonical text as one `tokenizers` file.

`SiglipTokenizer` of transformers lower-cases, removes ASCII punctuation and joins white space before it calls
SentencePiece. Here these rules become the normalizer of tokenizer.json, so that the engine needs neither library.
https://huggingface.co/docs/transformers/model_doc/siglip#transformers.SiglipTokenizer
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError, MissingExtra
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.tokenizer_files import (
    PUNCTUATION,
    WHITE_SPACE,
    TokenizerFile,
    load_tokenizer,
    make_tokenizer_file,
)

SPACE = "\u2581"  # SentencePiece's mark of a space


def read_siglip_tokenizer(folder: Path) -> TokenizerFile:
    """Translate the tokenizer of a SigLIP checkpoint.

    - `folder`: holds spiece.model and tokenizer_config.json.

    Raises ExportError where they are malformed, MissingExtra without the package sentencepiece.
    """
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise MissingExtra(f"spiece.model needs {error.name}: pip install 'clipshelf[export]'") from error
    try:
        model = sentencepiece_model_pb2.ModelProto.FromString((folder / "spiece.model").read_bytes())
        tokenizer = load_tokenizer(folder)
        lower_case = bool(tokenizer.do_lower_case)
    except Exception as error:  # protobuf and transformers raise errors of their own for malformed files
        raise ExportError(f"{folder}: expected the tokenizer of a SigLIP, found: {first_line(error)}") from error
    return make_tokenizer_file(_translate(model, tokenizer, lower_case=lower_case), tokenizer)


def _translate(model: Any, tokenizer: Any, *, lower_case: bool) -> Tokenizer:
    """Return the `tokenizers` pipeline of a SentencePiece model, with the end token after each text."""
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    made = Tokenizer(models.Unigram(pieces, unk_id=model.trainer_spec.unk_id, byte_fallback=False))
    steps: list[Any] = [normalizers.Replace(SPACE, " ")]
    if lower_case:
        steps.append(normalizers.Lowercase())
    steps += [
        normalizers.Replace(Regex(PUNCTUATION), ""),
        normalizers.Replace(Regex(WHITE_SPACE), " "),
        normalizers.Strip(),
    ]
    if model.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap))
    steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    eos = str(tokenizer.eos_token)
    made.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", special_tokens=[(eos, tokenizer.eos_token_id)]
    )
    special = [eos, str(tokenizer.unk_token), str(tokenizer.pad_token)]
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in dict.fromkeys(special)])
    return made
