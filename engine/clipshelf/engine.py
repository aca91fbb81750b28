"""The engine: pictures and sentences to unit-norm embeddings."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np

from clipshelf import embedded
from clipshelf.artifact import TOKENIZER, Artifact, Tower
from clipshelf.errors import InputError
from clipshelf.image import ImageReader
from clipshelf.session import Session, available_cpus, resolve_provider
from clipshelf.text import Tokenizer
from clipshelf.types import FloatArray, ImageSource, PathLike, Pixels, TokenIds

Item = TypeVar("Item")

# Larger batches bring no more rate on a CPU, and these keep a batch of activations in its cache.
_IMAGE_BATCH = 8
_TEXT_BATCH = 32


class Engine:
    """Embeds texts and images with one artifact. Towers are opened on first use; safe to share between threads."""

    def __init__(self, artifact: Artifact, *, provider: str = "cpu", threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads: expected 1 or more, found {threads}")
        self.artifact = artifact
        self.provider = resolve_provider(provider)
        self.threads = threads or available_cpus()
        self._reader = ImageReader(artifact.manifest.image)
        self._lock = threading.Lock()
        self._sessions: dict[Tower, Session] = {}
        self._tokenizer: Tokenizer | None = None

    @classmethod
    def load(cls, path: PathLike | None = None, provider: str = "cpu", threads: int | None = None) -> Engine:
        """Open the artifact at `path` (None: the embedded default).

        `provider` is "cpu", "cuda", "auto" or a name of onnxruntime's; `threads` is for one inference (None: all CPUs
        that this process may use). Raises ArtifactError, ProviderUnavailable or InputError.
        """
        return cls(Artifact.open(embedded.model_path() if path is None else path), provider=provider, threads=threads)

    @property
    def dim(self) -> int:
        """D, the width of an embedding."""
        return self.artifact.manifest.dim

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the artifact: embeddings compare only within one fingerprint."""
        return self.artifact.manifest.fingerprint

    @property
    def is_default(self) -> bool:
        """Whether this is the embedded default."""
        return embedded.is_model(self.artifact.path)

    def read_image(self, source: ImageSource) -> Pixels:
        """Decode one picture to the (S, S, 3) uint8 square that the vision tower takes; raises ImageError."""
        return self._reader.read(source)

    def warm(self) -> Engine:
        """Open both towers now instead of on first use."""
        self.embed_texts(["warm"])
        self.embed_images([np.zeros((1, 1, 3), np.uint8)])
        return self

    def embed_texts(self, texts: Iterable[str]) -> FloatArray:
        """Embed n sentences to (n, D) float32 of unit norm, in order.

        Only sentences of the same length share a batch, so that none is padded.
        """
        sentences = _sequence(texts, "texts")
        for i, text in enumerate(sentences):
            if not isinstance(text, str):
                raise InputError(f"texts[{i}]: expected str, found {type(text).__name__}")
        embeds = np.empty((len(sentences), self.dim), np.float32)
        if not sentences:
            return embeds
        session = self._session("text")
        ids = self._get_tokenizer().encode(sentences)
        by_length: dict[int, list[int]] = {}
        for i, row in enumerate(ids):
            by_length.setdefault(len(row), []).append(i)
        for same in by_length.values():
            for rows in _batches(same, _TEXT_BATCH):
                embeds[rows] = session.run(self._text_feeds(np.stack([ids[i] for i in rows])))
        return embeds

    def embed_images(self, images: Iterable[ImageSource]) -> FloatArray:
        """Embed n pictures (path, bytes, binary file, PIL image or uint8 array) to (n, D) float32 of unit norm.

        Raises ImageError naming the first picture that cannot be read.
        """
        if isinstance(images, (str, bytes)):
            raise InputError(f"images: expected a sequence of pictures, found one {type(images).__name__}")
        session = None
        parts = [np.empty((0, self.dim), np.float32)]
        for batch in _batches(images, _IMAGE_BATCH):
            session = session or self._session("vision")
            parts.append(session.run({"pixels": np.stack([self.read_image(image) for image in batch])}))
        return np.concatenate(parts)

    def _text_feeds(self, ids: TokenIds) -> dict[str, TokenIds]:
        feeds = {"input_ids": ids}
        if self.artifact.manifest.text.attention_mask:
            feeds["attention_mask"] = np.ones_like(ids)
        return feeds

    def _get_tokenizer(self) -> Tokenizer:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer(self.artifact.file(TOKENIZER), self.artifact.manifest.text)
            return self._tokenizer

    def _session(self, tower: Tower) -> Session:
        """The tower's session, opened and checked against the manifest on first use."""
        with self._lock:
            if tower not in self._sessions:
                manifest = self.artifact.manifest
                size, ids = manifest.image.size, ("int64", (-1, -1))
                inputs = (
                    {"pixels": ("uint8", (-1, size, size, 3))}
                    if tower == "vision"
                    else {"input_ids": ids} | ({"attention_mask": ids} if manifest.text.attention_mask else {})
                )
                name = "image_embeds" if tower == "vision" else "text_embeds"
                self._sessions[tower] = Session(
                    self.artifact.file(manifest.graph(tower)),
                    inputs=inputs,
                    outputs={name: ("float", (-1, manifest.dim))},
                    provider=self.provider,
                    threads=self.threads,
                )
            return self._sessions[tower]


def _sequence(items: Iterable[Item], name: str) -> Sequence[Item]:
    if isinstance(items, (str, bytes)):
        raise InputError(f"{name}: expected a sequence, found one {type(items).__name__}")
    return items if isinstance(items, Sequence) else list(items)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
