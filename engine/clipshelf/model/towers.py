"""The sessions and the tokenizer of an artifact: opened once, on first use, whichever thread comes first."""

from __future__ import annotations

import threading
from typing import get_args

from clipshelf.forks import call_in_child
from clipshelf.model.artifact import TOKENIZER, Artifact, TowerName
from clipshelf.model.tokenizer import Tokenizer
from clipshelf.runtime.session import ONNXRUNTIME, Port, Session, usable_kernels
from clipshelf.types import Precision


def running_kernels(artifact: Artifact, precision: Precision, provider: str) -> dict[TowerName, str]:
    """What computes each tower on a provider: the instruction set of the native kernels, or "onnxruntime"."""
    names: dict[TowerName, str] = {}
    for tower in get_args(TowerName):
        kernels = usable_kernels(artifact.path / artifact.manifest.graph(tower, precision), provider)
        names[tower] = ONNXRUNTIME if kernels is None else kernels.instruction_set
    return names


class Towers:
    """Sessions and tokenizer of one artifact, checked against its manifest when they are opened.

    Any number of threads may share it. A forked child opens its own sessions.

    - `artifact`: the opened artifact.
    - `provider`: full name of the execution provider.
    - `precision`: which of the stored graphs are opened.
    - `threads`: threads of one run.
    - `streams`: runs of a tower at the same time on a device of its own.
    """

    def __init__(
        self, artifact: Artifact, *, provider: str, precision: Precision, threads: int, streams: int = 1
    ) -> None:
        self._artifact = artifact
        self._provider = provider
        self._precision = precision
        self._threads = threads
        self._streams = streams
        self._start()
        call_in_child(self, Towers._start)

    def _start(self) -> None:
        # one lock each, so that the towers can be opened at the same time
        self._locks = {name: threading.Lock() for name in ("vision", "text", TOKENIZER)}
        self._sessions: dict[TowerName, Session] = {}
        self._tokenizer: Tokenizer | None = None

    def tokenizer(self) -> Tokenizer:
        """The artifact's tokenizer. Raises ArtifactError where its file is not what the manifest says."""
        with self._locks[TOKENIZER]:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer(self._artifact.file(TOKENIZER), self._artifact.manifest.text)
            return self._tokenizer

    def session(self, tower: TowerName) -> Session:
        """The session of a tower. Raises ArtifactError where its graph is not what the manifest says.

        Raises ProviderUnavailable where the provider does not start.
        """
        with self._locks[tower]:
            if tower not in self._sessions:
                self._sessions[tower] = self._open(tower)
            return self._sessions[tower]

    def _open(self, tower: TowerName) -> Session:
        manifest = self._artifact.manifest
        size = manifest.image.size
        pixels: Port = ("uint8", (-1, size, size, 3))
        ids: Port = ("int64", (-1, -1))
        attention_mask = {"attention_mask": ids} if manifest.text.attention_mask else {}
        inputs = {"pixels": pixels} if tower == "vision" else {"input_ids": ids} | attention_mask
        output = "image_embeds" if tower == "vision" else "text_embeds"
        return Session(
            self._artifact.graph_file(manifest.graph(tower, self._precision)),
            inputs=inputs,
            outputs={output: ("float", (-1, manifest.dim))},
            provider=self._provider,
            threads=self._threads,
            # Pictures have one size, and an arena saves time. Texts have many, which fragment an arena that never
            # shrinks, for no gain. Measured in docs/design-notes/runtime.md.
            arena=tower == "vision",
            streams=self._streams,
        )
