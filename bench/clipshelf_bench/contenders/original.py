"""The forty-line script that this project began as: a processor, a CLIPModel, a loop over products, cosine."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job, K
from clipshelf_bench.datasets.reading import read_products
from clipshelf_bench.subjects.subject import Subject


class Original(Contender):
    """Both towers in one forward pass per query, fp32 on torch; products compared one by one."""

    name = "original"
    about = "a forty-line script: CLIPModel on torch, a loop over products"
    requires = ("torch", "transformers")

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Only whole answers."""
        return {"answer": self.answer, "shelf": self.shelf}

    def disk(self, subject: Subject) -> Path | None:
        """The checkpoint itself."""
        return subject.checkpoint

    def answer(self, job: Job) -> Call:
        """The script as a function; its products' embeddings are computed beforehand, which it would not do."""
        import torch

        embed = self.once(job, self._embed)
        products = torch.from_numpy(job.rows())
        return lambda query: _best(embed(*query), products)

    def shelf(self, job: Job) -> Call:
        """The script as it is: it embeds product by product, each time."""
        embed = self.once(job, self._embed)

        def call(query: tuple[str, bytes]) -> Array:
            wanted = embed(*query)
            return _best(wanted, [embed(*product)[0] for product in read_products(job.products)])

        return call

    def _embed(self, job: Job) -> Callable[[str, bytes], Any]:
        """A sentence and an encoded picture to (1, 2D), picture first."""
        import torch
        from PIL import Image
        from transformers import CLIPModel, CLIPProcessor

        torch.set_num_threads(job.threads)
        model = CLIPModel.from_pretrained(job.model.source).eval()
        processor = CLIPProcessor.from_pretrained(job.model.source)

        def embed(text: str, photo: bytes) -> Any:
            image = Image.open(io.BytesIO(photo))
            inputs: Any = processor(text=[text], images=image, return_tensors="pt", padding=True)
            with torch.no_grad():
                outputs = model(**inputs)
            return torch.cat([outputs.image_embeds, outputs.text_embeds], dim=-1)

        return embed


def _best(wanted: Any, products: Iterable[Any]) -> Array:
    """The rows of the products (2D,) that are most like the query (1, 2D), compared one by one."""
    from torch.nn.functional import cosine_similarity

    # both sides of a product meet both sides of the query, as in clipshelf
    half = wanted.shape[1] // 2
    both = (wanted[:, :half] + wanted[:, half:]).repeat(1, 2)
    scores = [cosine_similarity(both, product[None]).item() for product in products]
    return np.array([sorted(range(len(scores)), key=lambda row: -scores[row])[:K]])
