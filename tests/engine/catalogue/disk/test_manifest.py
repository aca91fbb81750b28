from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.errors import CatalogueError


def test_what_does_not_match_its_manifest_is_refused(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    with pytest.raises(CatalogueError, match=r"expected a catalogue folder with a manifest\.json, found none"):
        Catalogue.load(out)
    Catalogue.build(engine, shop).save(out)
    with (out / "products.1.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(CatalogueError, match=r"products\.1\.jsonl: expected \d+ bytes, found \d+"):
        Catalogue.load(out)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["sha256"]
    for change, message in (
        ({"format": 9}, "format: expected 1, found 9"),
        ({"dim": "4"}, "dim: expected int, found '4'"),
        ({"files": {"../x.npy": {"bytes": 1, "sha256": ""}}}, "expected plain file names"),
        ({"files": {"embeddings.1.npy": 3}}, "files: expected bytes and sha256 of each"),
        ({"columns": {"price": "money"}}, "known kinds"),
        ({"relevance_curve": {"slope": 0}}, r"manifest\.json: relevance_curve: expected slope, intercept and queries"),
    ):
        plain = json.dumps({**manifest, **change}, indent=2, ensure_ascii=False)
        sealed = json.loads(plain) | {"sha256": hashlib.sha256(plain.encode()).hexdigest()}
        (out / "manifest.json").write_text(json.dumps(sealed, indent=2, ensure_ascii=False) + "\n")
        with pytest.raises(CatalogueError, match=message):
            Catalogue.load(out)
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CatalogueError, match="expected a text with the sha256 that it names, None, found a changed"):
        Catalogue.load(out)
