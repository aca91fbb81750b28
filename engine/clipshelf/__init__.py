"""Product recommendations from pictures and words, on an ONNX engine small and fast enough for the edge."""

from clipshelf.artifact import Artifact
from clipshelf.catalogue import Catalogue
from clipshelf.engine import Engine, Failure
from clipshelf.errors import ClipshelfError
from clipshelf.query import Weights
from clipshelf.rank import Ranker
from clipshelf.recommender import Recommendation, Recommendations, Recommender

__all__ = [
    "Artifact",
    "Catalogue",
    "ClipshelfError",
    "Engine",
    "Failure",
    "Ranker",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "Weights",
]
__version__ = "0.1.0"
