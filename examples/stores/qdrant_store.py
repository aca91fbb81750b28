"""Candidates from Qdrant: python qdrant_store.py CATALOGUE."""

from __future__ import annotations

from clipshelf import Catalogue
from clipshelf.types import FloatArray, Rows
from qdrant_client import QdrantClient, models
from searched_elsewhere import SearchedElsewhere, answer_from


class QdrantStore(SearchedElsewhere):
    """A catalogue whose searches Qdrant answers, here its engine in memory."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._client = QdrantClient(":memory:")
        vectors = models.VectorParams(size=2 * catalogue.dim, distance=models.Distance.DOT)
        self._client.create_collection("products", vectors_config=vectors)
        points = [
            models.PointStruct(id=row, vector=embedding.tolist(), payload={"sides": int(sides)})
            for row, (embedding, sides) in enumerate(zip(self.embeddings, self.patterns, strict=True))
        ]
        if points:
            self._client.upsert("products", points)

    def nearest(self, row: FloatArray, pattern: int, allowed: Rows | None, count: int) -> list[int]:
        """Rows of the products with the largest inner product."""
        must: list[models.Condition] = [models.FieldCondition(key="sides", match=models.MatchValue(value=pattern))]
        if allowed is not None:
            must.append(models.HasIdCondition(has_id=allowed.tolist()))
        found = self._client.query_points(
            "products", query=row.tolist(), query_filter=models.Filter(must=must), limit=count
        )
        return [int(point.id) for point in found.points]


if __name__ == "__main__":
    answer_from(QdrantStore)
