"""The services that are compared: how each is started, and what it calls a request."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clipshelf_bench.contenders.base import Contender, Job, to_unit_norm
from clipshelf_bench.contenders.clipshelf_runtime import OURS, Clipshelf, catalogue_of_matrix
from clipshelf_bench.contenders.fastembed_clip import Fastembed
from clipshelf_bench.contenders.torch_clip import TorchClip
from clipshelf_bench.race.cases import unavailable_reason
from clipshelf_bench.race.process import prepare_contender
from clipshelf_bench.subjects.subject import Subject

INFINITY_COMMAND = "CLIPSHELF_BENCH_INFINITY"
_NO_CHECKPOINT = "needs a CLIPModel checkpoint, which the subject has not"


@dataclass(frozen=True)
class Wish:
    """What one request asks for."""

    text: str | None = None
    image: str | None = None
    liked: Sequence[str] = ()


@dataclass(frozen=True)
class Ground:
    """What services are started on.

    - `subject`: the model.
    - `matrix`: .npy file of the products' rows (N, 2D), image sides before text sides.
    - `folder`: for files that services need.
    - `threads`: that a service may use.
    """

    subject: Subject
    matrix: Path
    folder: Path
    threads: int


class LoadedService:
    """One service. Subclasses set these attributes:

    - `name`, `description`: for tables; the name is unique.
    - `path`: of the endpoint.
    - `contender`: whose model it serves, and which prepares that; None for a service that loads a checkpoint itself.
    - `cases`: those that it can answer.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    path: ClassVar[str] = "/v1/recommend"
    contender: ClassVar[type[Contender] | None] = None
    cases: ClassVar[tuple[str, ...]] = ("text", "photo", "both", "likes")

    def prepare(self, ground: Ground) -> str | None:
        """Make the files that it needs; why it cannot run, None where it can."""
        if self.contender is None:
            return None
        if self.contender.needs_checkpoint and ground.subject.checkpoint is None:
            return _NO_CHECKPOINT
        reason = unavailable_reason(self.contender)
        return reason or prepare_contender(self.contender, ground.subject.record, ground.threads)

    def command(self, ground: Ground, port: int) -> list[str]:
        """The command that serves on a port of the loopback until it is ended."""
        raise NotImplementedError

    def body(self, wish: Wish) -> Mapping[str, Any]:
        """The body of a request."""
        fields = {"text": wish.text, "image": wish.image, "liked": list(wish.liked)}
        return {name: value for name, value in fields.items() if value} | {"k": 10}


class ClipshelfService(LoadedService):
    """`clipshelf serve` on the catalogue of the matrix."""

    name = OURS
    description = "clipshelf serve, int8 artifact"
    contender = Clipshelf

    def command(self, ground: Ground, port: int) -> list[str]:
        """The catalogue is saved on first use."""
        artifact, folder = (
            Clipshelf().shipped_folder(ground.subject),
            ground.folder / f"catalogue-{ground.subject.name}",
        )
        if not folder.is_dir():
            from clipshelf import Engine

            engine = Engine.load(artifact)
            catalogue_of_matrix(Job(ground.threads, ground.subject, ground.matrix), engine).save(folder)
        options = ["--artifact", str(artifact), "--threads", str(ground.threads), "--port", str(port)]
        return [sys.executable, "-m", "clipshelf", "serve", str(folder), *options]


class FastApiService(LoadedService):
    """FastAPI around a contender; the products have one row each, the mean of their sides."""

    def command(self, ground: Ground, port: int) -> list[str]:
        """The rows of the products are written on first use."""
        rows = ground.folder / f"rows-{ground.subject.name}.npy"
        if not rows.is_file():
            sides = np.load(ground.matrix)
            np.save(rows, to_unit_norm(sides.reshape(len(sides), 2, -1).mean(axis=1)))
        contender = self.contender or Contender
        arguments = [f"{contender.__module__}:{contender.__qualname__}", str(ground.subject.record), str(rows)]
        arguments += [str(ground.threads), str(port)]
        return [sys.executable, "-m", "clipshelf_bench.load.fastapi_service", *arguments]


class TorchService(FastApiService):
    """FastAPI around transformers on torch."""

    name = "fastapi-torch"
    description = "FastAPI around transformers on torch, fp32"
    contender = TorchClip


class FastembedService(FastApiService):
    """FastAPI around fastembed."""

    name = "fastapi-fastembed"
    description = "FastAPI around fastembed, fp32"
    contender = Fastembed


class InfinityService(LoadedService):
    """Infinity, which embeds and does not rank: its requests do less."""

    name = "infinity"
    description = "Infinity on torch, fp32; embeds and does not rank"
    path = "/embeddings"
    cases = ("text", "photo")

    def prepare(self, ground: Ground) -> str | None:
        """Look for its command; it needs older packages than the others, and so an environment of its own."""
        if self._executable() is None:
            return f"not installed: infinity_emb, on the path or where ${INFINITY_COMMAND} says"
        return None if ground.subject.checkpoint else _NO_CHECKPOINT

    def command(self, ground: Ground, port: int) -> list[str]:
        """Its torch engine without BetterTransformer, which present releases of transformers lack."""
        options = ["--model-id", str(ground.subject.require_checkpoint()), "--served-model-name", "clip"]
        options += ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--no-model-warmup"]
        options += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
        return [self._executable() or "infinity_emb", "v2", *options]

    def body(self, wish: Wish) -> Mapping[str, Any]:
        """OpenAI's form with Infinity's modality."""
        if wish.image:
            return {"model": "clip", "input": [f"data:image/jpeg;base64,{wish.image}"], "modality": "image"}
        return {"model": "clip", "input": [wish.text], "modality": "text"}

    def _executable(self) -> str | None:
        return os.environ.get(INFINITY_COMMAND) or shutil.which("infinity_emb")


SERVICES: tuple[type[LoadedService], ...] = (ClipshelfService, TorchService, FastembedService, InfinityService)
