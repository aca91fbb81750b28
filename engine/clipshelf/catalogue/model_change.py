"""The model of a generation, where a new one may be of another model than the one before."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from clipshelf.model.engine import Engine

_log = logging.getLogger(__name__)


class EmbeddedProducts(Protocol):
    """Products that name the model that embedded them: a catalogue, or one in shards."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model."""

    def model_path(self) -> str | Path | None:
        """The path of the model, None for the embedded default; raises CatalogueError."""

    def require(self, engine: Engine) -> None:
        """Raise FingerprintMismatch unless `engine` has the model."""


def engine_for(products: EmbeddedProducts, latest: Engine) -> Engine:
    """The engine with the model of a generation, warm.

    - `latest`: of the generation before. It is returned where it has the model; else a new one gets its options.

    Raises ClipshelfError where the model cannot be opened, FingerprintMismatch where another is at its path.
    """
    if products.fingerprint == latest.fingerprint:
        return latest
    engine = latest.with_artifact(products.model_path())
    products.require(engine)
    engine.warm()
    _log.info("model: the one with fingerprint %s is open", products.fingerprint)
    return engine
