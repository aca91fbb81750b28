"""Texts as shops store them to texts as people read them: without markup, entities and broken encodings.

    <p>A warm <b>winter</b> jacket</p>     A warm winter jacket
    Men&#39;s shoes &amp; boots            Men's shoes & boots
    CafÃ© crÃ¨me                          Café crème

Only what is certainly markup goes: tags of HTML by their names, comments, entities that end in a semicolon. `a < b`,
`I <3 shoes` and `R&D` stay as they are. The time is linear in the length of the text.
"""

from __future__ import annotations

import html
import re

# Tags that end a line of text; the others lie within one.
_BLOCK = (
    "address|article|aside|blockquote|body|br|caption|center|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h1|h2|h3|"
    "h4|h5|h6|head|header|hr|html|legend|li|main|nav|ol|optgroup|option|p|pre|section|select|table|tbody|td|tfoot|th|thead|"
    "title|tr|ul"
)
_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|button|cite|code|col|colgroup|data|del|dfn|em|embed|font|i|iframe|img|input|ins|kbd|label|"
    "link|map|mark|meta|noscript|object|param|picture|q|s|samp|script|small|source|span|strike|strong|style|sub|summary|"
    "sup|svg|textarea|time|tt|u|var|video|wbr"
)
_BLOCKS = frozenset(_BLOCK.split("|"))
_TAG = re.compile(rf"<(/?)({_BLOCK}|{_INLINE})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_HIDDEN = ("script", "style")  # elements whose content nobody reads
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
# Entities that are escaped once more, as `&amp;lt;`, are common; deeper nesting is not.
_UNESCAPE_TIMES = 2
# UTF-8 that was read as Latin-1 or Windows-1252 shows one of these pairs.
_MOJIBAKE = re.compile(
    "[\u00c2-\u00c5\u00d0\u00d1\u00e2\u00e3\u00f0][\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]"
)


def clean_text(text: str) -> str:
    """`text` without markup, with entities and broken encodings repaired; equal to `text` where there are none."""
    cleaned = text
    if "&" in cleaned:
        for _ in range(_UNESCAPE_TIMES):
            cleaned = _ENTITY.sub(lambda entity: html.unescape(entity[0]), cleaned)
    if "<" in cleaned:
        cleaned = _without_tags(_without_comments(cleaned))
    if not cleaned.isascii() and _MOJIBAKE.search(cleaned):
        import ftfy  # 40 ms, which texts without the pattern do not pay

        cleaned = str(ftfy.fix_encoding(cleaned))
    return cleaned


def _without_comments(text: str) -> str:
    """`text` without HTML comments; one that does not end is no comment."""
    parts, start = [], 0
    while (opening := text.find("<!--", start)) >= 0 and (closing := text.find("-->", opening + 4)) >= 0:
        parts.append(text[start:opening])
        start = closing + 3
    return "".join((*parts, text[start:]))


def _without_tags(text: str) -> str:
    """`text` without the tags of HTML; a tag that ends a line becomes a line break."""
    parts: list[str] = []
    start, hidden = 0, ""
    for tag in _TAG.finditer(text):
        closing, name = tag[1], tag[2].lower()
        if not hidden:
            parts.append(text[start : tag.start()])
            parts.append("\n" if name in _BLOCKS else "")
        if name in _HIDDEN and not hidden and not closing:
            hidden = name
        elif name == hidden and closing:
            hidden = ""
        start = tag.end()
    if not parts and not hidden:
        return text
    if not hidden:
        parts.append(text[start:])
    lines = ("".join(parts)).replace("\xa0", " ").splitlines()
    return "\n".join(" ".join(line.split()) for line in lines if line.strip())
