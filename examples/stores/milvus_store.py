"""Candidates from Milvus: python milvus_store.py CATALOGUE."""

from __future__ import annotations

import tempfile
from pathlib import Path

from clipshelf import Catalogue
from clipshelf.types import FloatArray, Rows
from pymilvus import DataType, MilvusClient
from searched_elsewhere import SearchedElsewhere, answer_from


class MilvusStore(SearchedElsewhere):
    """A catalogue whose searches Milvus answers, here Milvus Lite."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self._folder = tempfile.TemporaryDirectory()
        self._client = MilvusClient(str(Path(self._folder.name, "products.db")))
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("sides", DataType.INT8)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=2 * catalogue.dim)
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="IP")
        self._client.create_collection("products", schema=schema, index_params=index)
        lines = [
            {"row": row, "sides": int(sides), "embedding": embedding.tolist()}
            for row, (embedding, sides) in enumerate(zip(self.embeddings, self.patterns, strict=True))
        ]
        if lines:
            self._client.insert("products", lines)

    def nearest(self, row: FloatArray, pattern: int, allowed: Rows | None, count: int) -> list[int]:
        """Rows of the products with the largest inner product."""
        condition = f"sides == {pattern}"
        if allowed is not None:
            condition += f" and row in {allowed.tolist()}"
        [found] = self._client.search(
            "products", data=[row.tolist()], limit=min(count, 16_384), filter=condition, output_fields=["row"]
        )
        return [int(hit["row"]) for hit in found]


if __name__ == "__main__":
    answer_from(MilvusStore)
