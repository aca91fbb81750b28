"""What is known of a catalogue in a database: the line that `clipshelf_catalogues` has for it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.statistics import Statistics
from clipshelf.display import describe
from clipshelf.errors import CatalogueError
from clipshelf.postgres.columns import TableColumn
from clipshelf.postgres.connections import Connection

FORMAT = 2
_TOKENS, _POSTINGS = "_t", "_w"  # PostgreSQL's 63 bytes leave room for three behind the longest name of a table


@dataclass(frozen=True)
class TableManifest:
    """What a table of products is of.

    - `table`: its name.
    - `precision`: "vector", float32, or "halfvec", float16.
    - `indexed`: whether it has an HNSW index.
    - `kinds`: of the catalogue's columns, by name.
    - `columns`: where they are, by name; fields of records inside records too.
    - `mean_length`: mean number of tokens of a product, None without an index of words.
    """

    table: str
    fingerprint: str
    count: int
    dim: int
    precision: str
    indexed: bool
    statistics: Statistics
    relevance_curve: RelevanceCurve | None
    kinds: dict[str, str]
    columns: dict[str, TableColumn]
    mean_length: float | None

    @property
    def tokens_table(self) -> str:
        """The name of the table of tokens."""
        return f"{self.table}{_TOKENS}"

    @property
    def postings_table(self) -> str:
        """The name of the table of the products that have each token."""
        return f"{self.table}{_POSTINGS}"

    def to_json(self) -> str:
        """The manifest as JSON; `from_json` inverts it."""
        curve = None if self.relevance_curve is None else self.relevance_curve.to_dict()
        return json.dumps(
            {
                "format": FORMAT,
                "table": self.table,
                "fingerprint": self.fingerprint,
                "count": self.count,
                "dim": self.dim,
                "precision": self.precision,
                "indexed": self.indexed,
                "statistics": self.statistics.to_dict(),
                "relevance_curve": curve,
                "kinds": self.kinds,
                "columns": {name: asdict(column) for name, column in self.columns.items()},
                "mean_length": self.mean_length,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TableManifest:
        """Read a manifest. Raises CatalogueError for another format."""
        data = json.loads(text)
        if data.pop("format", None) != FORMAT:
            raise CatalogueError(f"postgres: expected a catalogue of format {FORMAT}, found another; write it again")
        data["statistics"] = Statistics.from_dict(data["statistics"], data["dim"])
        curve = data["relevance_curve"]
        data["relevance_curve"] = None if curve is None else RelevanceCurve.from_dict(curve)
        data["columns"] = {name: TableColumn(**column) for name, column in data["columns"].items()}
        return cls(**data)


class TableKinds(Mapping[str, str]):
    """The kind of each column by name, as filters see them; dotted names are found and not listed."""

    def __init__(self, manifest: TableManifest) -> None:
        self._listed = {unicodedata.normalize("NFC", name): kind for name, kind in manifest.kinds.items()}
        self._dotted = {name: column.kind for name, column in manifest.columns.items() if name not in self._listed}

    def __getitem__(self, name: str) -> str:
        if isinstance(name, str):
            name = unicodedata.normalize("NFC", name)
        return self._listed[name] if name in self._listed else self._dotted[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def read_manifest(connection: Connection, name: str) -> TableManifest:
    """Read the manifest of a catalogue; raises CatalogueError where there is none."""
    found = None
    if connection.execute("select to_regclass('clipshelf_catalogues')").fetchone() != (None,):
        found = connection.execute("select manifest from clipshelf_catalogues where name = %s", [name]).fetchone()
    if found is None:
        raise CatalogueError(f"postgres: expected a catalogue {describe(name)} in the database, found none")
    return TableManifest.from_json(found[0])


def tables_of(table: str) -> list[str]:
    """The names of a table of products and of those that may be beside it."""
    return [table, table + _TOKENS, table + _POSTINGS]
