"""What people write around a library: FastAPI, a function for each request, and a matrix product.

    python -m clipshelf_bench.load.fastapi_service MODULE:CONTENDER SUBJECT MATRIX THREADS PORT

The contender (`contenders.base`) gives the calls that embed sentences and photos. FastAPI runs the function in a
thread for each request, so that the loop answers others meanwhile. As many requests are computed at one time as there
are threads, and a product of the matrix takes one: forty at a time, each on all CPUs, hinder each other.
"""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
import numpy as np
import uvicorn
from fastapi import Body, FastAPI
from threadpoolctl import threadpool_limits

from clipshelf_bench.contenders.base import Job, to_unit_norm
from clipshelf_bench.race.worker import load_contender
from clipshelf_bench.subjects.subject import Subject


def make_app(class_name: str, job: Job) -> FastAPI:
    """The application, with both towers and the matrix loaded.

    - `class_name`: "module:Class" of a contender that does `sentences` and `photos`.
    - `job`: its subject, its threads, and the matrix (N, D) of the products.
    """
    tasks = load_contender(class_name).tasks()
    embed_sentences, embed_photos = tasks["sentences"](job), tasks["photos"](job)
    matrix = job.load_matrix()

    def recommend(
        text: Annotated[str | None, Body()] = None,
        image: Annotated[str | None, Body()] = None,
        liked: Annotated[list[str] | None, Body()] = None,
        k: Annotated[int, Body()] = 10,
    ) -> dict[str, Any]:
        sides = [embed_sentences([text])] if text else []
        sides += [embed_photos([base64.b64decode(image)])] if image else []
        sides += [matrix[[int(id_) for id_ in liked]]] if liked else []
        query = to_unit_norm(np.concatenate(sides).mean(axis=0, keepdims=True))[0]
        scores = matrix @ query
        best = np.argpartition(-scores, k)[:k]
        best = best[np.argsort(-scores[best])]
        return {"recommendations": [{"id": str(row), "score": float(scores[row])} for row in best]}

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = job.threads
        with threadpool_limits(1, "blas"):
            yield

    app = FastAPI(lifespan=lifespan)
    app.post("/v1/recommend")(recommend)
    return app


def main() -> None:
    """Serve until the process is ended."""
    class_name, subject, matrix, threads, port = sys.argv[1:]
    job = Job(int(threads), Subject.load(Path(subject)), Path(matrix))
    uvicorn.run(make_app(class_name, job), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
