"""The engine: pictures and sentences to unit-norm embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from typing import Any, TypeVar

import numpy as np

from clipshelf import bundled
from clipshelf.errors import ArtifactError, ImageError, InputError
from clipshelf.failures import OnError, check_on_error, handle
from clipshelf.model.artifact import Artifact, TowerName
from clipshelf.model.hub import open_artifact
from clipshelf.model.image import Decode, ImageReader, PreparedImage
from clipshelf.model.image_limits import ImageLimits
from clipshelf.model.image_sources import CroppedImage, source_name
from clipshelf.model.match_probability import check_gives_probabilities, match_probabilities
from clipshelf.model.text_cache import TextCache, TextCacheUse
from clipshelf.model.text_cleaning import clean_text
from clipshelf.model.text_parts import check_text, group_by_length, pool_parts
from clipshelf.model.towers import Towers, running_kernels
from clipshelf.runtime.cpus import available_cpus, resolve_threads
from clipshelf.runtime.providers import CPU, resolve_precision, resolve_provider
from clipshelf.timeline import Timeline
from clipshelf.types import DoubleArray, FloatArray, ImageSource, PathLike, Pixels, Progress, TokenIds
from clipshelf.workers import Workers, batches

Value = TypeVar("Value")

# Larger batches run at no higher rate on a CPU, and these keep the activations of a batch in its cache. Above 224 px,
# half as many pictures run at the same rate and need some 100 MB less memory.
_IMAGE_BATCH, _LARGE_IMAGE_BATCH = 8, 4
_LARGE_IMAGE = 224
_GPU_IMAGE_BATCH = 64  # fewer pictures leave a GPU idle
_TEXT_BATCH = 32
_STREAMS_AT_MOST = 16
_TOKENISER_BATCH = 1024


class Engine:
    """Embeds texts and pictures with one artifact.

    Sessions and tokenizer are opened on first use. Any number of threads may share an engine. A forked child opens
    sessions of its own; a pickled or copied engine reopens the artifact from its path, or its commit on the hub, with
    the same options.

    - `artifact`: the opened artifact.
    - `provider`, `precision`: the execution provider that runs the graphs, and the precision of the graphs it runs.
    - `threads`: threads of one inference.
    - `clean_texts`: whether texts are embedded without their markup (`prepare_text`).
    - `towers`: the sessions and the tokenizer.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        decode: Decode = "fast",
        clean_texts: bool = True,
        limits: ImageLimits | None = None,
        text_cache: int = 0,
        streams: int = 1,
    ) -> None:
        """See `load`, which takes a path instead of an opened artifact."""
        self.artifact = artifact
        self.provider = resolve_provider(provider)
        self.precision = resolve_precision(artifact.manifest.precisions, self.provider)
        self.threads = resolve_threads(threads)
        self.towers = Towers(
            artifact,
            provider=self.provider,
            precision=self.precision,
            threads=self.threads,
            streams=_check_streams(streams),
        )
        self.clean_texts = clean_texts
        self._options: dict[str, Any] = {
            "provider": provider,
            "threads": threads,
            "decode": decode,
            "clean_texts": clean_texts,
            "limits": limits,
            "text_cache": text_cache,
            "streams": streams,
        }
        cache = TextCache(text_cache)  # checks the size
        self._cached_texts = cache if self._is_deterministic else TextCache(0)
        self._reader = ImageReader(artifact.manifest.image, decode, limits)
        self._image_batch = _image_batch(self.provider, artifact.manifest.image.size)
        self._decoders = Workers(available_cpus())

    @classmethod
    def load(
        cls,
        path: PathLike | None = None,
        provider: str = "cpu",
        threads: int | None = None,
        decode: Decode = "fast",
        *,
        clean_texts: bool = True,
        limits: ImageLimits | None = None,
        text_cache: int = 0,
        streams: int = 1,
    ) -> Engine:
        """Open an artifact.

        - `path`: its folder, or `org/name@revision` on the Hugging Face hub; None for the embedded default.
        - `provider`: "cpu", "cuda", "auto" (CUDA where it is available), or a name of onnxruntime's.
        - `threads`: of one inference, 1 to 256; None for all CPUs that this process may use.
        - `decode`: "fast" or "exact", as docs/pictures.md explains.
        - `clean_texts`: whether markup, entities and broken encodings are removed from texts before they are embedded.
        - `limits`: what a picture may cost; None for safe defaults.
        - `text_cache`: embeddings of texts that are kept for the next time, those used last; a service that gets the
          same words again answers them without the text tower. Only int8 on the CPU keeps any: it computes the same
          bytes each time, whatever else is embedded at once.
        - `streams`: runs of a tower at the same time on a GPU, 1 to 16; each holds the weights. The CPU ignores it.

        Raises ArtifactError, ProviderUnavailable or InputError, and MissingExtra for a model of the hub where the extra
        `hub` is not installed.
        """
        artifact = open_artifact(bundled.model_path() if path is None else path)
        return cls(
            artifact,
            provider=provider,
            threads=threads,
            decode=decode,
            clean_texts=clean_texts,
            limits=limits,
            text_cache=text_cache,
            streams=streams,
        )

    def with_artifact(self, path: PathLike | None) -> Engine:
        """Open another artifact with the options of this engine; `path` and what is raised are those of `load`."""
        return type(self).load(path, **self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        path = None if self.is_default else self.artifact.reference or str(self.artifact.path.resolve())
        return _reopen, (type(self), self.fingerprint, path, self._options)

    @property
    def dim(self) -> int:
        """D, the width of an embedding."""
        return self.artifact.manifest.dim

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the artifact: embeddings compare only within one fingerprint."""
        return self.artifact.manifest.fingerprint

    @property
    def image_limits(self) -> ImageLimits:
        """What a picture may cost."""
        return self._reader.limits

    @property
    def kernels(self) -> dict[TowerName, str]:
        """What computes each tower: the instruction set of the native kernels, or "onnxruntime".

        docs/kernels.md says when which of them runs. Raises ArtifactError where a graph cannot be read.
        """
        return running_kernels(self.artifact, self.precision, self.provider)

    @property
    def text_cache_use(self) -> TextCacheUse:
        """How many embeddings of texts are kept, and how often they served; see `load`."""
        return self._cached_texts.use

    @property
    def _is_deterministic(self) -> bool:
        """Whether an embedding is the same to the bit each time, in any batch: the ranges of int8 are fixed."""
        return self.precision == "int8" and self.provider == CPU

    @property
    def is_default(self) -> bool:
        """Whether the artifact is the embedded default."""
        return bundled.is_bundled_model(self.artifact.path)

    def warm(self) -> Engine:
        """Open both towers now, in parallel, instead of on first use. Returns the engine."""
        pictures = Workers(1).submit(self.embed_images, [np.zeros((1, 1, 3), np.uint8)])
        self.embed_texts(["warm"])
        pictures.result()
        return self

    def prepare_text(self, text: str) -> str:
        """The text that is embedded for `text`: without markup, unless `clean_texts` is off."""
        return clean_text(text) if self.clean_texts else text

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeline: Timeline | None = None,
    ) -> FloatArray:
        """Embed n sentences.

        Only sentences of the same length share a batch, so none is padded.

        - `texts`: n strings of at most 1,000,000 characters. One that is longer than the model's context is embedded in
          parts, whose embeddings are pooled: their mean, weighted by their numbers of tokens.
        - `on_error`: the error policy (`clipshelf.failures`).
        - `progress`: called with the number of texts done and of all, or None where `texts` has no length.
        - `timeline`: records the stages "tokenise" and "text".

        Returns (n, D) float32 rows of unit norm, in order; a failed item has a row of zeros.
        Raises InputError for an item that is no Unicode text or too long.
        """
        _check_items("texts", texts)
        items = ((text, check_text(index, text)) for index, text in enumerate(texts))
        encode = partial(self._embed_sentences, timeline=timeline or Timeline())
        return self._embed(items, _TOKENISER_BATCH, encode, on_error, _counter(progress, texts), describe_item=ascii)

    def embed_images(
        self,
        images: Iterable[ImageSource | CroppedImage | PreparedImage],
        *,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeline: Timeline | None = None,
    ) -> FloatArray:
        """Embed n pictures.

        Threads decode pictures ahead of the model, in order, a bounded number at a time.

        - `images`: n paths, bytes, binary streams, data: URIs, PIL images or arrays, see
          `clipshelf.model.image_decoding.decode_image`, parts of these, or pictures that `prepare_image` decoded.
        - `on_error`: the error policy (`clipshelf.failures`).
        - `progress`: called with the number of pictures done and of all, or None where `images` has no length.
        - `timeline`: records the stages "decode", "preprocess" and "vision".

        Returns (n, D) float32 rows of unit norm, in order; a failed item has a row of zeros.
        Raises ImageError for a picture that cannot be read.
        """
        _check_items("images", images)
        timeline = timeline or Timeline()
        items = self._decoders.map_ahead(partial(self._try_read, timeline), images, depth=2 * self._image_batch)

        def encode(squares: Sequence[Pixels]) -> FloatArray:
            return self.embed_pixels(np.stack(squares), timeline=timeline)

        return self._embed(
            items, self._image_batch, encode, on_error, _counter(progress, images), describe_item=source_name
        )

    def prepare_image(self, source: ImageSource | CroppedImage, *, timeline: Timeline | None = None) -> PreparedImage:
        """Decode one picture ahead of its embedding, which may then be in another thread and batch.

        Returns what `embed_images` and queries take like any other picture. The parameters are those of `read_image`.
        Raises ImageError.
        """
        return PreparedImage(self.read_image(source, timeline=timeline), self.artifact.manifest.image)

    def read_image(
        self, source: ImageSource | CroppedImage | PreparedImage, *, timeline: Timeline | None = None
    ) -> Pixels:
        """Decode one picture to the (S, S, 3) uint8 RGB square that the vision tower takes.

        - `source`: as in `embed_images`; of one that was prepared by this model, the square is ready.
        - `timeline`: records the stages "decode" and "preprocess".

        Raises ImageError.
        """
        if isinstance(source, PreparedImage):
            if source.spec != self.artifact.manifest.image:
                raise ImageError(f"expected a picture prepared for {self.artifact.manifest.image}, found {source.spec}")
            return source.square
        timeline = timeline or Timeline()
        with timeline.stage("decode"):
            picture = self._reader.open(source)
        with timeline.stage("preprocess"):
            return self._reader.square(picture)

    def embed_pixels(self, pixels: Pixels, *, timeline: Timeline | None = None) -> FloatArray:
        """Embed squares that `read_image` made, (B, S, S, 3) uint8, in one batch: (B, D) float32 of unit norm.

        `timeline` records the stage "vision".
        """
        session = self.towers.session("vision")
        with (timeline or Timeline()).stage("vision"):
            return session.run({"pixels": pixels})

    def match_probabilities(self, text_embeds: FloatArray, image_embeds: FloatArray) -> DoubleArray:
        """Probabilities that texts and pictures belong together, by the trained scale and bias of the model.

        - `text_embeds`, `image_embeds`: (t, D) and (i, D) of this engine.

        Returns (t, i), 0 to 1. Raises InputError where the model was not trained to give them.
        """
        manifest = self.artifact.manifest
        check_gives_probabilities(manifest.logits, manifest.family)
        cosines = np.asarray(text_embeds, np.float64) @ np.asarray(image_embeds, np.float64).T
        return match_probabilities(manifest.logits, cosines)

    def _embed(
        self,
        items: Iterable[tuple[Any, Value | InputError]],
        batch_size: int,
        encode: Callable[[Sequence[Value]], FloatArray],
        on_error: OnError,
        report: Callable[[int], object],
        *,
        describe_item: Callable[[Any], str],
    ) -> FloatArray:
        """Encode items in batches; each is the original and what was made of it, an error where that failed."""
        check_on_error(on_error)
        parts = [np.empty((0, self.dim), np.float32)]
        done = 0
        for batch in batches(items, batch_size):
            embeds = np.zeros((len(batch), self.dim), np.float32)
            good: dict[int, Value] = {}
            for position, (item, value) in enumerate(batch):
                if isinstance(value, InputError):
                    handle(on_error, done + position, describe_item(item), value)
                else:
                    good[position] = value
            if good:
                embeds[[*good]] = encode([*good.values()])
            parts.append(embeds)
            done += len(batch)
            report(done)
        return np.concatenate(parts)

    def _try_read(
        self, timeline: Timeline, source: ImageSource | CroppedImage | PreparedImage
    ) -> tuple[ImageSource | CroppedImage | PreparedImage, Pixels | ImageError]:
        try:
            return source, self.read_image(source, timeline=timeline)
        except ImageError as error:
            return source, error

    def _embed_sentences(self, sentences: Sequence[str], *, timeline: Timeline) -> FloatArray:
        """(n, D) unit rows: parts of one length share a batch; the parts of a long text are pooled."""
        tokenizer, session = self.towers.tokenizer(), self.towers.session("text")
        with timeline.stage("tokenise"):
            parts_by_text = tokenizer.encode_parts([self.prepare_text(sentence) for sentence in sentences])
        parts = [part for parts in parts_by_text for part in parts]
        embeds: FloatArray = np.empty((len(parts), self.dim), np.float32)
        with timeline.stage("text"):
            for positions in self._take_cached(parts, embeds):
                ids = np.array([parts[position] for position in positions])
                mask = {"attention_mask": np.ones_like(ids)} if self.artifact.manifest.text.attention_mask else {}
                embeds[positions] = session.run({"input_ids": ids} | mask)
                for position in positions:
                    self._cached_texts.put(parts[position], embeds[position])
        if len(parts) == len(sentences):
            return embeds
        return pool_parts(embeds, [len(part) for part in parts], [len(parts) for parts in parts_by_text])

    def _take_cached(self, parts: Sequence[TokenIds], embeds: FloatArray) -> Iterator[list[int]]:
        """Fill in the embeddings of parts that the cache has; yield the positions of the others in batches."""
        missing = []
        for position, part in enumerate(parts):
            row = self._cached_texts.get(part)
            if row is None:
                missing.append(position)
            else:
                embeds[position] = row
        for positions in group_by_length([parts[position] for position in missing], _TEXT_BATCH):
            yield [missing[position] for position in positions]


def _counter(progress: Progress | None, items: object) -> Callable[[int], object]:
    """What to call with the number of items done."""
    if progress is None:
        return lambda _: None
    total = len(items) if isinstance(items, Sized) else None
    return lambda done: progress(done, total)


def _image_batch(provider: str, size: int) -> int:
    """Pictures of `size` pixels that are embedded together on a provider."""
    if provider != CPU:
        return _GPU_IMAGE_BATCH
    return _IMAGE_BATCH if size <= _LARGE_IMAGE else _LARGE_IMAGE_BATCH


def _check_streams(streams: int) -> int:
    if not isinstance(streams, int) or not 1 <= streams <= _STREAMS_AT_MOST:
        raise InputError(f"streams: expected 1 to {_STREAMS_AT_MOST}, found {streams!r}")
    return streams


def _reopen(kind: type[Engine], fingerprint: str, path: str | None, options: dict[str, Any]) -> Engine:
    """A pickled engine: the artifact at its path, if it is still the same, opened with the same options."""
    engine = kind.load(path, **options)
    if engine.fingerprint != fingerprint:
        raise ArtifactError(
            f"{engine.artifact.path}: expected the artifact that was pickled, fingerprint {fingerprint}, "
            f"found one with {engine.fingerprint}"
        )
    return engine


def _check_items(name: str, items: object) -> None:
    if isinstance(items, (str, bytes)):
        raise InputError(f"{name}: expected a sequence, found one {type(items).__name__}")
