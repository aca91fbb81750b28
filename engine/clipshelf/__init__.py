"""Product recommendations from pictures and words, on an ONNX engine small and fast enough for the edge."""

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import ClipshelfError
from clipshelf.model.artifact import Artifact
from clipshelf.model.engine import Engine, Failure
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.answers import Contribution, Recommendation, Recommendations
from clipshelf.recommend.profile import Interaction, Profile
from clipshelf.recommend.query import Query, Weights
from clipshelf.recommend.recommender import Recommender

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
