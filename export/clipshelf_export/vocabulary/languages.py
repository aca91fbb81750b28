"""The letters of languages, by which pieces of a vocabulary are kept.

A language is the set of characters that its texts are written with after normalisation, in the notation of a character
class of `re`. Whatever is no letter and no mark (digits, punctuation, symbols, spaces) belongs to every language.
The letters are those of the main exemplar sets of Unicode CLDR (https://cldr.unicode.org).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from clipshelf.errors import ExportError

_LATIN = "a-z"
_CYRILLIC = "\u0400-\u045f\u0490-\u0491"
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_ARABIC = "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff"
# The letters of a language by its code of ISO 639-1, in lower case where there are two.
LETTERS: dict[str, str] = {
    "ar": _ARABIC,
    "bg": _CYRILLIC,
    "cs": _LATIN + "áčďéěíňóřšťúůýž",
    "da": _LATIN + "æøåé",
    "de": _LATIN + "äöüß",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "en": _LATIN,
    "es": _LATIN + "áéíñóúü",
    "et": _LATIN + "äõöšüž",
    "fa": _ARABIC,
    "fi": _LATIN + "äåöšž",
    "fr": _LATIN + "àâæçéèêëîïôœùûüÿ",
    "he": "\u0590-\u05ff\ufb1d-\ufb4f",
    "hi": "\u0900-\u097f",
    "hr": _LATIN + "čćđšž",
    "hu": _LATIN + "áéíóöőúüű",
    "id": _LATIN,
    "it": _LATIN + "àéèìíîóòùú",
    "ja": _HAN + "\u3040-\u30ff\u31f0-\u31ff",
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3",
    "lt": _LATIN + "ąčęėįšųūž",
    "lv": _LATIN + "āčēģīķļņšūž",
    "nl": _LATIN + "áäéëíïóöúü",
    "no": _LATIN + "àéóòôæøå",
    "pl": _LATIN + "ąćęłńóśźż",
    "pt": _LATIN + "áàâãçéêíóôõúü",
    "ro": _LATIN + "ăâîșțşţ",
    "ru": _CYRILLIC,
    "sk": _LATIN + "áäčďéíĺľňóôŕšťúýž",
    "sl": _LATIN + "čšž",
    "sr": _CYRILLIC + _LATIN + "čćđšž",
    "sv": _LATIN + "åäöéà",
    "th": "\u0e00-\u0e7f",
    "tr": _LATIN + "âçğıîöşüû\u0307",  # İ in lower case is i and a dot above
    "uk": _CYRILLIC,
    "vi": _LATIN + "\u00e0-\u00ff\u0103\u0111\u0129\u0169\u01a1\u01b0\u1ea0-\u1ef9",
    "zh": _HAN + "\u3100-\u312f",
}


class Alphabet:
    """The characters of some languages.

    - `languages`: codes of ISO 639-1.

    Raises ExportError for a language without an entry in `LETTERS`.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        self.languages = tuple(dict.fromkeys(languages))
        unknown = [language for language in self.languages if language not in LETTERS]
        if unknown:
            raise ExportError(
                f"vocabulary languages: expected some of {', '.join(LETTERS)}, found {', '.join(unknown)} "
                "(a list of texts keeps the pieces of any language)"
            )
        letters = "".join(LETTERS[language] for language in self.languages)
        self._letters = re.compile(f"[{letters}]+") if letters else None

    def has(self, text: str) -> bool:
        """Tell whether each letter and each mark of `text` is one of the languages, in upper or in lower case."""
        if self._letters is None:
            return False
        letters = "".join(character for character in text if unicodedata.category(character)[0] in "LM")
        return not letters or self._letters.fullmatch(letters.lower()) is not None
