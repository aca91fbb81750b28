"""Product recommendations from pictures and words, on an ONNX engine small and fast enough for the edge.

Public names are imported when they are first used (PEP 562), so that a program pays only for what it needs:
`import clipshelf` takes a millisecond, and `clipshelf --version` loads neither NumPy nor onnxruntime.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue as Catalogue
    from clipshelf.catalogue.changes import Changes as Changes
    from clipshelf.catalogue.indexing import index as index
    from clipshelf.catalogue.reading.readers import ProductFields as ProductFields
    from clipshelf.errors import ArtifactError as ArtifactError
    from clipshelf.errors import CatalogueError as CatalogueError
    from clipshelf.errors import ClipshelfError as ClipshelfError
    from clipshelf.errors import ExportError as ExportError
    from clipshelf.errors import FingerprintMismatch as FingerprintMismatch
    from clipshelf.errors import ImageError as ImageError
    from clipshelf.errors import InputError as InputError
    from clipshelf.errors import MissingExtra as MissingExtra
    from clipshelf.errors import ProviderUnavailable as ProviderUnavailable
    from clipshelf.errors import UnknownIdError as UnknownIdError
    from clipshelf.failures import Failure as Failure
    from clipshelf.failures import OnError as OnError
    from clipshelf.model.artifact import Artifact as Artifact
    from clipshelf.model.engine import Engine as Engine
    from clipshelf.model.image_limits import ImageLimits as ImageLimits
    from clipshelf.rank.ranker import Ranker as Ranker
    from clipshelf.recommend.answers import Contribution as Contribution
    from clipshelf.recommend.answers import Recommendation as Recommendation
    from clipshelf.recommend.answers import Recommendations as Recommendations
    from clipshelf.recommend.profile import Interaction as Interaction
    from clipshelf.recommend.profile import Profile as Profile
    from clipshelf.recommend.query import Query as Query
    from clipshelf.recommend.recommender import Recommender as Recommender
    from clipshelf.recommend.weights import Weights as Weights

__version__ = "0.1.0"

# onnxruntime reads this when it is imported. Without it, threads start that write to the user's cache and look up a
# server. A value that the user set is kept.
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"

_MODULES = {
    "catalogue.catalogue": ("Catalogue",),
    "catalogue.changes": ("Changes",),
    "catalogue.indexing": ("index",),
    "catalogue.reading.readers": ("ProductFields",),
    "errors": (
        "ArtifactError",
        "CatalogueError",
        "ClipshelfError",
        "ExportError",
        "FingerprintMismatch",
        "ImageError",
        "InputError",
        "MissingExtra",
        "ProviderUnavailable",
        "UnknownIdError",
    ),
    "failures": ("Failure", "OnError"),
    "model.artifact": ("Artifact",),
    "model.engine": ("Engine",),
    "model.image_limits": ("ImageLimits",),
    "rank.ranker": ("Ranker",),
    "recommend.answers": ("Contribution", "Recommendation", "Recommendations"),
    "recommend.profile": ("Interaction", "Profile"),
    "recommend.query": ("Query",),
    "recommend.recommender": ("Recommender",),
    "recommend.weights": ("Weights",),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (a list, which the type checker reads above)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
