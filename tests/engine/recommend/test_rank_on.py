from __future__ import annotations

import pickle
from typing import Any

import onnxruntime
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.errors import ProviderUnavailable
from clipshelf.recommend import recommender as recommender_module
from support.sample_query import SIGNALS


@pytest.mark.parametrize("query", [{"text": "red shoe"}, SIGNALS, {"text": "warm watch", "group_by": "text"}])
def test_answers_ranked_on_a_device_are_those_of_the_cpu(
    recommender: Recommender, query: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU provider stands for the device."""
    expected = recommender.recommend(**query, k=7)
    monkeypatch.setattr(recommender_module, "CPU", "none")  # so that the CPU provider counts as a device
    there = Recommender(recommender.engine, recommender.catalogue, rank_on="cpu")
    answer = there.recommend(**query, k=7)
    assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in expected]
    again = pickle.loads(pickle.dumps(there))
    assert again.rank_on == "cpu"


def test_cuda_without_its_build_says_what_to_install(
    engine: Engine, colours: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        ProviderUnavailable,
        match=r"provider 'cuda': expected one of CPUExecutionProvider .* found CUDAExecutionProvider; to fix it: "
        r"pip uninstall onnxruntime; pip install 'onnxruntime-gpu\[cuda,cudnn\]', on a machine with an NVIDIA driver",
    ):
        Recommender(engine, colours, rank_on="cuda")
    assert Recommender(engine, colours, rank_on="auto").recommend(text="red", k=1)[0].id == "red"


def test_a_device_that_does_not_start_is_an_error_and_no_slow_answer(
    engine: Engine, colours: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    with pytest.raises(ProviderUnavailable, match="expected CUDAExecutionProvider, found CUDA failure 35"):
        Recommender(engine, colours, rank_on="cuda")
