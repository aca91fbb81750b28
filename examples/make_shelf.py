"""Make the pictures of the sample shelf and the sample queries again, from the packages that they come from.

    python examples/make_shelf.py PACKAGES [--out examples]

`examples/SOURCES.csv` names the package and the file of each picture. PACKAGES is a folder with one unpacked package in
each sub-folder, named after the package without "@" and with "-" instead of "/", for example `lobehub-fluent-emoji-3d/`
or `openclipart-png/`. Nothing is downloaded.

Pictures of the shelf are laid over white, cropped to the drawing and given a small margin, so their proportions differ.
Query photographs are not cropped. Nothing is enlarged.
"""

import argparse
import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

HERE = Path(__file__).resolve().parent
SHELF_SIDE = 360  # pixels of the longer edge
QUERY_SIDE = 960  # pixels of the longer edge
QUALITY = 87
MARGIN = 0.06  # on each side, as a share of the longer edge of the drawing
BACKGROUND_BELOW = 6  # a pixel that differs less from white, of 255 levels, is background
WORK_SIDE = 2000  # pixels of the longer edge to which huge drawings are reduced first
EXIF_ORIENTATION = 0x0112
SIDEWAYS = "queries/tulips.jpg"  # stored on its side, as phones do; only its EXIF tag sets it upright


@dataclass(frozen=True, slots=True)
class Source:
    """One row of SOURCES.csv.

    - `file`: the picture to write.
    - `package`, `path`: the file that it is made from.
    """

    file: str
    package: str
    path: str

    def locate(self, packages: Path) -> Path:
        """Return the source file under `packages`. The folder has the name of the package without its version."""
        folder = self.package.split()[0].removeprefix("@").replace("/", "-")
        return packages / folder / self.path


def read_sources(table: Path) -> list[Source]:
    """Read the rows of SOURCES.csv, in order."""
    with table.open(encoding="utf-8", newline="") as lines:
        return [Source(row["file"], row["package"], row["path"]) for row in csv.DictReader(lines)]


def over_white(image: Image.Image) -> Image.Image:
    """Return the picture in RGB, over white where it is transparent."""
    rgba = image.convert("RGBA")
    rgba.thumbnail((WORK_SIDE, WORK_SIDE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def trimmed(image: Image.Image) -> Image.Image:
    """Return the picture cropped to what is not white, with an even white margin."""
    white = Image.new("RGB", image.size, "white")
    drawn = (
        ImageChops.difference(image, white)
        .convert("L")
        .point([0] * BACKGROUND_BELOW + [255] * (256 - BACKGROUND_BELOW))
    )
    box = drawn.getbbox()
    if box is None:
        raise ValueError("expected a drawing, found a white picture")
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
    """Return the source files that `packages` lacks."""
    return [str(source.locate(packages)) for source in sources if not source.locate(packages).is_file()]


def main() -> int:
    """Parse the arguments and make every picture."""
    parser = argparse.ArgumentParser(description="Make the sample pictures again, from unpacked packages.")
    parser.add_argument("packages", type=Path, help="folder with one unpacked package per sub-folder")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: the script's own)")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None  # drawings have up to 13000 x 13000 pixels
    sources = read_sources(HERE / "SOURCES.csv")
    missing_files = missing(sources, arguments.packages)
    if missing_files:
        print("not found:", *missing_files, sep="\n  ", file=sys.stderr)
        return 1
    for source in sources:
        make(source, arguments.packages, arguments.out)
    print(f"{len(sources)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
