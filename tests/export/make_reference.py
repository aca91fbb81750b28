"""Make `tests/reference`: a tiny exported CLIP, and inputs with torch's embeddings, to be replayed without torch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import checkpoints
import numpy as np
from clipshelf.model.artifact import Artifact
from clipshelf.model.tokenizer import Tokenizer
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint

REFERENCE = Path(__file__).parents[1] / "reference"
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = ("lamp", "a red leather jacket, size 4", "", "warm cotton mug that my mother loved")


def make(folder: Path) -> None:
    """Write artifact/ and outputs.npz to `folder`, which must not exist."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        pictures, texts = checkpoints.write_calibration_data(work)
        changes = {f"{tower}_{key}": value for tower in ("vision", "text") for key, value in SMALL.items()}
        checkpoints.write_checkpoint(work / "tiny-clip", seed=4, dim=16, **changes)
        artifact = export(
            work / "tiny-clip",
            folder / "artifact",
            precisions=("int8", "fp32"),
            calibration_images=pictures,
            calibration_texts=texts,
            min_overlap=0.9,
            threads=1,
        )
        checkpoint = load_checkpoint(str(work / "tiny-clip"))
    pixels = checkpoints.pictures(6, seed=8)
    tokenizer = Tokenizer(artifact.file("tokenizer.json"), checkpoint.text_spec)
    rows = [
        checkpoint.reference.embed_texts(row[None], np.ones_like(row[None])) for row in tokenizer.encode(list(TEXTS))
    ]
    np.savez_compressed(
        folder / "outputs.npz",
        fingerprint=np.array(Artifact.open(folder / "artifact").manifest.fingerprint),
        pixels=pixels,
        image_embeds=checkpoint.reference.embed_images(pixels),
        texts=np.array(TEXTS),
        text_embeds=np.concatenate(rows),
    )


if __name__ == "__main__":
    shutil.rmtree(REFERENCE, ignore_errors=True)
    make(REFERENCE)
