from __future__ import annotations

import clipshelf


def test_the_public_names_are_these() -> None:
    assert clipshelf.__all__ == [
        "Artifact",
        "ArtifactError",
        "Catalogue",
        "CatalogueError",
        "ClipshelfError",
        "Contribution",
        "Engine",
        "ExportError",
        "Failure",
        "FingerprintMismatch",
        "ImageError",
        "InputError",
        "Interaction",
        "MissingExtra",
        "OnError",
        "ProductFields",
        "Profile",
        "ProviderUnavailable",
        "Query",
        "Ranker",
        "Recommendation",
        "Recommendations",
        "Recommender",
        "UnknownIdError",
        "Weights",
        "index",
    ]
    assert all(hasattr(clipshelf, name) for name in clipshelf.__all__)
