"""Chunks of products that are embedded at once, and their files, from which the shards are made.

A chunk is what a worker embeds and writes durably: what is lost with a worker is at most one chunk each, and a chunk
that is embedded twice gives the same file. Its file has the products of each shard apart, so that a shard reads only
what it needs.
"""

from __future__ import annotations

import io
import json
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import KEY_SIZE
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.embedding import embed_products
from clipshelf.catalogue.products import ProductBatch
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.failures import Failure
from clipshelf.files import durable
from clipshelf.model.engine import Engine
from clipshelf.scale.catalogue import shards_of_keys
from clipshelf.scale.object_pictures import fetch_pictures
from clipshelf.scale.pieces import Piece
from clipshelf.types import Rows

# A multiple of what a catalogue embeds at a time, so that the same products share a batch as on one machine.
CHUNK = 1024
_PIECE_BITS = 32  # of an ordinal are left for the position in the file of a piece
_PART_ARRAYS = ("owners", "starts", "embeds", "coefficients", "keys")


@dataclass(frozen=True)
class Chunk:
    """Products that are embedded at once.

    - `piece`: its number, and the piece itself.
    - `number`: of the chunk in the piece, which has `of` chunks.
    - `batch`: up to `CHUNK` products.
    - `failures`: of the records of the piece that could not be read, with its first chunk.
    """

    piece: tuple[int, Piece]
    number: int
    of: int
    batch: ProductBatch
    failures: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        """The name of the chunk's file."""
        return chunk_name(self.piece[0], self.number)


def chunk_name(piece: int, number: int) -> str:
    """The name of the file of a chunk."""
    return f"{piece:06}-{number:06}.npz"


@dataclass(frozen=True)
class ShardPart:
    """The products of one shard in a chunk.

    - `contents`: n products.
    - `ordinals`: (n,) int64, ascending.
    """

    contents: MemoryContents
    ordinals: Rows


def chunks_of(number: int, piece: Piece, batch: ProductBatch, failures: Sequence[Failure]) -> Iterator[Chunk]:
    """The chunks of a piece, at least one. No chunk has an id twice: repeats come behind the first products of all ids.

    Which product of an id can be used shows when they are embedded, so that all are.
    """
    whole = replace(batch.with_repeats(), repeats=())
    slices = [rows[start : start + CHUNK] for rows in _occurrences(whole) for start in range(0, len(rows), CHUNK)]
    for i, rows in enumerate(slices or [[]]):
        yield Chunk((number, piece), i, max(1, len(slices)), whole.take(rows), tuple(failures) if i == 0 else ())


def _occurrences(batch: ProductBatch) -> list[list[int]]:
    """The rows of the first products of all ids, those of the second ones, and so on."""
    seen: Counter[str] = Counter()
    listed: list[list[int]] = []
    for row, product in enumerate(batch.products):
        earlier = seen[product["id"]]
        seen[product["id"]] += 1
        if earlier == len(listed):
            listed.append([])
        listed[earlier].append(row)
    return listed


def embed_chunk(engine: Engine, chunk: Chunk, shards: int, folder: Path, *, root: Path, keep_text: bool) -> int:
    """Embed a chunk and write its file, durably; returns the number of products that were left out.

    - `shards`: their number.
    - `folder`: of the file.
    - `root`: the folder that paths of pictures in the catalogue start from.
    - `keep_text`: as `clipshelf.index` takes it.
    """
    failures = [*chunk.failures]
    number, piece = chunk.piece
    pictures = fetch_pictures(chunk.batch, piece.file, engine.image_limits)
    batch = pictures.batch
    of_batch: list[Failure] = []
    embedded = embed_products(engine, batch, root=root, on_error=of_batch.append, keep_text=keep_text)
    contents = embedded.contents
    products = [pictures.record(product, of_batch) for product in contents.products]
    failures += map(pictures.explained, of_batch)
    ordinals = (number << _PIECE_BITS) + np.array(batch.positions, np.int64)[embedded.rows]
    owners = shards_of_keys(contents.keys[:, 0], shards)
    arrays: dict[str, Any] = {"failures": _text([[f.index, f.source, f.reason, f.part] for f in failures])}
    arrays["falloff"] = np.float64(batch.falloff)
    arrays["of"] = np.int64(chunk.of)
    for shard in np.unique(owners).tolist():
        rows = np.flatnonzero(owners == shard)
        arrays[f"embeddings{shard}"] = contents.embeddings[rows]
        arrays[f"keys{shard}"] = contents.keys[rows]
        arrays[f"ordinals{shard}"] = ordinals[rows]
        arrays[f"products{shard}"] = _text([products[row] for row in rows.tolist()])
        parts = contents.parts.take(rows)
        if len(parts):
            arrays |= {f"part-{name}{shard}": getattr(parts, name) for name in _PART_ARRAYS}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    with durable(folder / chunk.name) as file:
        file.write(stream.getvalue())
    return len(failures)


def place_of(ordinal: int) -> tuple[int, int]:
    """The piece of the product of an ordinal, and its position in the file of the piece."""
    return ordinal >> _PIECE_BITS, ordinal & ((1 << _PIECE_BITS) - 1)


def read_part(path: Path, shard: int) -> ShardPart | None:
    """The products of a shard in the file of a chunk, None for none."""
    with np.load(path, allow_pickle=False) as arrays:
        if f"ordinals{shard}" not in arrays:
            return None
        products = json.loads(arrays[f"products{shard}"].tobytes())
        falloff, parts = float(arrays["falloff"]), {}
        if f"part-owners{shard}" in arrays:
            parts = {name: arrays[f"part-{name}{shard}"] for name in _PART_ARRAYS}
        contents = MemoryContents(
            products, arrays[f"embeddings{shard}"], arrays[f"keys{shard}"], parts=SideParts(falloff, **parts)
        )
        return ShardPart(contents, arrays[f"ordinals{shard}"])


def embedded_chunks(folder: Path, pieces: int) -> list[list[int]]:
    """The numbers of the chunks that are embedded, for each piece."""
    numbers: list[list[int]] = [[] for _ in range(pieces)]
    for path in folder.glob("*-*.npz"):
        piece, _, number = path.stem.partition("-")
        numbers[int(piece)].append(int(number))
    return [sorted(of_piece) for of_piece in numbers]


def unfinished_pieces(folder: Path, pieces: int) -> dict[int, list[int]]:
    """The pieces whose chunks are not all embedded, each with the numbers of those that are."""
    embedded = enumerate(embedded_chunks(folder, pieces))
    return {piece: numbers for piece, numbers in embedded if _missing(folder, piece, numbers)}


def missing_chunks(folder: Path, pieces: int) -> list[str]:
    """The names of the files of chunks that are not embedded, of each piece at least the first."""
    embedded = enumerate(embedded_chunks(folder, pieces))
    return [chunk_name(piece, number) for piece, numbers in embedded for number in _missing(folder, piece, numbers)]


def _missing(folder: Path, piece: int, numbers: Sequence[int]) -> list[int]:
    """The numbers of the chunks that a piece lacks, where it has those in `numbers`."""
    count = 1
    if numbers:
        with np.load(folder / chunk_name(piece, numbers[0]), allow_pickle=False) as arrays:
            count = int(arrays["of"])
    return sorted(set(range(count)) - set(numbers))


def read_failures(path: Path) -> list[Failure]:
    """The products of a chunk that were left out."""
    with np.load(path, allow_pickle=False) as arrays:
        return [Failure(*values) for values in json.loads(arrays["failures"].tobytes())]


def join_parts(parts: Sequence[ShardPart], dim: int, declared: Mapping[str, str], words: tuple[str, ...]) -> ShardPart:
    """The products of several parts of one shard, one part behind the other."""
    keys, ordinals = np.zeros((0, 3, KEY_SIZE), np.uint8), np.zeros(0, np.int64)
    embeddings = np.zeros((0, 2 * dim), np.float32)
    if parts:
        keys = np.concatenate([part.contents.keys for part in parts])
        embeddings = np.concatenate([part.contents.embeddings for part in parts])
        ordinals = np.concatenate([part.ordinals for part in parts])
    products = [product for part in parts for product in part.contents.products]
    side_parts = SideParts.joined([part.contents.parts for part in parts], [len(part.contents) for part in parts])
    return ShardPart(MemoryContents(products, embeddings, keys, declared, words, side_parts), ordinals)


def pack(chunk: Chunk) -> bytes:
    """A chunk as bytes, to be sent to a worker."""
    return pickle.dumps(chunk)


def unpack(content: bytes) -> Chunk:
    """The chunk of `pack`, from a process of the same run."""
    chunk: Chunk = pickle.loads(content)
    return chunk


def _text(data: Any) -> Any:
    return np.frombuffer(json.dumps(data).encode(), np.uint8)
