from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf.cli.main import main
from PIL import Image
from support import tiny


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    path = tmp_path / "shop.csv"
    path.write_text("id,text,image,price\n" + "\n".join(f"{c},{c} <shoe>,{c}.png,9.5" for c in tiny.COLOURS))
    return path


@pytest.fixture
def catalogue(shop: Path, tiny_artifact: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = shop.parent / "catalogue"
    assert main(["index", str(shop), str(out), "--artifact", str(tiny_artifact)]) == 0
    assert "3 products" in capsys.readouterr().out
    return out
