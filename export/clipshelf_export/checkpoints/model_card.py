"""The model card of a checkpoint: README.md in the form of the hub."""

from __future__ import annotations

import re
from pathlib import Path

_LICENCE = re.compile(r"^license(?:_name)?:\s*[\"']?([\w.+-]+)", re.MULTILINE)


def read_licence(folder: Path) -> str | None:
    """Return the licence that the head of README.md names, in the form of the hub's model cards; None for none."""
    path = folder / "README.md"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    head = text.split("---", 2)[1] if text.startswith("---") and text.count("---") > 1 else ""
    names = _LICENCE.findall(head)
    return names[-1] if names else None
