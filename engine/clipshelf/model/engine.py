"""The engine: pictures and sentences to unit-norm embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from clipshelf import bundled
from clipshelf.errors import ImageError, InputError
from clipshelf.model.artifact import Artifact
from clipshelf.model.image import Decode, ImageReader, describe
from clipshelf.model.towers import Towers
from clipshelf.runtime.session import available_cpus, resolve_precision, resolve_provider
from clipshelf.types import FloatArray, ImageSource, PathLike, Pixels
from clipshelf.workers import Workers, batches

OnError = Literal["raise", "skip"]
Progress = Callable[[int], object]
Report = Callable[[int, str, InputError], None]

# Larger batches bring no more rate on a CPU, and these keep a batch of activations in its cache. Above 224 px half as
# many pictures run at the same rate, with some 100 MB less for the activations of 260 px.
_IMAGE_BATCH, _LARGE_IMAGE_BATCH = 8, 4
_TEXT_BATCH = 32
# Pictures decoded ahead of the batch that is being embedded, and texts tokenised at a time.
_PICTURES_AHEAD = 2 * _IMAGE_BATCH
_TEXTS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Failure:
    """An item that was skipped: its position, a short name of it, and why."""

    index: int
    source: str
    reason: str


class Engine:
    """Embeds texts and images with one artifact.

    `towers` holds its sessions and tokenizer, opened on first use. Any number of threads may share an engine, and so
    may a forked child, which opens its own sessions.
    """

    def __init__(
        self, artifact: Artifact, *, provider: str = "cpu", threads: int | None = None, decode: Decode = "fast"
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads: expected 1 or more, found {threads}")
        self.artifact = artifact
        self.provider = resolve_provider(provider)
        self.precision = resolve_precision(artifact.manifest.precisions, self.provider)
        self.threads = threads or available_cpus()
        self._reader = ImageReader(artifact.manifest.image, decode)
        self._image_batch = _IMAGE_BATCH if artifact.manifest.image.size <= 224 else _LARGE_IMAGE_BATCH
        self._decoders = Workers(available_cpus())
        self.towers = Towers(artifact, provider=self.provider, precision=self.precision, threads=self.threads)

    @classmethod
    def load(
        cls,
        path: PathLike | None = None,
        provider: str = "cpu",
        threads: int | None = None,
        decode: Decode = "fast",
    ) -> Engine:
        """Open the artifact at `path` (None: the embedded default).

        `provider` is "cpu", "cuda", "auto" or a name of onnxruntime's; `threads` is for one inference (None: all CPUs
        that this process may use); `decode` is "fast" or "exact", as `clipshelf.model.image` explains.
        Raises ArtifactError, ProviderUnavailable or InputError.
        """
        artifact = Artifact.open(bundled.model_path() if path is None else path)
        return cls(artifact, provider=provider, threads=threads, decode=decode)

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
        return bundled.is_model(self.artifact.path)

    def warm(self) -> Engine:
        """Open both towers now, at the same time, instead of on first use."""
        with ThreadPoolExecutor(1) as pool:
            pictures = pool.submit(self.embed_images, [np.zeros((1, 1, 3), np.uint8)])
            self.embed_texts(["warm"])
            pictures.result()
        return self

    def read_image(self, source: ImageSource) -> Pixels:
        """Decode one picture to the (S, S, 3) uint8 square that the vision tower takes; raises ImageError."""
        return self._reader.read(source)

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError = "raise",
        failures: list[Failure] | None = None,
        progress: Progress | None = None,
    ) -> FloatArray:
        """Embed n sentences to (n, D) float32 of unit norm, in order.

        Only sentences of the same length share a batch, so that none is padded; one longer than the model's context
        is embedded in parts. An item that is no Unicode text raises InputError, or with `on_error="skip"` gets a row
        of zeros and is added to `failures`. `progress(done)` is called with the number of items done.
        """
        report = reporter("texts", texts, on_error, failures)
        parts = [np.empty((0, self.dim), np.float32)]
        done = 0
        for batch in batches(texts, _TEXTS_AT_A_TIME):
            embeds = np.zeros((len(batch), self.dim), np.float32)
            faults = [_fault(text) for text in batch]
            for i, fault in enumerate(faults):
                if fault:
                    report(done + i, ascii(batch[i]), InputError(f"texts[{done + i}]: {fault}"))
            good = [i for i, fault in enumerate(faults) if not fault]
            if good:
                embeds[good] = self._embed_sentences([batch[i] for i in good])
            parts.append(embeds)
            done += len(batch)
            if progress is not None:
                progress(done)
        return np.concatenate(parts)

    def embed_images(
        self,
        images: Iterable[ImageSource],
        *,
        on_error: OnError = "raise",
        failures: list[Failure] | None = None,
        progress: Progress | None = None,
    ) -> FloatArray:
        """Embed n pictures (path, bytes, binary file, PIL image or uint8 array) to (n, D) float32 of unit norm.

        Pictures are decoded in threads ahead of the model, in order, a bounded number at a time. One that cannot be
        read raises ImageError, or with `on_error="skip"` gets a row of zeros and is added to `failures`.
        `progress(done)` is called with the number of pictures done.
        """
        report = reporter("images", images, on_error, failures)
        parts = [np.empty((0, self.dim), np.float32)]
        done = 0
        decoded = self._decoders.map_ahead(self._try_read, images, depth=_PICTURES_AHEAD)
        for batch in batches(decoded, self._image_batch):
            embeds = np.zeros((len(batch), self.dim), np.float32)
            squares = []
            for i, (source, result) in enumerate(batch):
                if isinstance(result, ImageError):
                    report(done + i, describe(source), result)
                else:
                    squares.append((i, result))
            if squares:
                pixels = np.stack([square for _, square in squares])
                embeds[[i for i, _ in squares]] = self.towers.session("vision").run({"pixels": pixels})
            parts.append(embeds)
            done += len(batch)
            if progress is not None:
                progress(done)
        return np.concatenate(parts)

    def _try_read(self, source: ImageSource) -> tuple[ImageSource, Pixels | ImageError]:
        try:
            return source, self.read_image(source)
        except ImageError as error:
            return source, error

    def _embed_sentences(self, sentences: Sequence[str]) -> FloatArray:
        """(n, D) unit rows: parts of one length share a batch; the parts of a long text are pooled."""
        session, masked = self.towers.session("text"), self.artifact.manifest.text.attention_mask
        parts_of = self.towers.tokenizer().encode_parts(sentences)
        parts = [ids for own in parts_of for ids in own]
        lengths = [len(ids) for ids in parts]
        # np.unique and np.stack would take longer than all else that a single text does under the GIL
        same: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            same.setdefault(length, []).append(row)
        embeds: FloatArray = np.empty((len(parts), self.dim), np.float32)
        for rows in (some for group in same.values() for some in batches(group, _TEXT_BATCH)):
            ids = np.array([parts[row] for row in rows])
            feeds = {"input_ids": ids} | ({"attention_mask": np.ones_like(ids)} if masked else {})
            embeds[rows] = session.run(feeds)
        return embeds if len(parts) == len(sentences) else _pool(embeds, lengths, [len(own) for own in parts_of])


def _fault(text: object) -> str:
    """What is wrong with a text, "" for nothing."""
    if not isinstance(text, str):
        return f"expected str, found {type(text).__name__}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"expected Unicode text, found a lone surrogate at {error.start}"
    return ""


def _pool(embeds: FloatArray, lengths: Sequence[int], counts: Sequence[int]) -> FloatArray:
    """Mean of each text's parts, weighted by their tokens, of unit norm; a single part stays as it is.

    `embeds` (P, D) and `lengths` (P,) hold the parts of all texts in turn, `counts` how many each text has.
    """
    pooled = np.empty((len(counts), embeds.shape[1]), np.float32)
    for row, (count, end) in enumerate(zip(counts, np.cumsum(counts), strict=True)):
        own = slice(end - count, end)
        pooled[row] = embeds[end - 1] if count == 1 else np.array(lengths[own], np.float32) @ embeds[own]
        if count > 1:
            pooled[row] /= np.linalg.norm(pooled[row])
    return pooled


def reporter(name: str, items: object, on_error: str, failures: list[Failure] | None) -> Report:
    """What to do with an item that cannot be used: raise its error, or keep it in `failures`."""
    if isinstance(items, (str, bytes)):
        raise InputError(f"{name}: expected a sequence, found one {type(items).__name__}")
    if on_error not in get_args(OnError):
        raise InputError(f"on_error: expected one of {', '.join(get_args(OnError))}, found {on_error!r}")
    if on_error == "skip" and failures is None:
        raise InputError("failures: expected a list for what on_error='skip' leaves out, found None")

    def report(index: int, source: str, error: InputError) -> None:
        if on_error == "raise" or failures is None:
            raise error
        failures.append(Failure(index, source, str(error)))

    return report
