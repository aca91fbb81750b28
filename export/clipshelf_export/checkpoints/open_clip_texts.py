"""The repairs of ftfy that open_clip makes in every text before it splits it, as steps of a tokenizer.

These are the ones that change single characters: curly quotes become straight ones, ligatures become letters, and
full-width letters those of ASCII. HTML entities and broken encodings are not among them; the engine repairs those in
every text (`clean_texts` of `Engine.load`).
https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/tokenizer.py (basic_clean), and ftfy.fix_text
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ftfy import chardata
from tokenizers import Regex, Tokenizer, normalizers

from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile

# Control characters that stand for those of Windows-1252, by the codec that ftfy registers
C1_CONTROLS = range(0x80, 0xA0)


def repaired(file: TokenizerFile) -> TokenizerFile:
    """Return a tokenizer that makes these repairs first."""
    tokenizer = Tokenizer.from_str(file.json)
    steps = _steps() if tokenizer.normalizer is None else [*_steps(), tokenizer.normalizer]
    tokenizer.normalizer = normalizers.Sequence(steps)
    return replace(file, json=tokenizer.to_str())


def _steps() -> list[Any]:
    """Return the repairs in the order of ftfy: one of its ligatures holds a quote."""
    characters = {code: bytes([code]).decode("sloppy-windows-1252") for code in C1_CONTROLS}
    characters |= {**chardata.LIGATURES, **chardata.WIDTH_MAP}
    controls = "".join(f"\\x{{{code:x}}}" for code in sorted(chardata.CONTROL_CHARS))
    return [
        *(normalizers.Replace(chr(code), text) for code, text in characters.items()),
        normalizers.Replace(Regex(chardata.SINGLE_QUOTE_RE.pattern), "'"),
        normalizers.Replace(Regex(chardata.DOUBLE_QUOTE_RE.pattern), '"'),
        normalizers.Replace(Regex(f"[{controls}]"), ""),
        normalizers.NFC(),
    ]
