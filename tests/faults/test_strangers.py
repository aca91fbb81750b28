"""Catalogues that somebody else made: whatever they hold, they are read as catalogues or refused as such."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.cli.main import main
from clipshelf.errors import CatalogueError, ImageError, InputError, UnknownIdError
from PIL import Image
from support import forged, tiny

TAGS = ["new", "sale"]
PRODUCTS = [
    {"id": f"p{i}", "text": f"red {'shoe ' * (i % 3)}", "price": i, "brand": "ab"[i % 2], "tags": TAGS[: i % 3]}
    for i in range(20)
]


@pytest.fixture(scope="module")
def template(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forged") / "shop"
    Catalogue.build(Engine.load(tiny_artifact, threads=1), PRODUCTS).save(folder)
    return folder


def use(folder: Path, engine: Engine) -> None:
    """Everything that a program does with a catalogue."""
    catalogue = Catalogue.load(folder)
    assert len(catalogue.ids) == len(catalogue.products) == len(list(catalogue.products))
    for where in ("price<9", "brand=a", "tags contains new"):
        catalogue.mask(where)
    catalogue.row("p3")
    for product in catalogue.products:
        catalogue.picture(product)
    answer = Recommender(engine, catalogue).recommend(text="red shoe", liked=["p1"], k=3)
    json.dumps(answer.to_dict(explain=True), allow_nan=False).encode()


def with_fields(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: forged.seal(folder, {**forged.read_fields(folder), **changes})


def with_file(role: str, content: bytes | Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def forge(folder: Path) -> None:
        old = next(folder.glob(f"{role}.*")).read_bytes()
        forged.replace_file(folder, role, content if isinstance(content, bytes) else content(old))

    return forge


def with_records(change: Callable[[list[Any]], list[Any]]) -> Callable[[Path], None]:
    """Other records, with offsets that fit."""

    def forge(folder: Path) -> None:
        old = [json.loads(line) for line in next(folder.glob("products.*")).read_bytes().splitlines()]
        lines = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in change(old)]
        forged.replace_file(folder, "products", b"".join(lines))
        forged.replace_file(folder, "offsets", forged.npy(np.cumsum([0, *map(len, lines)])))

    return forge


def with_first_record(value: Any) -> Callable[[Path], None]:
    return with_records(lambda old: [value, *old[1:]])


def with_first_field(**fields: Any) -> Callable[[Path], None]:
    return with_records(lambda old: [{**old[0], **fields}, *old[1:]])


def with_file_entry(name: str, entry: Any) -> Callable[[Path], None]:
    def forge(folder: Path) -> None:
        fields = forged.read_fields(folder)
        fields["files"][name] = entry
        forged.seal(folder, fields)

    return forge


def without_file(role: str) -> Callable[[Path], None]:
    def forge(folder: Path) -> None:
        fields = forged.read_fields(folder)
        fields["files"] = {name: entry for name, entry in fields["files"].items() if name.split(".")[0] != role}
        forged.seal(folder, fields)

    return forge


def with_column(column: int, part: int, content: bytes) -> Callable[[Path], None]:
    """Another array (part 0) or table (part 1) of a column."""

    def forge(folder: Path) -> None:
        offsets = np.load(next(folder.glob("column-offsets.*")))
        old = next(folder.glob("columns.*")).read_bytes()
        padding = bytes(-len(old) % 64)
        start = len(old) + len(padding)
        offsets[column, part] = start, start + len(content)
        forged.replace_file(folder, "columns", old + padding + content)
        forged.replace_file(folder, "column-offsets", forged.npy(offsets))

    return forge


def with_pipe(role: str) -> Callable[[Path], None]:
    def forge(folder: Path) -> None:
        path = folder / "manifest.json" if role == "manifest" else next(folder.glob(f"{role}.*"))
        path.unlink()
        os.mkfifo(path)

    return forge


def _array(content: bytes) -> Any:
    return np.load(io.BytesIO(content))


def table(values: list[Any], starts: Any = ()) -> bytes:
    return json.dumps({"values": values, "starts": starts}).encode()


HUGE = 10**400
VARIANTS: dict[str, Callable[[Path], object]] = {
    "generation true": with_fields(generation=True),
    "generation beyond all": with_fields(generation=HUGE),
    "products negative": with_fields(products=-1),
    "products more": with_fields(products=21),
    "products many": with_fields(products=1 << 52),
    "products a float": with_fields(products=20.0),
    "dim zero": with_fields(dim=0),
    "dim other": with_fields(dim=5),
    "fingerprint a list": with_fields(fingerprint=["x"]),
    "fingerprint other": with_fields(fingerprint="0f"),
    "root with a null": with_fields(root="/tmp/a\0b"),
    "root a number": with_fields(root=3),
    "model with a null": with_fields(model="/tmp/a\0b"),
    "relative model a dict": with_fields(relative_model={}),
    "columns a list": with_fields(columns=["price"]),
    "columns of unknown kinds": with_fields(columns={"price": "money"}),
    "columns of no kind": with_fields(columns={"price": ["number"]}),
    "columns of another kind": with_fields(columns={"price": "text", "brand": "number", "tags": "number"}),
    "columns more": with_fields(columns={"a": "number", "b": "number", "c": "text", "d": "text"}),
    "declarations of numbers": with_fields(declarations={"price": 3}),
    "files a list": with_fields(files=[]),
    "files none": with_fields(files={}),
    "file outside": with_file_entry("../x.1.npy", {"bytes": 1, "sha256": "0" * 64}),
    "file with a null": with_file_entry("x\0.1.npy", {"bytes": 1, "sha256": "0" * 64}),
    "file with half an emoji": with_file_entry("x\ud83d.1.npy", {"bytes": 1, "sha256": "0" * 64}),
    "file that is missing": with_file_entry("x.1.npy", {"bytes": 1, "sha256": "0" * 64}),
    "file twice": with_file_entry("keys.2.npy", {"bytes": 1, "sha256": "0" * 64}),
    "file of huge size": with_file_entry("x.1.npy", {"bytes": HUGE, "sha256": "0" * 64}),
    "file of negative size": with_file_entry("x.1.npy", {"bytes": -5, "sha256": "0" * 64}),
    "file of no size": with_file_entry("x.1.npy", {"bytes": "many", "sha256": None}),
    **{
        f"without {role}": without_file(role) for role in ("blocks", "embeddings", "keys", "ids", "products", "offsets")
    },
    **{f"without {role}": without_file(role) for role in ("statistics", "columns", "column-offsets")},
    "blocks no array": with_file("blocks", b"no array"),
    "blocks empty": with_file("blocks", b""),
    "blocks of floats": with_file("blocks", forged.npy(np.zeros(9))),
    "blocks of two axes": with_file("blocks", forged.npy(np.zeros((3, 3), np.uint32))),
    "blocks too few": with_file("blocks", forged.npy(np.zeros(2, np.uint32))),
    "keys of floats": with_file("keys", forged.npy(np.zeros((20, 3, 16)))),
    "keys too few": with_file("keys", forged.npy(np.zeros((3, 3, 16), np.uint8))),
    "keys of other ids": with_file("keys", forged.npy(np.zeros((20, 3, 16), np.uint8))),
    "keys with a wild header": with_file("keys", b"\x93NUMPY\x01\x00\xf0\x00" + b"-" * 2000),
    "keys with an open header": with_file("keys", b"\x93NUMPY\x01\x00\xf0\x00" + b"(" * 2000),
    "embeddings of doubles": with_file("embeddings", forged.npy(np.zeros((20, 8)))),
    "embeddings NaN": with_file("embeddings", forged.npy(np.full((20, 8), np.nan, np.float32))),
    "embeddings infinite": with_file("embeddings", forged.npy(np.full((20, 8), np.inf, np.float32))),
    "embeddings both infinite": with_file(
        "embeddings", forged.npy(np.tile(np.array([np.inf, -np.inf], np.float32), (20, 4)))
    ),
    "ids no JSON": with_file("ids", b"["),
    "ids nested": with_file("ids", b"[" * 100_000),
    "ids numbers": with_file("ids", json.dumps(list(range(20))).encode()),
    "ids a dict": with_file("ids", json.dumps({str(i): i for i in range(20)}).encode()),
    "ids half an emoji": with_file("ids", json.dumps(["\ud83d"] * 20).encode()),
    "ids twice": with_file("ids", json.dumps(["p1"] * 20).encode()),
    "manifest nested": lambda folder: (folder / "manifest.json").write_bytes(b"[" * 100_000),
    "manifest no UTF-8": lambda folder: (folder / "manifest.json").write_bytes(b'{"products": "caf\xe9"}'),
    "manifest a list": lambda folder: (folder / "manifest.json").write_bytes(b"[]"),
    "statistics a list": with_file("statistics", b"[]"),
    "statistics nested": with_file("statistics", b"[" * 100_000),
    "statistics beyond floats": with_file("statistics", json.dumps({"means": [[HUGE] * 4] * 2, "spreads": 1}).encode()),
    "statistics NaN": with_file("statistics", b'{"means": [[NaN,0,0,0],[0,0,0,0]], "spreads": [[1,1],[1,1]]}'),
    "statistics large": with_file(
        "statistics", json.dumps({"means": [[1e300] * 4] * 2, "spreads": [[1, 1], [1, 1]]}).encode()
    ),
    "statistics small": with_file(
        "statistics", json.dumps({"means": [[0] * 4] * 2, "spreads": [[1e-300, 1], [1, 1]]}).encode()
    ),
    "statistics words": with_file("statistics", b'{"means": "x", "spreads": "y"}'),
    "offsets descending": with_file("offsets", lambda old: forged.npy(_array(old)[::-1])),
    "offsets beyond": with_file("offsets", lambda old: forged.npy(_array(old) + (1 << 40))),
    "offsets negative": with_file("offsets", lambda old: forged.npy(_array(old) - 100)),
    "record no JSON": with_first_record(b"{\n"),
    "record nested": with_first_record(b'{"id": "p0", "x": ' + b"[" * 100_000 + b"\n"),
    "record a list": with_first_record([]),
    "record a number": with_first_record(3),
    "record null": with_first_record(None),
    "record two": with_first_record(b'{"id": "p0"},{"id": "p1"}\n'),
    "record no UTF-8": with_first_record(b'{"id": "p0", "text": "caf\xe9"}\n'),
    "record NaN": with_first_record(b'{"id": "p0", "text": "red", "price": NaN}\n'),
    "record infinite": with_first_record(b'{"id": "p0", "text": "red", "price": -Infinity}\n'),
    "record beyond floats": with_first_record(b'{"id": "p0", "text": "red", "price": 1e999}\n'),
    "record of many digits": with_first_record(b'{"id": "p0", "text": "red", "price": ' + b"9" * 5000 + b"}\n"),
    "record without id": with_first_record({"text": "red"}),
    "id a number": with_first_field(id=3),
    "id a list": with_first_field(id=["p0"]),
    "text a number": with_first_field(text=3),
    "text a dict": with_first_field(text={"a": 1}),
    "image a number": with_first_field(image=3),
    "image null": with_first_field(image=None),
    "image with a null": with_first_field(image="a\0b.png"),
    "image half an emoji": with_first_field(image="\ud83d.png"),
    "price half an emoji": with_first_field(price="\ud83d"),
    "field of half an emoji": with_first_field(**{"\ud83d": 1}),
    "codes beyond": with_column(0, 0, forged.npy(np.full(20, 99, np.int8))),
    "codes negative": with_column(0, 0, forged.npy(np.full(20, -9, np.int8))),
    "codes too few": with_column(0, 0, forged.npy(np.zeros(3, np.int8))),
    "codes of floats": with_column(0, 0, forged.npy(np.zeros(20))),
    "values no JSON": with_column(0, 1, b"{"),
    "values nested": with_column(0, 1, b"[" * 100_000),
    "values a list": with_column(0, 1, b"[]"),
    "values none": with_column(0, 1, b"{}"),
    "values unsorted": with_column(0, 1, table(list(range(20))[::-1])),
    "values NaN": with_column(0, 1, b'{"values": [NaN], "starts": []}'),
    "values infinite": with_column(0, 1, table([*range(19), 1e999])),
    "values texts": with_column(0, 1, table([f"{i:02}" for i in range(20)])),
    "values mixed": with_column(1, 1, table(["a", 3])),
    "starts none": with_column(2, 1, b'{"values": ["new", "sale"]}'),
    "starts beyond": with_column(2, 1, table(["new", "sale"], [0, 5, 99])),
    "starts descending": with_column(2, 1, table(["new", "sale"], [0, 30, 19])),
    "starts words": with_column(2, 1, table(["new", "sale"], ["0", "1", "2"])),
    "rows beyond": with_column(2, 0, forged.npy(np.full(19, 99, np.int8))),
    "spans beyond": with_file("column-offsets", forged.npy(np.full((3, 2, 2), 1 << 40))),
    "spans negative": with_file("column-offsets", forged.npy(np.full((3, 2, 2), -5))),
    "spans of floats": with_file("column-offsets", forged.npy(np.zeros((3, 2, 2)))),
    **{f"{role} a pipe": with_pipe(role) for role in ("manifest", "ids", "embeddings", "blocks")},
}


# What the files do not tell: they agree with each other.
UNNOTICED = {"fingerprint other", "image with a null"}
# What no use of a catalogue depends on.
HARMLESS = {"ids twice"}
# What makes another catalogue, or has an error of its own.
# "columns of another kind" is asked for numbers here, which texts do not have; the test below asks for texts.
NAMED_OTHERWISE = {
    "columns of another kind": InputError,
    "columns more": InputError,
    "keys of other ids": UnknownIdError,
    "image with a null": ImageError,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_forged_catalogue_is_refused_as_one(name: str, template: Path, tmp_path: Path, engine: Engine) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(template, folder)
    VARIANTS[name](folder)
    problems = find_problems(folder)
    assert bool(problems) == (name not in UNNOTICED) and all(isinstance(problem, str) for problem in problems)
    assert main(["verify", str(folder)]) == bool(problems)
    assert main(["info", str(folder)]) in (0, 1)
    if name in HARMLESS:
        use(folder, engine)
    else:
        with pytest.raises(NAMED_OTHERWISE.get(name, CatalogueError)):
            use(folder, engine)


def test_a_column_that_is_not_of_its_kind_is_damage(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(template, folder)
    VARIANTS["columns of another kind"](folder)
    with pytest.raises(CatalogueError, match="expected a column of text, found values of another kind"):
        Catalogue.load(folder).mask("price=nine")


@pytest.fixture
def pictures(engine: Engine, tmp_path: Path) -> Path:
    """A catalogue in shop/, whose pictures are in shop/pics, and a secret beside."""
    shop = tmp_path / "home" / "shop"
    (shop / "pics").mkdir(parents=True)
    for path in (shop / "pics/a.png", tmp_path / "home/secret.png"):
        Image.fromarray(tiny.picture("red")).save(path)
    (shop / "products.csv").write_text("id,text,image\na,red,pics/a.png\n")
    Catalogue.build(engine, shop / "products.csv").save(shop / "catalogue")
    return shop / "catalogue"


def shown(folder: Path, page: Path, artifact: Path, *options: str) -> int:
    """How many pictures a page shows."""
    command = ["recommend", "--catalogue", str(folder), "--text", "red", "--artifact", str(artifact)]
    assert main([*command, "--html", str(page), *options]) == 0
    return page.read_text().count("<img ")


def test_pictures_outside_the_root_are_shown_only_if_that_is_allowed(
    pictures: Path, tmp_path: Path, tiny_artifact: Path
) -> None:
    page, shop = tmp_path / "page.html", pictures.parent
    assert shown(pictures, page, tiny_artifact) == 1
    (shop / "pics/link.png").symlink_to(tmp_path / "home/secret.png")
    for image in (str(tmp_path / "home/secret.png"), "../secret.png", "pics/../../secret.png", "pics/link.png"):
        with_first_field(image=image)(pictures)
        with pytest.raises(ImageError, match=r"expected a picture below .*, found one outside; --allow-outside"):
            Catalogue.load(pictures).picture({"id": "a", "image": image})
        assert shown(pictures, page, tiny_artifact) == 0 and "--allow-outside" in page.read_text()
        assert shown(pictures, page, tiny_artifact, "--allow-outside") == 1
    with_fields(root="/", relative_root=os.path.relpath("/", pictures))(pictures)
    with_first_field(image=str(tmp_path / "home/secret.png")[1:])(pictures)
    assert shown(pictures, page, tiny_artifact) == 0
    assert shown(pictures, page, tiny_artifact, "--root", str(tmp_path / "home")) == 0


def test_what_a_supplier_names_outside_the_root_is_said(engine: Engine, pictures: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    products = [{"id": "x", "image": str(tmp_path / "home/secret.png")}]
    Catalogue.load(pictures).add(engine, products, on_warning=notes.append)
    assert len(notes) == 1 and "found 1 elsewhere: a page shows these only with --allow-outside" in notes[0]
