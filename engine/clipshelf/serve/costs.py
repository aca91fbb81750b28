"""What a query may cost, and how much of a batch it is, so that no query makes others wait for long.

The unit is the time of a character of text in the text tower; docs/service.md has the limits.
"""

from __future__ import annotations

from clipshelf.model.image import PreparedImage
from clipshelf.recommend.query import Query
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.schemas import MAX_K, MAX_TEXT

# A batch ends with the item that reaches this: a second or less on two cores with ViT-B/32.
BATCH_COST = 20_000
# Contributions of signals to products of an answer: computed for each, and written out where they are explained.
_MAX_CONTRIBUTIONS, _MAX_EXPLAINED = 1_000_000, 100_000
_PICTURE = 300
_CONTRIBUTIONS = 50  # of one unit


def check_cost(query: Query, *, explain: bool) -> None:
    """Refuse a query that costs more than one may. Raises ProblemError."""
    characters = _characters(query)
    if characters > MAX_TEXT:
        raise _refused(f"text: expected at most {MAX_TEXT:,} characters in all texts, found {characters:,}")
    products = query.k * (1 + query.group_members)
    if products > MAX_K:
        raise _refused(f"k: expected at most {MAX_K:,} products with the members of groups, found {products:,}")
    most = _MAX_EXPLAINED if explain else _MAX_CONTRIBUTIONS
    if _contributions(query) > most:
        explained = " that are explained" if explain else ""
        raise _refused(f"k: expected k times the number of signals{explained} of at most {most:,}, found more")


def cost_of_query(query: Query) -> int:
    """How much of a batch a query is."""
    return _characters(query) + _PICTURE * len(query.images) + _contributions(query) // _CONTRIBUTIONS


def cost_of_source(source: str | PreparedImage) -> int:
    """How much of a batch a text or a picture is."""
    return len(source) if isinstance(source, str) else _PICTURE


def _characters(query: Query) -> int:
    return sum(map(len, query.texts))


def _contributions(query: Query) -> int:
    return query.k * (len(query.texts) + len(query.images) + len(query.taste.ids))


def _refused(detail: str) -> ProblemError:
    return ProblemError(422, "bad-query", detail)
