"""Engines travel: pickled and copied ones reopen their artifact with the same options."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.bundled import model_path
from clipshelf.errors import ArtifactError
from clipshelf.model.image import Decode
from clipshelf.runtime import cpus
from clipshelf.types import FloatArray
from PIL import Image
from support import tiny
from support.copies import WAYS, through_pickle
from support.pictures import encode

TEXTS = ["red shoe", "a warm blue shirt", "watch " * 30]


class NamedEngine(Engine):
    """An engine of another type."""


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_embeds_the_same(engine: Engine, way: type) -> None:
    pictures = [tiny.picture("red"), tiny.picture("blue")]
    for _ in range(2):  # before and after the sessions are opened
        copied: Engine = way(engine)
        assert copied is not engine and copied.towers is not engine.towers
        assert copied.fingerprint == engine.fingerprint and copied.artifact.path == engine.artifact.path
        np.testing.assert_array_equal(copied.embed_texts(TEXTS), engine.embed_texts(TEXTS))
        np.testing.assert_array_equal(copied.embed_images(pictures), engine.embed_images(pictures))


@pytest.mark.parametrize("way", WAYS)
def test_the_options_travel(tiny_artifact: Path, way: type) -> None:
    photo = encode(Image.effect_noise((400, 300), 90).convert("RGB"), "JPEG")
    fast, exact = (Engine.load(tiny_artifact, threads=3, decode=decode) for decode in get_args(Decode))
    assert not np.array_equal(fast.read_image(photo), exact.read_image(photo))
    for engine in (fast, exact):
        copied: Engine = way(engine)
        assert copied.threads == 3 and copied.provider == "CPUExecutionProvider"
        np.testing.assert_array_equal(copied.read_image(photo), engine.read_image(photo))


def test_an_engine_for_all_cpus_takes_those_of_the_worker(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, three = Engine.load(tiny_artifact), Engine.load(tiny_artifact, threads=3)
    monkeypatch.setattr(cpus, "available_cpus", lambda: 7)
    assert (through_pickle(engine).threads, through_pickle(three).threads) == (7, 3)


def test_the_type_travels(tiny_artifact: Path) -> None:
    assert type(through_pickle(NamedEngine.load(tiny_artifact))) is NamedEngine


def test_a_relative_path_leads_to_the_same_artifact(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_artifact.parent)
    pickled = pickle.dumps(Engine.load(tiny_artifact.name))
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).embed_texts(["red"]).shape == (1, tiny.DIM)


def test_the_embedded_default_travels_without_a_path(default_engine: Engine, tmp_path: Path) -> None:
    pickled = pickle.dumps(default_engine)
    assert str(model_path()).encode() not in pickled and model_path().name.encode() not in pickled
    assert pickle.loads(pickled).is_default


def test_an_artifact_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_artifact(tmp_path / "artifact")
    engine = Engine.load(folder, threads=1)
    pickled = pickle.dumps(engine)
    shutil.rmtree(folder)
    other = Engine.load(tiny.write_artifact(folder, seed=1))
    message = f"{folder}: expected the artifact that was pickled, fingerprint {engine.fingerprint}, found one with "
    with pytest.raises(ArtifactError, match=re.escape(message + other.fingerprint)):
        pickle.loads(pickled)
    shutil.rmtree(folder)
    with pytest.raises(ArtifactError, match=re.escape(str(folder))):
        pickle.loads(pickled)


def embed(engine: Engine, texts: list[str]) -> FloatArray:
    """What a worker does with an engine."""
    return engine.embed_texts(texts)


def test_spawned_workers_embed_the_same(engine: Engine, default_engine: Engine) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        embeds = list(pool.map(embed, [engine, default_engine], [TEXTS] * 2))
    for embedder, rows in zip((engine, default_engine), embeds, strict=True):
        np.testing.assert_array_equal(rows, embedder.embed_texts(TEXTS))
