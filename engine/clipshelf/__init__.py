"""Product recommendations from pictures and words, on an ONNX engine small and fast enough for the edge."""

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import ClipshelfError
from clipshelf.failures import Failure
from clipshelf.model.artifact import Artifact
from clipshelf.model.engine import Engine
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.answers import Contribution, Recommendation, Recommendations
from clipshelf.recommend.profile import Interaction, Profile
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender
from clipshelf.recommend.weights import Weights

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
