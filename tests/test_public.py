from __future__ import annotations

import clipshelf


def test_the_public_names_are_these() -> None:
    assert clipshelf.__all__ == [
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
    assert all(hasattr(clipshelf, name) for name in clipshelf.__all__)
