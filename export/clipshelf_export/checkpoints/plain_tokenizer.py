"""Read a tokenizer.json with its special tokens, without transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from tokenizers import Tokenizer

from clipshelf_export.checkpoints.json_files import read_json
from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.tokenizer_files import PROBE, TokenizerFile

# The longest text where no file names one; transformers writes 10 ** 30 then.
NO_LIMIT = 1 << 30


def read_plain_tokenizer(folder: Path) -> TokenizerFile:
    """Read tokenizer.json, and tokenizer_config.json for the pad token and the longest text.

    The tokens that begin and end each text are those that the tokenizer itself puts there. Raises ExportError where the
    file is missing or malformed.
    """
    path, settings_path = folder / "tokenizer.json", folder / "tokenizer_config.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ExportError(f"{path}: expected a tokenizer, found: {first_line(error)}") from error
    settings = read_json(settings_path) if settings_path.is_file() else {}
    pad_id = (tokenizer.padding or {}).get("pad_id")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = tokenizer.encode(PROBE).ids
    special = {id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    pad = _token(settings.get("pad_token"))
    pad_id = tokenizer.token_to_id(pad) if pad is not None else pad_id
    limit = settings.get("model_max_length")
    return TokenizerFile(
        tokenizer.to_str(),
        ids[0] if ids and ids[0] in special else None,
        ids[-1] if ids and ids[-1] in special else None,
        pad_id,
        int(min(limit, NO_LIMIT)) if isinstance(limit, (int, float)) else NO_LIMIT,
    )


def _token(value: Any) -> str | None:
    """Return a token that the settings name as a string, or as an object with its content."""
    return str(value["content"]) if isinstance(value, dict) and "content" in value else value
