"""Does the recommender find what belongs together? On catalogues that the embedded model never saw, sorted by people.

The stamps' folders (fruit, hats, birds, ...) and the sample shelf's categories are tastes. A query comes from one
product, which is left out of the answer, or from the likes of a made-up shopper; what is counted is the share of
the ten best that have the taste. Intervals resample queries, and differences are between answers to the same queries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from clipshelf import Catalogue, Engine, Query, Recommendations, Recommender
from clipshelf.bundled import shelf_path
from clipshelf.types import Product

from clipshelf_bench.arrays import FloatArray
from clipshelf_bench.datasets.stamps import STAMPS, read_stamps
from clipshelf_bench.result import Row, Table

K = 10
_LEAST = 6  # products that make a taste
_SHOPPERS = 400
_ROUNDS = 2000
_SIDES = {"text": "text", "picture": "image", "text and picture": "both"}
COLUMNS = ("catalogue", "query", "scores", "share", "low", "high", "gain", "gain low", "gain high")
_JUDGED = ("catalogue", "query", "AUC", "low", "high", "there > 0.5", "gone > 0.5", "there > 0.9", "gone > 0.9")

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """A catalogue whose products each have a taste, "" for none."""

    name: str
    catalogue: Catalogue
    taste: dict[str, str]

    def of(self, taste: str) -> list[str]:
        """Ids of the products with a taste."""
        return [id_ for id_ in self.catalogue.ids if self.taste[id_] == taste]

    @property
    def products(self) -> list[Product]:
        """The products that have a taste."""
        return [product for product in self.catalogue.products if self.taste[product["id"]]]

    @property
    def tastes(self) -> list[str]:
        """All tastes, sorted."""
        return sorted({taste for taste in self.taste.values() if taste})


class Remembering:
    """An engine that embeds each text and each picture once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.fingerprint, self.threads = engine.fingerprint, engine.threads
        self._known: dict[Any, FloatArray] = {}

    def embed_texts(self, texts: Sequence[str], **options: Any) -> FloatArray:
        """As the engine's."""
        return self._embed(self._engine.embed_texts, texts, options)

    def embed_images(self, images: Sequence[Path], **options: Any) -> FloatArray:
        """As the engine's."""
        return self._embed(self._engine.embed_images, images, options)

    def _embed(self, embed: Callable[..., FloatArray], items: Sequence[Any], options: Mapping[str, Any]) -> FloatArray:
        new = [item for item in dict.fromkeys(items) if item not in self._known]
        self._known |= dict(zip(new, embed(new, **options), strict=True))
        return np.array([self._known[item] for item in items], np.float32).reshape(-1, self._engine.dim)


def markets(engine: Engine, root: Path) -> list[Market]:
    """The stamps of the unpacked package at `root`, and the sample shelf, embedded."""
    products, tastes = [], {}
    folder = root / STAMPS
    for stamp in read_stamps(root):
        id_ = stamp.path.relative_to(folder).with_suffix("").as_posix()
        products.append({"id": id_, "text": stamp.sentence, "image": str(stamp.path)})
        kind = [part for part in stamp.path.relative_to(folder).parent.parts if part not in ("cartoon", "plastic")]
        tastes[id_] = "/".join(kind[:2])
    shelf = Catalogue.build(engine, shelf_path() / "products.csv")
    categories = {product["id"]: str(product.get("category", "")) for product in shelf.products}
    found = [
        Market("stamps", Catalogue.build(engine, products), _common(tastes)),
        Market("shelf", shelf, _common(categories)),
    ]
    return [market for market in found if len(market.tastes) > 1]


def _common(tastes: dict[str, str]) -> dict[str, str]:
    counts = Counter(tastes.values())
    return {id_: taste if counts[taste] >= _LEAST else "" for id_, taste in tastes.items()}


def taste_tables(engine: Engine, found: Sequence[Market]) -> list[Table]:
    """What single products and shoppers find, and whether relevance tells when there is nothing to find."""
    remembering: Any = Remembering(engine)
    rows: list[Row] = []
    judged: list[Row] = []
    for market in found:
        corrected, plain = (Recommender(remembering, market.catalogue, gap_correction=on) for on in (True, False))
        for name, queries, wanted in _cases(market):
            with_, without = (_shares(recommender, queries, wanted) for recommender in (corrected, plain))
            rows += [
                _row(market, name, "corrected", with_, without),
                _row(market, name, "not corrected", without, None),
            ]
        rows += _disliking(market, corrected)
        judged += [_judged(market, corrected, name, sides) for name, sides in _SIDES.items()]
    return [
        Table("quality", "Products of a taste among the ten best", COLUMNS, rows, [_note(found)]),
        Table("quality", "Does relevance tell whether anything fits?", _JUDGED, judged, [_RELEVANCE]),
    ]


def _note(found: Sequence[Market]) -> str:
    sizes = ", ".join(f"{m.name}: {len(m.catalogue)} products, {len(m.tastes)} tastes" for m in found)
    return (
        f"{sizes}. A query is a product's own sentence, picture or both; a shopper likes two products of each of two "
        "tastes; then dislikes the first two wrong answers, compared with only leaving these out. Gain: over the same "
        "queries without gap correction, or without dislikes. Intervals are 95 % bootstrap over queries."
    )


_RELEVANCE = (
    "Each query asks the catalogue twice, with and without the products of its taste. AUC: how probably the best "
    "answer's relevance is higher for a query whose taste is there. The others: share of queries whose best answer "
    "has a relevance above 0.5 and 0.9."
)


def _cases(market: Market) -> Iterable[tuple[str, list[Query], list[set[str]]]]:
    """Name, queries, and for each query the ids that have its taste."""
    for name, sides in _SIDES.items():
        products = market.products
        wanted = [set(market.of(market.taste[product["id"]])) - {product["id"]} for product in products]
        yield name, [_from_product(market, product, sides) for product in products], wanted
    yield "shopper: four likes", *_shoppers(market)


def _from_product(market: Market, product: Product, sides: str) -> Query:
    return Query(
        text=product["text"] if sides != "image" else None,
        image=market.catalogue.picture(product) if sides != "text" else None,
        exclude=[product["id"]],
        k=K,
    )


def _shoppers(market: Market) -> tuple[list[Query], list[set[str]]]:
    """Shoppers who like two products of each of two tastes, and the rest of these tastes."""
    rng = np.random.default_rng(0)
    queries, wanted = [], []
    for _ in range(_SHOPPERS):
        own = [market.of(taste) for taste in rng.choice(market.tastes, 2, replace=False)]
        liked = [id_ for ids in own for id_ in rng.choice(ids, 2, replace=False).tolist()]
        queries.append(Query(liked=liked, k=K))
        wanted.append({id_ for ids in own for id_ in ids} - set(liked))
    return queries, wanted


def _disliking(market: Market, recommender: Recommender) -> list[Row]:
    """Shoppers who see wrong products and say so."""
    after, without, wanted = [], [], []
    shoppers, rest = _shoppers(market)
    for query, ids, answer in zip(shoppers, rest, recommender.recommend_batch(shoppers), strict=True):
        wrong = [item.id for item in answer if item.id not in ids][:2]
        if len(wrong) == 2:
            after.append(replace(query, disliked=wrong))
            without.append(replace(query, exclude=wrong))
            wanted.append(ids)
    if not after:
        return []
    shares, others = (_shares(recommender, queries, wanted) for queries in (after, without))
    return [_row(market, "shopper: four likes, two dislikes", "corrected", shares, others)]


def _shares(recommender: Recommender, queries: Sequence[Query], wanted: Sequence[set[str]]) -> Shares:
    """(Q,) share of each answer that is wanted, of what could be."""
    answers = recommender.recommend_batch(queries)
    return np.array([_share(answer, ids) for answer, ids in zip(answers, wanted, strict=True)])


def _share(answer: Recommendations, wanted: set[str]) -> float:
    return sum(item.id in wanted for item in answer) / min(len(answer), len(wanted))


def _row(market: Market, query: str, scores: str, shares: Shares, other: Shares | None) -> Row:
    low, high = _interval(shares)
    row: dict[str, Any] = {"catalogue": market.name, "query": query, "scores": scores}
    row |= {"share": float(shares.mean()), "low": low, "high": high}
    if other is not None:
        low, high = _interval(shares - other)
        row |= {"gain": float((shares - other).mean()), "gain low": low, "gain high": high}
    return row


def _interval(values: Shares) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(0, len(values), (_ROUNDS, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _judged(market: Market, recommender: Recommender, name: str, sides: str) -> Row:
    """How well relevance tells queries that something fits from those that nothing does."""
    present = [_from_product(market, product, sides) for product in market.products]
    absent = [
        replace(query, exclude=market.of(market.taste[product["id"]]))
        for query, product in zip(present, market.products, strict=True)
    ]
    there, gone = (
        np.array([answer[0].relevance for answer in recommender.recommend_batch(queries)])
        for queries in (present, absent)
    )
    draws = np.random.default_rng(0).integers(0, len(there), (_ROUNDS // 10, len(there)))
    low, high = np.percentile([_auc(there[draw], gone[draw]) for draw in draws], [2.5, 97.5])
    row: dict[str, Any] = {"catalogue": market.name, "query": name, "AUC": _auc(there, gone), "low": low, "high": high}
    for least in (0.5, 0.9):
        row[f"there > {least}"] = round(float((there > least).mean()), 3)
        row[f"gone > {least}"] = round(float((gone > least).mean()), 3)
    return row


def _auc(there: Shares, gone: Shares) -> float:
    """Probability that one of `there` is above one of `gone`, ties half."""
    above = (there[:, None] > gone).mean() + 0.5 * (there[:, None] == gone).mean()
    return float(above)
