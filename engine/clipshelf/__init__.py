"""Product recommendations from pictures and words, on an ONNX engine small and fast enough for the edge."""

from clipshelf.answer import Contribution, Recommendation, Recommendations
from clipshelf.artifact import Artifact
from clipshelf.catalogue import Catalogue
from clipshelf.engine import Engine, Failure
from clipshelf.errors import ClipshelfError
from clipshelf.profile import Interaction, Profile
from clipshelf.query import Query, Weights
from clipshelf.rank import Ranker
from clipshelf.recommender import Recommender

__all__ = [
    "Artifact",
    "Catalogue",
    "ClipshelfError",
    "Contribution",
    "Engine",
    "Failure",
    "Interaction",
    "Profile",
    "Query",
    "Ranker",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "Weights",
]
__version__ = "0.1.0"
