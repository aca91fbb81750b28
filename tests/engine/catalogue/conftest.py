from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support import tiny


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A CSV of three products with non-square pictures beside it."""
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    rows = ["id,text,image,price,code", "r,a red shoe,red.png,10,007", "g,green,green.png,9.5,1", "b,blue,,,2"]
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(rows))
    return path
