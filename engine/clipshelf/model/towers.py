"""The parts of an artifact that cost time to open: opened once, on first use, whichever thread comes first."""

from __future__ import annotations

import os
import threading

from clipshelf.model.artifact import TOKENIZER, Artifact, Tower
from clipshelf.model.tokenizer import Tokenizer
from clipshelf.runtime.session import Port, Session
from clipshelf.types import Precision

# onnxruntime's threads do not survive a fork, and closing a session in the child would wait for them for ever.
_ABANDONED: list[object] = []


class Towers:
    """Sessions and tokenizer of one artifact, checked against its manifest when they are opened.

    A forked child opens its own.
    """

    def __init__(self, artifact: Artifact, *, provider: str, precision: Precision, threads: int) -> None:
        self._artifact = artifact
        self._provider = provider
        self._precision = precision
        self._threads = threads
        self._start()

    def _start(self) -> None:
        # one lock each, so that the towers can be opened at the same time
        self._locks = {part: threading.Lock() for part in ("vision", "text", TOKENIZER)}
        self._sessions: dict[Tower, Session] = {}
        self._tokenizer: Tokenizer | None = None
        self._pid = os.getpid()

    def _follow_fork(self) -> None:
        if self._pid != os.getpid():
            _ABANDONED.append((self._sessions, self._tokenizer))
            self._start()

    def tokenizer(self) -> Tokenizer:
        """The artifact's tokenizer."""
        self._follow_fork()
        with self._locks[TOKENIZER]:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer(self._artifact.file(TOKENIZER), self._artifact.manifest.text)
            return self._tokenizer

    def session(self, tower: Tower) -> Session:
        """The session of a tower."""
        self._follow_fork()
        with self._locks[tower]:
            if tower not in self._sessions:
                self._sessions[tower] = self._open(tower)
            return self._sessions[tower]

    def _open(self, tower: Tower) -> Session:
        manifest = self._artifact.manifest
        size = manifest.image.size
        pixels: Port = ("uint8", (-1, size, size, 3))
        ids: Port = ("int64", (-1, -1))
        masked = {"attention_mask": ids} if manifest.text.attention_mask else {}
        inputs = {"pixels": pixels} if tower == "vision" else {"input_ids": ids} | masked
        output = "image_embeds" if tower == "vision" else "text_embeds"
        return Session(
            self._artifact.file(manifest.graph(tower, self._precision)),
            inputs=inputs,
            outputs={output: ("float", (-1, manifest.dim))},
            provider=self._provider,
            threads=self._threads,
            # An arena never shrinks, and texts of every length and number fragment it, for no gain in time. Pictures
            # have one size: without an arena a 260-pixel tower takes 1.2 times as long for one.
            arena=tower == "vision",
        )
