"""The endpoints: what each takes and answers. Routes and the OpenAPI document are made of this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from clipshelf.serve import schemas

JSON = "application/json"
_QUERY_PROBLEMS = (400, 408, 413, 415, 422, 503, 504)


@dataclass(frozen=True)
class Operation:
    """One endpoint.

    - `id`: its name in clients, metrics and logs.
    - `method`, `path`: with parameters in braces, one segment each.
    - `tag`, `summary`, `description`: for readers.
    - `answer`: what is answered with 200; None for `media` that is no JSON.
    - `media`: the type of the answer.
    - `parameters`: of the URL's query.
    - `body`: of the request, as JSON; `takes_picture` says that the bytes of a picture are taken instead, too.
    - `problems`: statuses of the problems beside those that any request may get.
    - `is_public`: whether it needs no key.
    """

    id: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    tag: str
    summary: str
    description: str = ""
    answer: type[Struct] | None = None
    media: str = JSON
    parameters: type[Struct] | None = None
    body: type[Struct] | None = None
    takes_picture: bool = False
    problems: tuple[int, ...] = ()
    is_public: bool = False


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "recommend",
        "POST",
        "/v1/recommend",
        "recommendations",
        "Recommend products",
        "Answers one query: words, pictures, likes, dislikes, a history, in any combination. A picture comes as a "
        "data: URI or base64 in the JSON, or as the body, with the rest of the query in the parameters of the URL.",
        answer=schemas.Answer,
        parameters=schemas.QueryParameters,
        body=schemas.QueryBody,
        takes_picture=True,
        problems=_QUERY_PROBLEMS,
    ),
    Operation(
        "recommend_batch",
        "POST",
        "/v1/recommend/batch",
        "recommendations",
        "Answer several queries",
        "Each query is answered or refused for itself.",
        answer=schemas.BatchAnswer,
        body=schemas.BatchBody,
        problems=_QUERY_PROBLEMS,
    ),
    Operation(
        "similar",
        "GET",
        "/v1/products/{id}/similar",
        "recommendations",
        "Recommend products like this one",
        answer=schemas.Answer,
        parameters=schemas.SimilarParameters,
        problems=(404, 422, 503, 504),
    ),
    Operation(
        "catalogue",
        "GET",
        "/v1/catalogue",
        "catalogue",
        "Describe the catalogue",
        "Its model, its columns with their ranges and frequent values, the weights, and the limits of requests.",
        answer=schemas.CatalogueFacts,
    ),
    Operation(
        "products",
        "GET",
        "/v1/products",
        "catalogue",
        "Read some products",
        "Products from all over the catalogue, as a page shows them before there is a query.",
        answer=schemas.ProductsAnswer,
        parameters=schemas.ProductsParameters,
        problems=(422,),
    ),
    Operation(
        "product",
        "GET",
        "/v1/products/{id}",
        "catalogue",
        "Read a product",
        answer=schemas.ProductAnswer,
        problems=(404,),
    ),
    Operation(
        "product_image",
        "GET",
        "/v1/products/{id}/image",
        "catalogue",
        "Read the picture of a product",
        "A JPEG of the picture, scaled down. An `image_url` of an answer may be cached for ever.",
        media="image/jpeg",
        parameters=schemas.PictureParameters,
        problems=(404, 422, 503, 504),
    ),
    Operation(
        "change_products",
        "PUT",
        "/v1/products",
        "catalogue",
        "Add and change products",
        "Durable, and all at once: no answer comes from a part of the change, and one that is not being saved at the "
        "deadline is not made. Needs --writable, and a key that may write.",
        answer=schemas.ChangeAnswer,
        body=schemas.ProductsBody,
        problems=(400, 403, 408, 413, 415, 422, 503, 504),
    ),
    Operation(
        "remove_product",
        "DELETE",
        "/v1/products/{id}",
        "catalogue",
        "Remove a product",
        "Needs --writable, and a key that may write.",
        answer=schemas.ChangeAnswer,
        problems=(403, 404, 503, 504),
    ),
    Operation(
        "embeddings",
        "POST",
        "/v1/embeddings",
        "embeddings",
        "Embed texts and pictures",
        'As OpenAI\'s clients send it. A picture is {"image": ...} or {"image_url": {"url": ...}}, or a string with '
        '"modality": "image".',
        answer=schemas.EmbeddingsAnswer,
        body=schemas.EmbeddingsBody,
        problems=(400, 404, 408, 413, 415, 422, 503, 504),
    ),
    Operation("models", "GET", "/v1/models", "embeddings", "List the model", answer=schemas.ModelList),
    Operation(
        "model",
        "GET",
        "/v1/models/{id}",
        "embeddings",
        "Describe the model",
        answer=schemas.ModelEntry,
        problems=(404,),
    ),
    Operation(
        "live", "GET", "/health/live", "health", "Tell whether the process runs", answer=schemas.Health, is_public=True
    ),
    Operation(
        "ready",
        "GET",
        "/health/ready",
        "health",
        "Tell whether requests are answered",
        "503 until both towers are warm, and again while the service drains.",
        answer=schemas.Health,
        problems=(503,),
        is_public=True,
    ),
    Operation("metrics", "GET", "/metrics", "health", "Read the metrics for Prometheus", media="text/plain"),
)
# Paths that lead to the same operation, for KServe and Triton's clients.
ALIASES = {"/v2/health/live": "live", "/v2/health/ready": "ready"}
