from __future__ import annotations

import clipshelf


def test_the_public_names_are_these() -> None:
    assert clipshelf.__all__ == [
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
    assert all(hasattr(clipshelf, name) for name in clipshelf.__all__)
