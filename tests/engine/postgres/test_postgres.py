"""Answers from PostgreSQL are those of the catalogue that was written there, to the bit."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import psycopg
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.cli.main import main
from clipshelf.errors import CatalogueError, FingerprintMismatch, InputError
from clipshelf.postgres.catalogue import PostgresCatalogue
from clipshelf.postgres.connections import Connection, Connections
from clipshelf.postgres.recommender import PostgresRecommender
from clipshelf.postgres.tables import export_catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.same_answers import QUERIES, assert_same, facts, union

Open: TypeAlias = Callable[..., PostgresCatalogue]


@pytest.mark.parametrize("shape", [(120, 0.3, 3), (300, 0.0, 150), (1, 1.0, 0), (0, 0.0, 0)])
def test_every_kind_of_query_has_the_answer_of_the_catalogue(
    narrow_engine: Engine, dsn: str, opened: Open, shape: tuple[int, float, int]
) -> None:
    count, share, duplicates = shape
    catalogue = union(narrow_engine, count, seed=1, share=share, duplicates=duplicates, words=())
    export_catalogue(catalogue, dsn, "shelf")
    store = opened("shelf")
    for corrects in (True, False):
        one = Recommender(narrow_engine, catalogue, gap_correction=corrects)
        assert_same(one, PostgresRecommender(narrow_engine, store, gap_correction=corrects), QUERIES)


NAMES = [
    "price",
    "tags",
    "sold",
    "it's",
    'a "b"',
    "50%",
    "%s",
    "{x}",
    "row",
    "ctid",
    "x" * 80,
    "\u00e9",
    "a;drop table b",
]
VALUES = [
    None,
    0,
    -1,
    1.5,
    10**30,
    0.1,
    True,
    False,
    "",
    "a",
    "\u00e9",
    "e\u0301",
    "%s",
    "'",
    "2026-05-01",
    "2026-05-01T09:30",
]


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "contains"])
    values = st.one_of(st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES[1:]), max_size=3))
    tests = st.dictionaries(
        st.sampled_from([*NAMES, "id", "text", "size.eu"]), st.dictionaries(operators, values, min_size=1)
    )
    return st.recursive(
        tests,
        lambda inner: st.one_of(
            st.builds(lambda part: {"not": part}, inner),
            st.builds(lambda word, parts: {word: parts}, st.sampled_from(["and", "or"]), st.lists(inner, max_size=3)),
        ),
        max_leaves=4,
    )


@pytest.fixture(scope="module")
def odd(narrow_engine: Engine, dsn: str) -> Iterator[tuple[Catalogue, PostgresCatalogue]]:
    """Products with columns of odd names and values."""
    rng = np.random.default_rng(3)
    kinds: list[list[Any]] = [
        [1, 2.5, 10**30, 0.1],
        [["a"], ["a", "b"], ["\u00e9"]],
        [True, False],
        ["", "a", "b"],
        ["e\u0301", "\u00e9", "x"],
        ["2026-05-01", "2026-05-01T09:30", "2025-01-01"],
    ]
    products = []
    for row in range(60):
        product: dict[str, Any] = {"id": f"p{row}", "text": f"shoe {row}", "size": {"eu": 40 + row % 3}}
        for place, name in enumerate(NAMES):
            if rng.random() < 0.7:
                product[name] = kinds[place % len(kinds)][rng.integers(0, len(kinds[place % len(kinds)]))]
        products.append(product)
    catalogue = Catalogue.build(narrow_engine, products)
    export_catalogue(catalogue, dsn, "odd")
    store = PostgresCatalogue(dsn, "odd")
    yield catalogue, store
    store.close()


@settings(max_examples=100, deadline=None)
@given(where=conditions())
def test_any_filter_lets_the_same_products_through(
    odd: tuple[Catalogue, PostgresCatalogue], where: dict[str, Any]
) -> None:
    catalogue, store = odd
    try:
        expected: Any = int(catalogue.mask(where).sum())
    except InputError as error:
        expected = str(error)
    try:
        found: Any = store.select(where).count
    except InputError as error:
        found = str(error)
    assert found == expected


def test_records_and_ids_come_back_as_they_were(odd: tuple[Catalogue, PostgresCatalogue]) -> None:
    catalogue, store = odd
    rows = np.array([3, 0, 59])
    assert store.records(rows) == catalogue.records(rows)
    assert store.find(["p3", "nothing", "p0", "\0", "\ud800"]).tolist() == [3, -1, 0, -1, -1]
    np.testing.assert_array_equal(store.fetch(rows).embeddings, catalogue.embeddings[rows])


def test_what_a_string_of_postgresql_cannot_hold_is_told(narrow_engine: Engine, dsn: str) -> None:
    catalogue = Catalogue.build(narrow_engine, [{"id": "a", "text": "x", "note": "a\0b"}])
    with pytest.raises(InputError, match="expected text without null characters"):
        export_catalogue(catalogue, dsn, "nulls")
    with pytest.raises(CatalogueError, match="expected a catalogue 'nulls' in the database, found none"):
        PostgresCatalogue(dsn, "nulls")


def test_a_catalogue_is_replaced_in_one_step_while_it_is_read(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    first, second = (union(narrow_engine, count, seed=count, words=()) for count in (30, 40))
    export_catalogue(first, dsn, "live")
    reader = PostgresRecommender(narrow_engine, opened("live"))
    before = facts(reader.recommend("red", k=30))
    export_catalogue(second, dsn, "live")
    assert facts(reader.recommend("red", k=30)) == before
    assert len(opened("live")) == 40
    export_catalogue(second, dsn, "live")
    with pytest.raises(CatalogueError, match="replaced; open it again"):
        reader.recommend("blue", k=30)


def test_connections_that_are_killed_are_opened_again(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    export_catalogue(union(narrow_engine, 30, seed=5, words=()), dsn, "killed")
    recommender = PostgresRecommender(narrow_engine, opened("killed"))
    expected = facts(recommender.recommend("red"))
    for _ in range(3):
        with psycopg.connect(dsn, autocommit=True) as killer:
            killer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
        assert facts(recommender.recommend("red")) == expected


def test_a_statement_that_takes_too_long_is_not_repeated(narrow_engine: Engine, dsn: str) -> None:
    export_catalogue(union(narrow_engine, 5, seed=16, words=()), dsn, "slow")
    connections = Connections(dsn)
    calls = []

    def sleep(connection: Connection) -> None:
        calls.append(1)
        connection.execute("set local statement_timeout = 50")
        connection.execute("select pg_sleep(5)")

    with closing(connections), pytest.raises(CatalogueError, match="postgres: canceling statement"):
        connections.read(sleep)
    assert len(calls) == 1


def test_a_database_that_is_not_there(narrow_engine: Engine) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
    with pytest.raises(CatalogueError, match="expected a database, found"):
        export_catalogue(union(narrow_engine, 1, seed=1, words=()), nowhere, "x")


def _ids(recommender: PostgresRecommender) -> list[str]:
    return [item.id for item in recommender.recommend("red shoe")]


def test_copies_in_other_processes(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    export_catalogue(union(narrow_engine, 30, seed=6, words=()), dsn, "copied")
    recommender = PostgresRecommender(narrow_engine, opened("copied"))
    expected = _ids(recommender)
    copy = pickle.loads(pickle.dumps(recommender))
    assert _ids(copy) == expected
    copy.catalogue.close()
    # Not a Pool, which ends its processes by SIGTERM: they may inherit a handler that Ray set in an earlier test.
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(_ids, [recommender] * 4)) == [expected] * 4
    assert _ids(recommender) == expected


def test_half_precision_and_an_index(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    catalogue = union(narrow_engine, 400, seed=7, share=0.0, words=())
    export_catalogue(catalogue, dsn, "half", precision="halfvec", index=True)
    one = Recommender(narrow_engine, catalogue)
    for store in (opened("half"), opened("half", search="hnsw", candidates=100)):
        answer = PostgresRecommender(narrow_engine, store).recommend("red shoe", k=20)
        exact = {item.id: item.score for item in one.recommend("red shoe", k=400)}
        assert [item.score for item in answer] == pytest.approx([exact[item.id] for item in answer], abs=0.01)
        best = {item.id for item in one.recommend("red shoe", k=20)}
        assert len(best & {item.id for item in answer}) >= 18


@pytest.fixture(scope="module")
def many(narrow_engine: Engine, dsn: str) -> Catalogue:
    """So many products that the database prefers its index."""
    catalogue = union(narrow_engine, 4000, seed=17, share=0.01, duplicates=0, words=())
    export_catalogue(catalogue, dsn, "many", index=True)
    return catalogue


def test_the_index_is_used(narrow_engine: Engine, dsn: str, many: Catalogue) -> None:
    def uses() -> int:
        with psycopg.connect(dsn) as connection:
            [(scans,)] = connection.execute(
                "select coalesce(sum(idx_scan), 0)::int from pg_stat_user_indexes "
                "where relname like 'clipshelf_many_%' and indexrelname like '%embedding%'"
            )
        return int(scans)

    found = {}
    for search, scans in (("exact", 0), ("hnsw", 1)):
        before = uses()
        with closing(PostgresCatalogue(dsn, "many", search=search)) as store:
            answer = PostgresRecommender(narrow_engine, store).recommend(liked=["p7"], k=20)
            found[search] = {item.id: item.score for item in answer}
        assert uses() - before == scans
    assert len(found["exact"].keys() & found["hnsw"].keys()) >= 18
    assert all(found["exact"].get(id_, score) == score for id_, score in found["hnsw"].items())


def test_a_filter_leaves_an_index_search_all_products_that_it_lets_through(
    narrow_engine: Engine, opened: Open, many: Catalogue
) -> None:
    one = Recommender(narrow_engine, many)
    store = PostgresRecommender(narrow_engine, opened("many", search="hnsw", candidates=10))
    ids = many.ids[::400]
    queries: list[dict[str, Any]] = [{}, {"exclude": ids[:3]}]
    for query in queries:
        query |= {"where": {"id": {"in": ids}}, "k": 20}
        expected = facts(one.recommend("red shoe", **query))
        assert facts(store.recommend("red shoe", **query)) == expected
        assert len(expected["recommendations"]) == len(ids) - len(query.get("exclude", []))


def test_strings_of_sql_are_values(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    """Everything that a caller hands over is a parameter, or a name in quotes."""
    hostile = ["'; drop table clipshelf_catalogues; --", '"; delete from x; --', "\\'); --", "%s", "{0}", "$1", "a''b"]
    products = [{"id": text, "text": "red shoe", "note": text, text: 1} for text in hostile]
    catalogue = Catalogue.build(narrow_engine, products)
    export_catalogue(catalogue, dsn, "hostile", index=True)
    one, other = (
        Recommender(narrow_engine, catalogue),
        PostgresRecommender(narrow_engine, opened("hostile", search="hnsw")),
    )
    for text in hostile:
        queries: list[dict[str, Any]] = [
            {"where": {"note": {"==": text}}},
            {"where": {"note": {"in": [text]}, text: {">=": 1}}},
            {"where": {"not": {"id": {"contains": text}}}},
            {"liked": [text], "exclude": [text]},
            {"boost": {text: 0.5}},
        ]
        for query in queries:
            assert facts(other.recommend(text, **query)) == facts(one.recommend(text, **query))
        with pytest.raises(InputError):
            other.recommend("red", where={f"{text} ": {"==": 1}})
    assert len(opened("hostile")) == len(hostile)


def test_arguments_that_do_not_fit(narrow_engine: Engine, dsn: str, opened: Open, tmp_path: Path) -> None:
    catalogue = union(narrow_engine, 5, seed=8, words=())
    for name, precision, message in (
        ("Shelf!", "vector", "name: expected lower-case letters"),
        ("shelf", "float", "precision: expected one of vector, halfvec"),
    ):
        with pytest.raises(InputError, match=message):
            export_catalogue(catalogue, dsn, name, precision=precision)
    export_catalogue(catalogue, dsn, "plain")
    for arguments, message in (
        ({"search": "fast"}, "search: expected one of exact, hnsw"),
        ({"search": "hnsw"}, "found one without"),
        ({"candidates": 0}, "candidates: expected 1 to 1000"),
        ({"patience": 0}, "patience: expected a positive number of seconds, found 0"),
        ({"patience": "1"}, "patience: expected a positive number of seconds, found '1'"),
    ):
        with pytest.raises(InputError, match=message):
            opened("plain", **arguments)
    other = Engine.load(tiny.write_artifact(tmp_path / "other", dim=16, seed=9))
    with pytest.raises(FingerprintMismatch):
        PostgresRecommender(other, opened("plain"))


def test_on_the_command_line(
    narrow_engine: Engine, dsn: str, opened: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = Catalogue.build(
        narrow_engine, [{"id": "a", "text": "red shoe", "price": 3}, {"id": "b", "text": "hat"}]
    )
    catalogue.save(tmp_path / "Shelf")
    assert main(["export-to", "postgres", str(tmp_path / "Shelf"), "--dsn", dsn, "--index"]) == 0
    assert "2 products as shelf, vector with an HNSW index, 2 columns" in capsys.readouterr().out
    recommender = PostgresRecommender(narrow_engine, opened("shelf", search="hnsw"))
    assert [item.id for item in recommender.recommend("shoe", where="price<5")] == ["a"]
    union(narrow_engine, 5, seed=9).save(tmp_path / "worded")
    assert main(["export-to", "postgres", str(tmp_path / "worded"), "--dsn", dsn]) == 0
    assert "5 products as worded, vector without an index, " in (printed := capsys.readouterr().out)
    assert printed.endswith("columns for filters, words of text, family\n")
