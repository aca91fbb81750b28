from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from clipshelf.cli.main import main
from PIL import Image


def test_the_demo_answers_its_queries_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "demo.html"
    assert main(["demo", "--html", str(page)]) == 0
    output = capsys.readouterr()
    assert output.err == "" and output.out.rstrip().endswith(f"wrote {page.resolve()}")
    assert "engine: embedded model " in output.out and "four.csv: 4 products embedded in " in output.out
    blocks = re.split(r"\n\n(?=.*, among \d+ products\n)", output.out)[1:]
    titles = [block.splitlines()[0] for block in blocks]
    products = re.search(r"products\.csv: (\d+) products", output.out)
    assert products is not None
    size = int(products[1])
    assert size > 200
    assert titles == [
        "A review and a photo, among 4 products",
        *(f"{kind}, among {size} products" for kind in ("A review and a photo", "Words alone", "A photo alone")),
    ]
    best = [re.findall(r"^ +\d+ +-?\d\.\d+ +\d+%  (\S+)", block, re.MULTILINE) for block in blocks]
    assert [len(ids) for ids in best] == [4, 6, 6, 6]
    assert best[0][0] == best[1][0] == "running-shoes"
    html = page.read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", html) == titles
    assert html.count('<li class="product">') == 4 + 3 * 6 and not re.search(r"https?://", html)
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(pictures) == html.count('<li class="product">') + 3  # and the photos of three queries
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert max(image.size) <= 480
