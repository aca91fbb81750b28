"""The script that this project replaces: a CLIPProcessor, a CLIPModel, a loop over products, cosines."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task
from clipshelf_bench.datasets.reading import read_products
from clipshelf_bench.subjects.subject import Subject


class Original(Contender):
    """Both towers in one forward pass per query, fp32 on torch; products are compared one at a time."""

    name = "original"
    description = "a forty-line script: CLIPModel on torch, a loop over products"
    requires = ("torch", "transformers")

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Whole recommendations only."""
        return {"recommend": self.recommend, "recommend_files": self.recommend_files}

    def shipped_folder(self, subject: Subject) -> Path | None:
        """The checkpoint itself."""
        return subject.checkpoint

    def recommend(self, job: Job) -> Call:
        """Recommend from embeddings that are in memory, which the script itself would compute for each query."""
        import torch

        embed = self.load_once(job, self._embedder)
        products = torch.from_numpy(job.load_matrix())
        return lambda query: _best_rows(embed(*query), products)

    def recommend_files(self, job: Job) -> Call:
        """Recommend as the script does: it embeds all products for each query."""
        embed = self.load_once(job, self._embedder)

        def call(query: tuple[str, bytes]) -> Array:
            embeds = embed(*query)
            return _best_rows(embeds, [embed(*product)[0] for product in read_products(job.require_products())])

        return call

    def _embedder(self, job: Job) -> Callable[[str, bytes], Any]:
        """A function from a sentence and an encoded picture to a tensor (1, 2D), picture first."""
        import torch
        from PIL import Image
        from transformers import CLIPModel, CLIPProcessor

        torch.set_num_threads(job.threads)
        model = CLIPModel.from_pretrained(job.require_checkpoint()).eval()
        processor = CLIPProcessor.from_pretrained(job.require_checkpoint())

        def embed(text: str, photo: bytes) -> Any:
            image = Image.open(io.BytesIO(photo))
            inputs: Any = processor(text=[text], images=image, return_tensors="pt", padding=True)
            with torch.no_grad():
                outputs = model(**inputs)
            return torch.cat([outputs.image_embeds, outputs.text_embeds], dim=-1)

        return embed


def _best_rows(query: Any, products: Iterable[Any]) -> Array:
    """Rows (1, k) of the products (2D,) with the highest cosine to the query (1, 2D), compared one at a time."""
    from torch.nn.functional import cosine_similarity

    # Both sides of the query meet both sides of a product, as in clipshelf.
    half = query.shape[1] // 2
    both = (query[:, :half] + query[:, half:]).repeat(1, 2)
    scores = [cosine_similarity(both, product[None]).item() for product in products]
    return np.array([sorted(range(len(scores)), key=lambda row: -scores[row])[:TOP_K]])
