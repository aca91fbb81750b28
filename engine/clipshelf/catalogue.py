"""Products and their embeddings, computed once and kept as one matrix.

On disk a catalogue is a folder. Its manifest names the files of one generation and is replaced in one step, so that a
reader finds the state before a save or the state after it, never a mixture:

    manifest.json               format, counts, model, and the files with size and SHA-256
    embeddings.<gen>.npy        float32 (N, 2D): image rows | text rows; zeros where a product lacks that side
    products.<gen>.jsonl        one product record per line, in the order of the rows
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.artifact import FileRecord
from clipshelf.engine import Engine, Failure
from clipshelf.errors import CatalogueError, InputError
from clipshelf.files import durable
from clipshelf.products import read_products
from clipshelf.types import FloatArray, PathLike, Product

FORMAT = 1
MANIFEST = "manifest.json"
_CHUNK = 64
_FILES = {"embeddings": "embeddings.{}.npy", "products": "products.{}.jsonl"}


@dataclass(frozen=True)
class Skipped:
    """A product that was left out, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Catalogue:
    """N products with their embeddings.

    `embeddings` is (N, 2D) float32, image rows | text rows. `root` is the folder that relative pictures start from.
    `model` is the path of the artifact that embedded it, None for the embedded default.
    """

    products: Sequence[Product]
    embeddings: FloatArray
    fingerprint: str
    root: Path
    model: str | None = None
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.products)

    @cached_property
    def ids(self) -> list[str]:
        """The products' ids, in the order of the rows."""
        return [product["id"] for product in self.products]

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return int(self.embeddings.shape[1]) // 2

    @property
    def image_embeds(self) -> FloatArray:
        """(N, D) view of the image rows."""
        return self.embeddings[:, : self.dim]

    @property
    def text_embeds(self) -> FloatArray:
        """(N, D) view of the text rows."""
        return self.embeddings[:, self.dim :]

    def picture(self, product: Product) -> Path | None:
        """Path of a product's picture, None where it has none on disk."""
        image = product.get("image")
        return self.root / image if image else None

    @classmethod
    def build(
        cls,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        on_error: str = "raise",
        progress: Callable[[int, int], object] | None = None,
    ) -> Catalogue:
        """Embed products: dicts with `text`, `image` or both, or the path of a CSV with such columns.

        `id` is optional (else the position); every other key is kept with the product. Relative pictures start from
        the CSV's folder, else from the current one. A picture that cannot be read raises InputError naming the
        product, or with `on_error="skip"` leaves that product out and lists it in `skipped`.
        `progress(done, total)` is called as products are embedded.
        """
        if on_error not in ("raise", "skip"):
            raise InputError(f"on_error: expected 'raise' or 'skip', found {on_error!r}")
        root, records = read_products(products)
        kept: list[Product] = []
        skipped: list[Skipped] = []
        parts = [np.empty((0, 2 * engine.dim), np.float32)]
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            rows, bad = _embed(engine, chunk, root)
            if bad and on_error == "raise":
                first = min(bad)
                raise InputError(f"product {chunk[first]['id']!r}: {bad[first]}")
            good = [i for i in range(len(chunk)) if i not in bad]
            parts.append(rows[good])
            kept += [_record(chunk[i]) for i in good]
            skipped += [Skipped(chunk[i]["id"], reason) for i, reason in bad.items()]
            if progress is not None:
                progress(start + len(chunk), len(records))
        model = None if engine.is_default else str(engine.artifact.path.resolve())
        return cls(kept, np.concatenate(parts), engine.fingerprint, root, model, tuple(skipped))

    def save(self, path: PathLike) -> None:
        """Write the catalogue to the folder `path`, as a new generation where there is one already.

        Raises CatalogueError when the folder holds something else or cannot be written; what was there stays intact.
        """
        folder = Path(path)
        try:
            generation = _next_generation(folder)
            names = {role: pattern.format(generation) for role, pattern in _FILES.items()}
            folder.mkdir(parents=True, exist_ok=True)
            with durable(folder / names["embeddings"]) as file:
                np.save(file, self.embeddings, allow_pickle=False)
            with durable(folder / names["products"]) as file:
                file.writelines(json.dumps(p, ensure_ascii=False).encode() + b"\n" for p in self.products)
            manifest = {
                "format": FORMAT,
                "generation": generation,
                "products": len(self),
                "dim": self.dim,
                "fingerprint": self.fingerprint,
                "model": self.model,
                "root": str(self.root),
                "files": {name: asdict(FileRecord.of(folder / name)) for name in names.values()},
            }
            with durable(folder / MANIFEST) as file:
                file.write(json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n")
            for pattern in _FILES.values():
                for old in folder.glob(pattern.format("*")):
                    if old.name not in names.values():
                        old.unlink()
        except OSError as error:
            raise CatalogueError(f"{folder}: expected a folder that can be written, found: {error}") from error

    @classmethod
    def load(cls, path: PathLike) -> Catalogue:
        """Open a saved catalogue; the matrix stays on disk, memory-mapped.

        Raises CatalogueError naming the file, what was expected and what was found.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        names = {role: pattern.format(manifest["generation"]) for role, pattern in _FILES.items()}
        for name in names.values():
            expected, file = manifest["files"][name]["bytes"], folder / name
            found = file.stat().st_size if file.is_file() else "no such file"
            if found != expected:
                raise CatalogueError(f"{file}: expected {expected} bytes, found {found}")
        try:
            embeddings = np.load(folder / names["embeddings"], mmap_mode="r", allow_pickle=False)
            lines = (folder / names["products"]).read_bytes().splitlines()
            products = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise CatalogueError(f"{folder}: expected {' and '.join(names.values())} whole, found: {error}") from error
        shape = (manifest["products"], 2 * manifest["dim"])
        if embeddings.shape != shape or embeddings.dtype != np.float32 or len(products) != shape[0]:
            raise CatalogueError(
                f"{folder}: expected {shape[0]} products and float32 {shape}, "
                f"found {len(products)} and {embeddings.dtype} {embeddings.shape}"
            )
        return cls(products, embeddings, manifest["fingerprint"], Path(manifest["root"]), manifest["model"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the catalogue in `folder`; raises CatalogueError when there is none that this version reads."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogueError(f"{folder}: expected a catalogue folder with a {MANIFEST}, found none") from None
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{path}: expected a catalogue manifest in JSON, found: {error}") from error
    fields = {"generation": int, "products": int, "dim": int, "fingerprint": str, "root": str, "files": dict}
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise CatalogueError(f"{path}: format: expected {FORMAT}, found {found}")
    for name, kind in fields.items():
        if not isinstance(manifest.get(name), kind):
            raise CatalogueError(f"{path}: {name}: expected {kind.__name__}, found {manifest.get(name)!r}")
    return manifest


def _next_generation(folder: Path) -> int:
    """1 for a new or empty folder, one more than a catalogue's; any other folder is refused."""
    if not folder.exists() or not any(folder.iterdir()):
        return 1
    if not (folder / MANIFEST).exists():
        raise CatalogueError(f"{folder}: expected a new, an empty or a catalogue folder, found other files")
    return int(read_manifest(folder)["generation"]) + 1


def _embed(engine: Engine, products: Sequence[Product], root: Path) -> tuple[FloatArray, dict[int, str]]:
    """Rows (n, 2D) of products, zero on a side that one lacks, and why the pictures of some cannot be read."""
    rows = np.zeros((len(products), 2 * engine.dim), np.float32)
    pictured = [i for i, product in enumerate(products) if "image" in product]
    described = [i for i, product in enumerate(products) if "text" in product]
    images = (_locate(products[i]["image"], root) for i in pictured)
    failures: list[Failure] = []
    rows[pictured, : engine.dim] = engine.embed_images(images, on_error="skip", failures=failures)
    rows[described, engine.dim :] = engine.embed_texts([products[i]["text"] for i in described])
    return rows, {pictured[failure.index]: failure.reason for failure in failures}


def _locate(image: Any, root: Path) -> Any:
    return root / image if isinstance(image, (str, Path)) else image


def _record(product: Product) -> Product:
    """A product as it is kept: pictures that are not files cannot be shown again and go."""
    image = product.get("image")
    if image is None:
        return product
    kept = {key: value for key, value in product.items() if key != "image"}
    return {**kept, "image": str(image)} if isinstance(image, (str, Path)) else kept
