"""Embeds one side, the pictures or the texts, of the products of a batch; nothing twice, and nothing that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import NO_KEY, Keys, parts_key
from clipshelf.catalogue.disk.journal import EmbeddingTable, Journal
from clipshelf.catalogue.side_parts import PooledSide, pool_side
from clipshelf.failures import Failure
from clipshelf.types import FloatArray


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings that need not be computed again.

    - `tables`: known embeddings, of pictures and of texts, which have different keys.
    - `journal`: a file that new embeddings are appended to as they are computed, None for no file.
    """

    tables: Sequence[EmbeddingTable] = ()
    journal: Journal | None = None


NO_CACHE = EmbeddingCache()


class SideEmbedder:
    """Fills one side of a batch's N products.

    - `embed`: `embed_images` or `embed_texts` of an engine.
    - `embeds`: (N, D) float32 view that it fills.
    - `keys`: (N, 16) uint8 view that it fills.
    - `cache`: what is known already.
    - `falloff`: how the parts of a side are weighted, see `side_parts`.

    `pooled` has the sides of several parts by row.
    """

    def __init__(
        self,
        embed: Callable[..., FloatArray],
        embeds: FloatArray,
        keys: Keys,
        cache: EmbeddingCache,
        falloff: float,
    ) -> None:
        self._embed = embed
        self._embeds = embeds
        self._keys = keys
        self._cache = cache
        self._falloff = falloff
        # Where the first source with a key was stored: a row, or N and more for a part.
        self._first_location: dict[bytes, int] = {}
        self._parts: list[FloatArray] = []
        self._reasons: dict[int, str] = {}
        self.pooled: dict[int, PooledSide] = {}

    def fill(self, sources: Mapping[int, Sequence[Any]], keys: Keys) -> dict[int, dict[int, str]]:
        """Embed the sources of n products, except what is known and what an earlier source is too.

        - `sources`: by row the pictures or texts of a product, at least one. Each row comes once.
        - `keys`: (s, 16) uint8 keys of all sources in turn.

        Returns, by row, why its source at a position could not be embedded. A side without a good source is zeros.
        """
        if not sources:
            return {}
        locations: list[int] = []
        next_part = len(self._embeds) + len(self._parts)
        for row, items in sources.items():
            if len(items) == 1:
                locations.append(row)
            else:
                locations += range(next_part, next_part + len(items))
                next_part += len(items)
        embeds, keys = self._embed_all(locations, [item for items in sources.values() for item in items], keys)
        failures: dict[int, dict[int, str]] = {}
        start = 0
        for row, items in sources.items():
            span = slice(start, start + len(items))
            start += len(items)
            if len(items) > 1:
                self._pool(row, embeds[span], keys[span])
            reasons = {i: self._reasons[at] for i, at in enumerate(locations[span]) if at in self._reasons}
            if reasons:
                failures[row] = reasons
        return failures

    def _embed_all(self, locations: Sequence[int], sources: Sequence[Any], keys: Keys) -> tuple[FloatArray, Keys]:
        """Embed s sources and store them at their locations; rows (s, D) and keys, zeros for what failed."""
        embeds = np.zeros((len(sources), self._embeds.shape[1]), np.float32)
        known = np.zeros(len(sources), bool)
        for table in self._cache.tables:
            known |= table.fill(keys, embeds)
        firsts = [
            at if key == NO_KEY else self._first_location.setdefault(key, at)
            for at, key in zip(locations, map(bytes, keys), strict=True)
        ]
        new = [i for i, at in enumerate(locations) if firsts[i] == at and not known[i]]
        failures: list[Failure] = []
        embeds[new] = self._embed([sources[i] for i in new], on_error=failures.append)
        self._reasons |= {locations[new[failure.index]]: failure.reason for failure in failures}
        reasons = self._reasons
        reasons |= {at: reasons[first] for at, first in zip(locations, firsts, strict=True) if first in reasons}
        # What could not be embedded must not be found by its key later on.
        known_keys = np.where([[at in reasons] for at in locations], np.uint8(0), keys)
        self._store(locations, firsts, embeds, known_keys)
        if self._cache.journal is not None:
            good = [i for i in new if locations[i] not in reasons and bytes(keys[i]) != NO_KEY]
            self._cache.journal.append(keys[good], embeds[good])
        return embeds, known_keys

    def _store(self, locations: Sequence[int], firsts: Sequence[int], embeds: FloatArray, keys: Keys) -> None:
        """Put s rows at their locations; a source that an earlier one is too gets the row of that one."""
        count = len(self._embeds)
        singles = [i for i, at in enumerate(locations) if at < count]
        rows = [locations[i] for i in singles]
        self._embeds[rows], self._keys[rows] = embeds[singles], keys[singles]
        self._parts += [embeds[i].copy() for i, at in enumerate(locations) if at >= count]
        for i, (at, first) in enumerate(zip(locations, firsts, strict=True)):
            if at != first:
                embeds[i] = self._embeds[first] if first < count else self._parts[first - count]
                if at < count:
                    self._embeds[at] = embeds[i]
                else:
                    self._parts[at - count] = embeds[i].copy()

    def _pool(self, row: int, embeds: FloatArray, keys: Keys) -> None:
        """Set the row of a product from n parts; a part that failed has zeros, and does not count."""
        good = np.flatnonzero(embeds.any(axis=1))
        if len(good) > 1:
            pooled = self.pooled[row] = pool_side(embeds[good], keys[good], self._falloff)
            self._embeds[row] = pooled.row
            self._keys[row] = np.frombuffer(parts_key(keys[good], self._falloff), np.uint8)
        elif len(good):
            self._embeds[row], self._keys[row] = embeds[good[0]], keys[good[0]]
