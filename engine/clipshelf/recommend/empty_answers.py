"""Why an answer has no products."""

from __future__ import annotations

from clipshelf.recommend.answers import shorten
from clipshelf.recommend.resolve import ResolvedQuery
from clipshelf.recommend.store import ProductStore

_TERMS = 10  # of a filter that are listed
_TERM_WIDTH = 80  # characters


def explain_empty(query: ResolvedQuery, store: ProductStore) -> str:
    """Say in one sentence why no product of a store answers a query.

    A filter that lets no product through is taken apart: how many products each of its terms lets through.
    """
    count = len(store)
    if not count:
        return "no product is left: the catalogue is empty"
    if query.min_relevance and query.answerable:
        return f"no product has the relevance that was asked for, {query.min_relevance:g} or more"
    if query.where is None:
        return f"no product is left: all {count:,} of the catalogue are excluded"
    if passing := query.selection.count:
        return f"no product is left: the filter lets {passing:,} of {count:,} through, and all of them are excluded"
    terms = [*store.count_passing(query.where).items()]
    parts = [f"{shorten(term, _TERM_WIDTH)} lets {passes:,} through" for term, passes in terms[:_TERMS]]
    if len(terms) > _TERMS:
        parts.append(f"and there are {len(terms) - _TERMS} more terms")
    return f"no product passes the filter: of {count:,} products {', '.join(parts)}"
