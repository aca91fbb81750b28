"""POST /v1/recommend, its batch, and products like one product, by a client of another make."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from clipshelf.recommend.recommender import StoreRecommender
from support.service import RunningService, photo


def ids(answer: Any) -> list[str]:
    return [item["id"] for item in answer["recommendations"]]


def test_the_answer_is_the_one_of_the_recommender(running: RunningService) -> None:
    recommender: StoreRecommender = running.service.keeper.current.recommender
    expected = recommender.recommend(text="a warm red shoe", liked=["blue-watch"], k=4).to_dict(explain=True)
    response = running.client.post(
        "/v1/recommend", json={"text": "a warm red shoe", "liked": ["blue-watch"], "k": 4, "explain": True}
    )
    assert response.status_code == 200
    answer = response.json()
    for item, other in zip(answer["recommendations"], expected["recommendations"], strict=True):
        assert item["id"] == other["id"] and item["score"] == pytest.approx(other["score"])
        assert sum(part["value"] for part in item["contributions"]) == pytest.approx(item["score"])
        assert item["image_url"].startswith(f"/v1/products/{item['id']}/image?v=")
        assert item["product"]["image"] == f"{item['id'].partition('-')[0]}.jpg"
    assert answer["took_ms"].keys() == {"queue", "decode", "embed_text", "embed_image", "rank", "total"}
    assert response.headers["clipshelf-generation"] == "1"
    assert response.headers["clipshelf-fingerprint"] == recommender.engine.fingerprint
    assert "embed_text;dur=" in response.headers["server-timing"]


def test_a_picture_may_be_a_data_uri_base64_or_the_body(running: RunningService) -> None:
    data = photo("blue")
    encoded = base64.b64encode(data).decode()
    bodies = [{"image": f"data:image/jpeg;base64,{encoded}", "k": 3}, {"image": [encoded], "k": 3}]
    answers = [running.client.post("/v1/recommend", json=body).json() for body in bodies]
    answers.append(
        running.client.post("/v1/recommend?k=3", content=data, headers={"Content-Type": "image/jpeg"}).json()
    )
    for answer in answers:
        assert sorted(ids(answer)) == ["blue-shirt", "blue-shoe", "blue-watch"]


def test_a_shop_arranges_its_answers(running: RunningService) -> None:
    query = {
        "liked": ["red-shoe"],
        "image": base64.b64encode(photo("blue")).decode(),
        "crop": [0, 0, 0.5, 1],
        "where": "category=it.category",
        "boost": {"price": 0.5},
        "group_by": "category",
        "group_members": 5,
        "min_relevance": 0,
        "explain": True,
    }
    [item] = running.client.post("/v1/recommend", json=query).json()["recommendations"]
    assert item["group"]["value"] == "shoe" and item["group"]["size"] == 2
    [member] = item["group"]["members"]
    assert {item["id"], member["id"]} == {"blue-shoe", "green-shoe"}
    assert set(member["product"]) == set(item["product"]) and "boost price" in {
        part["signal"] for part in item["contributions"]
    }
    wrong = running.client.post("/v1/recommend", json={**query, "crop": [0.5, 0, 0.5, 1]})
    assert wrong.status_code == 422 and "crop: expected left, top, right, bottom" in wrong.json()["detail"]


def test_a_query_of_a_batch_fails_for_itself(running: RunningService) -> None:
    queries = [
        {"text": "red shoe", "k": 1},
        {"liked": ["nothing"]},
        {"image": "AAAA"},
        {"text": "blue watch", "where": "price<"},
        {"text": "blue watch", "k": 1},
    ]
    answers = running.client.post("/v1/recommend/batch", json={"queries": queries}).json()["answers"]
    assert [ids(answers[0]), ids(answers[4])] == [["red-shoe"], ["blue-watch"]]
    details = [answer["error"]["detail"] for answer in answers[1:4]]
    assert [detail.partition(":")[0] for detail in details] == ["id", "image", "where"]


def test_a_product_has_a_picture_and_neighbours(running: RunningService) -> None:
    answer = running.client.get("/v1/products/red-shoe/similar?k=2&where=category=shoe").json()
    assert len(ids(answer)) == 2 and all(id_.endswith("-shoe") for id_ in ids(answer)) and "red-shoe" not in ids(answer)
    product = running.client.get("/v1/products/red-shoe").json()
    picture = running.client.get(product["image_url"])
    assert picture.headers["content-type"] == "image/jpeg" and "immutable" in picture.headers["cache-control"]
    again = running.client.get(product["image_url"], headers={"If-None-Match": picture.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert running.client.get("/v1/products/nothing").json()["type"] == "/problems/unknown-product"


def test_products_are_from_all_over_the_catalogue(running: RunningService) -> None:
    whole = running.client.get("/v1/products?limit=100").json()
    assert whole["total"] == 9 and len(whole["products"]) == 9
    third = running.client.get("/v1/products?limit=3").json()
    assert third["products"] == whole["products"][::3] and third["total"] == 9
    assert third["products"][0] == running.client.get(f"/v1/products/{third['products'][0]['id']}").json()
    cheap = running.client.get("/v1/products", params={"where": "price<=30"}).json()
    assert cheap["total"] == 3 and all(entry["product"]["price"] <= 30 for entry in cheap["products"])
    assert running.client.get("/v1/products", params={"where": "price<0"}).json() == {"total": 0, "products": []}
    refused = running.client.get("/v1/products", params={"where": "price<"})
    assert refused.status_code == 422 and refused.json()["detail"].startswith("where:")
    assert running.client.get("/v1/products?limit=0").status_code == 422


def test_the_catalogue_says_what_filters_can_use(running: RunningService) -> None:
    facts = running.client.get("/v1/catalogue").json()
    columns = {column["name"]: column for column in facts["columns"]}
    assert (columns["price"]["min"], columns["price"]["max"]) == (10.0, 90.0)
    assert columns["category"]["values"] == [{"value": thing, "products": 3} for thing in ("shirt", "shoe", "watch")]
    assert facts["products"] == 9 and facts["generation"] == 1 and not facts["writable"]
    assert {weight["name"]: weight["default"] for weight in facts["weights"]}["disliked"] == 0.1
