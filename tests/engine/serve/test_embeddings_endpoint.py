"""POST /v1/embeddings and GET /v1/models, by OpenAI's own client."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import openai
import pytest
from support.service import RunningService, photo


@pytest.fixture
def client(running: RunningService) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def model(client: openai.OpenAI) -> str:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).id == model.id
    return model.id


def test_texts_are_embedded_as_by_the_engine(client: openai.OpenAI, model: str, running: RunningService) -> None:
    texts = ["a red shoe", "a blue watch", "warm"]
    response = client.embeddings.create(model=model, input=texts)
    rows = np.array([entry.embedding for entry in response.data], np.float32)
    np.testing.assert_allclose(rows, running.service.keeper.engine.embed_texts(texts), atol=1e-6)
    assert [entry.index for entry in response.data] == [0, 1, 2]
    assert response.usage.prompt_tokens == 5 + 5 + 3  # words, with a token before and one behind


def test_base64_holds_the_same_numbers(client: openai.OpenAI, model: str) -> None:
    # the client asks for base64 unless it is told otherwise
    encoded = client.embeddings.create(model=model, input="a red shoe").data[0].embedding
    numbers = client.embeddings.create(model=model, input="a red shoe", encoding_format="float").data[0].embedding
    np.testing.assert_array_equal(np.array(encoded, np.float32), np.array(numbers, np.float32))


def test_pictures_come_in_three_forms(client: openai.OpenAI, model: str, running: RunningService) -> None:
    data = photo("green")
    uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    forms: list[tuple[object, dict[str, str]]] = [
        ([uri], {"modality": "image"}),
        ([{"image": uri}], {}),
        ([{"type": "image_url", "image_url": {"url": uri}}], {}),
    ]
    (expected,) = running.service.keeper.engine.embed_images([data])
    for source, extra in forms:
        response = client.embeddings.create(model=model, input=source, extra_body=extra)  # type: ignore[arg-type]
        np.testing.assert_allclose(response.data[0].embedding, expected, atol=1e-6)


def test_texts_and_pictures_keep_their_order(client: openai.OpenAI, model: str, running: RunningService) -> None:
    engine = running.service.keeper.engine
    uri = f"data:;base64,{base64.b64encode(photo('red')).decode()}"
    mixed = [{"text": "blue"}, {"image": uri}, "green", {"image": uri}]
    response = client.embeddings.create(model=model, input=mixed)  # type: ignore[arg-type]
    (picture,), texts = engine.embed_images([photo("red")]), engine.embed_texts(["blue", "green"])
    for entry, expected in zip(response.data, [texts[0], picture, texts[1], picture], strict=True):
        np.testing.assert_allclose(entry.embedding, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": "x", "model": "text-embedding-3-small"}, "model: expected"),
        ({"input": "x", "dimensions": 512}, "dimensions: expected 4"),
        ({"input": [""]}, "at least length 1|length >= 1"),
        ({"input": "x" * 10_001}, "1 to 10,000 characters"),
        ({"input": [[1, 2, 3]]}, "input"),
        ({"input": [{"text": "x", "image": "y"}]}, "expected one of text, image and image_url, found 2"),
        ({"input": [{}]}, "expected one of text, image and image_url, found 0"),
        ({"input": ["AAAA"], "extra_body": {"modality": "image"}}, "image: "),
    ],
)
def test_what_cannot_be_embedded_says_why(
    client: openai.OpenAI, model: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(openai.APIStatusError, match=message):
        client.embeddings.create(**{"model": model, **arguments})  # type: ignore[arg-type]
