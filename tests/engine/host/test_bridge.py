"""The flat functions that the C host calls."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.errors import ImageError, InputError, Interrupted, TimedOut, UnknownIdError
from clipshelf.host import bridge
from clipshelf.host.statuses import Status
from support.tiny import picture

OPTIONS = (0.1, 0.0, False)


def test_rows_land_in_the_buffer(engine: Engine) -> None:
    out = np.empty((2, engine.dim), np.float32)
    bridge.embed_texts(engine, ["red", "blue"], out.data.cast("B"))
    np.testing.assert_array_equal(out, engine.embed_texts(["red", "blue"]))


def test_gray_and_transparent_pixels(engine: Engine) -> None:
    gray, clear = bytes([200] * 12), bytes([0, 0, 255, 0] * 12)
    out = np.empty((2, engine.dim), np.float32)
    bridge.embed_images(engine, [(gray, 5, 4, 3, 4), (clear, 3, 4, 3, 16)], out.data.cast("B"))
    white, same = np.full((3, 4, 3), 255, np.uint8), np.full((3, 4, 3), 200, np.uint8)
    np.testing.assert_array_equal(out, engine.embed_images([same, white]))


def test_an_engine_is_opened_with_its_options(tiny_artifact: Path) -> None:
    engine, dim = bridge.open_engine(str(tiny_artifact), "cpu", "exact", 7, warm=True)
    assert (dim, engine.dim, engine.threads) == (4, 4, 7)
    engine, _ = bridge.open_engine(str(tiny_artifact), "cpu", "fast", 0, warm=False)
    assert engine.threads == Engine.load(tiny_artifact).threads
    bridge.collect()


def test_opaque_pixels_with_an_alpha_channel(engine: Engine) -> None:
    opaque = bytes([10, 20, 200, 255] * 12)
    out = np.empty((2, engine.dim), np.float32)
    bridge.embed_images(engine, [(opaque, 3, 4, 3, 16), (opaque, 4, 4, 3, 16)], out.data.cast("B"))
    rgb, bgr = (np.broadcast_to(np.array(pixel, np.uint8), (3, 4, 3)) for pixel in ((10, 20, 200), (200, 20, 10)))
    np.testing.assert_array_equal(out, engine.embed_images([rgb, bgr]))


def test_a_broken_picture_is_named(engine: Engine) -> None:
    good = (picture("red").tobytes(), 1, 20, 12, 60)
    out = np.empty((2, engine.dim), np.float32)
    with pytest.raises(ImageError, match=r"images\[1\]"):
        bridge.embed_images(engine, [good, (b"no picture", 0, 0, 0, 0)], out.data.cast("B"))


def test_recommend(engine: Engine, tmp_path: Path) -> None:
    products = [{"id": "p1", "text": "red shoe", "price": 10.0}, {"id": "p2", "text": "blue shirt", "price": 20.0}]
    Catalogue.build(engine, products).save(tmp_path / "shelf")
    recommender, count = bridge.open_catalogue(engine, str(tmp_path / "shelf"))
    assert count == 2
    ids, scores, _, records, answer = bridge.recommend(
        recommender, {"text": "red shoe", "where": "price<15"}, '{"k": 5}'
    )
    assert ids == [b"p1"]
    assert json.loads(records[0]) == products[0]
    assert json.loads(answer)["recommendations"][0]["score"] == scores[0]
    for arguments, more, expected in (
        ({"text": "red"}, '{"text": "blue"}', "names that the query doesn't set itself"),
        ({}, "[1]", "a JSON object"),
        ({}, "{", "a JSON object"),
    ):
        with pytest.raises(InputError, match=expected):
            bridge.recommend(recommender, arguments, more)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownIdError("x"), Status.UNKNOWN_ID),
        (ImageError("x"), Status.BAD_IMAGE),
        (FileNotFoundError("x"), Status.SYSTEM),
        (ZeroDivisionError(), Status.INTERNAL),
    ],
)
def test_every_exception_has_a_status_and_a_message(error: BaseException, status: int) -> None:
    found, message = bridge.failure(error)
    assert found == status
    assert message


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> Path:
    products = [{"id": "p1", "text": "red shoe"}, {"id": "p2", "text": "blue shirt"}]
    Catalogue.build(engine, products).save(tmp_path / "shelf")
    return tmp_path / "shelf"


def test_queries_of_a_batch_fail_by_themselves(engine: Engine, shelf: Path) -> None:
    recommender, _ = bridge.open_catalogue(engine, str(shelf))
    requests: list[Any] = [
        ({"text": "red shoe", "k": 1}, None),
        ({"liked": ["nothing"]}, None),
        (int(Status.INVALID_ARGUMENT), b"text: expected UTF-8"),
        ({"text": "red"}, "{"),
        ({"image": (b"no picture", 0, 0, 0, 0)}, None),
        ({"text": "blue", "k": 1}, '{"explain": true}'),
    ]
    answers, failed = bridge.recommend_batch(recommender, requests)
    assert [answer and answer[0] for answer in answers] == [[b"p1"], None, None, None, None, [b"p2"]]
    statuses = [(index, Status(status).name) for index, status, _ in failed]
    assert statuses == [
        (1, "UNKNOWN_ID"),
        (2, "INVALID_ARGUMENT"),
        (3, "INVALID_ARGUMENT"),
        (4, "BAD_IMAGE"),
    ]
    assert all(message for _, _, message in failed)


def test_products_are_looked_up_in_order(engine: Engine, shelf: Path) -> None:
    recommender, _ = bridge.open_catalogue(engine, str(shelf))
    ids, scores, _, records, answer = bridge.products(recommender, ["p2", "p1"])
    assert (ids, scores, answer) == ([b"p2", b"p1"], [0.0, 0.0], b"{}")
    assert json.loads(records[0]) == {"id": "p2", "text": "blue shirt"}
    with pytest.raises(UnknownIdError):
        bridge.products(recommender, ["p3"])


def test_changes_are_written_and_answered_from(engine: Engine, shelf: Path) -> None:
    recommender, _ = bridge.open_catalogue(engine, str(shelf))
    added = '[{"id": "p3", "text": "green watch"}, {"id": "p4", "text": 7}]'
    changed, size, failed = bridge.change_catalogue(
        recommender, str(shelf), "add", added, on_error=True, options=OPTIONS
    )
    assert (size, [index for index, _, _ in failed]) == (3, [1])
    with pytest.raises(InputError):
        bridge.change_catalogue(
            changed, str(shelf), "update", '[{"id": "p3", "text": 7}]', on_error=False, options=OPTIONS
        )
    changed, size, _ = bridge.change_catalogue(
        changed, str(shelf), "remove", ["p1", "p2"], on_error=False, options=OPTIONS
    )
    assert size == len(Catalogue.load(shelf)) == 1
    assert [item.id for item in changed.recommend(text="red")] == ["p3"]
    assert len(recommender.catalogue) == 2  # answers in flight go on from what was there
    assert bridge.change_catalogue(recommender, str(shelf), "reload", None, on_error=False, options=OPTIONS)[1] == 1


@pytest.mark.parametrize("text", ["[" * 200, '{"a":' * 200, "[" * 200 + "]" * 200])
def test_deep_json_is_refused(engine: Engine, shelf: Path, text: str) -> None:
    recommender, _ = bridge.open_catalogue(engine, str(shelf))
    with pytest.raises(InputError, match="json: expected JSON of at most 100 levels, found 200"):
        bridge.recommend(recommender, {"text": "red"}, text)
    brackets = json.dumps({"text": "[" * 300 + '\\"{'})  # in a string they are text
    assert bridge.recommend(recommender, {}, brackets)[0]


def test_limits_of_pictures(tiny_artifact: Path) -> None:
    engine, _ = bridge.open_engine(str(tiny_artifact), "cpu", "fast", 1, False, '{"encoded_bytes": 10}')
    out = np.empty((1, engine.dim), np.float32)
    failed = bridge.embed_images_each(engine, [(b"x" * 11, 0, 0, 0, 0)], out.data.cast("B"))
    assert b"ImageLimits.encoded_bytes" in failed[0][2] and not out.any()
    for limits, expected in (
        ('{"sides": 3}', "limits: expected some of encoded_bytes"),
        ('{"pixels": 0}', "pixels: expected a positive number"),
        ("[]", "limits: expected a JSON object"),
    ):
        with pytest.raises(InputError, match=expected):
            bridge.open_engine(str(tiny_artifact), "cpu", "fast", 1, False, limits)


def test_a_call_may_be_ended_early(engine: Engine) -> None:
    out = np.empty((1, engine.dim), np.float32)
    flag = bytearray(1)
    block = bridge.begin_call(0, 0.0, memoryview(flag))
    bridge.embed_texts(engine, ["red"], out.data.cast("B"))
    flag[0] = 1
    with pytest.raises(Interrupted) as raised:
        bridge.embed_texts(engine, ["red"], out.data.cast("B"))
    assert bridge.failure(raised.value)[0] == Status.CANCELLED
    bridge.end_call(block)
    bridge.embed_texts(engine, ["red"], out.data.cast("B"))


def test_the_time_of_a_call_counts_from_its_start() -> None:
    with pytest.raises(TimedOut, match="expected an answer within 10 ms") as raised:
        bridge.begin_call(10, 20.0, None)
    assert bridge.failure(raised.value)[0] == Status.TIMED_OUT
    bridge.end_call(bridge.begin_call(60_000, 20.0, None))
