from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from clipshelf import Catalogue, Engine, Recommender
from support.sample_query import COUNT, DIM, SIGNALS, WEIGHTS
from support.shelves import clustered, shelf


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("one_sided", [True, False])
def test_the_score_is_the_weighted_mean_of_cosines_computed_apart(
    wide_engine: Engine, corrected: bool, one_sided: bool
) -> None:
    matrix = clustered(COUNT, DIM)
    if one_sided:
        matrix[::3, :DIM] = 0
        matrix[1::6, DIM:] = 0
    catalogue = shelf(wide_engine, matrix)
    recommender = Recommender(wide_engine, catalogue, gap_correction=corrected)
    answer = recommender.recommend(**SIGNALS, k=COUNT, weights=WEIGHTS)
    expected = _scores_apart(wide_engine, catalogue, corrected)
    named = {"3", "9", "4"}
    assert {item.id for item in answer} == {str(row) for row in range(COUNT)} - named
    np.testing.assert_allclose([item.score for item in answer], [expected[int(item.id)] for item in answer], atol=1e-5)
    assert [item.score for item in answer] == sorted((item.score for item in answer), reverse=True)


def _scores_apart(engine: Engine, catalogue: Catalogue, corrected: bool) -> npt.NDArray[np.float64]:
    """The documented formula, term by term."""
    weights = {"image": 1.0, "disliked": 0.1, "history": 0.5, "text_image": 0.5, "image_image": 1.0, **WEIGHTS}
    product = [np.stack([row[:DIM], row[DIM:]]).astype(np.float64) for row in catalogue.embeddings]
    text, image = np.zeros((2, 2, DIM)), np.zeros((2, DIM))
    text[:, 1] = engine.embed_texts(SIGNALS["text"])
    image[0] = engine.embed_images([SIGNALS["image"]])[0]
    # 5 was viewed now and a half-life ago, 7 was given one star two half-lives ago.
    viewed, rated = 0.2 * 1.5, -1 * 0.25
    signals = [
        (weights["text"] / 2, text[0]),
        (weights["text"] / 2, text[1]),
        (weights["image"], image),
        (weights["liked"] * 2 * 1 / (1 + 3.5), product[3]),
        (weights["liked"] * 2 * 2.5 / (1 + 3.5), product[9]),
        (-weights["disliked"] * 2 * 0.5 / 1.5, product[4]),
        (weights["history"] * 2 * viewed / (1 + viewed + 0.25), product[5]),
        (weights["history"] * 2 * rated / (1 + viewed + 0.25), product[7]),
    ]
    means, spreads = np.zeros((2, DIM)), np.ones((2, 2))
    if corrected:
        means, spreads = catalogue.statistics.means, catalogue.statistics.spreads
    names = ["image", "text"]
    above, below = np.zeros((len(product), 2)), np.zeros((len(product), 2))
    for p, sides in enumerate(product):
        for weight, signal in signals:
            for a in range(2):
                for b in range(2):
                    if signal[a].any() and sides[b].any():
                        weight_of_cosine = weights[f"{names[a]}_{names[b]}"] * weight
                        above[p, b] += (
                            weight_of_cosine * ((signal[a] - means[a]) @ (sides[b] - means[b])) / spreads[a, b]
                        )
                        below[p, b] += abs(weight_of_cosine)
    scores = above.sum(axis=1) / below.sum(axis=1)
    complete = below.all(axis=1)
    if corrected:
        for b in range(2):
            alone = (below[:, b] > 0) & ~complete
            scores[alone] = above[alone, b] * scores[complete].std() / above[below[:, b] > 0, b].std()
    return np.asarray(scores)
