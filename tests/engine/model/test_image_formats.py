from __future__ import annotations

import gzip
import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from clipshelf.errors import ImageError, InputError
from clipshelf.model.image import ImageReader
from clipshelf.model.image_decoding import read_rgb
from clipshelf.model.image_formats import recognise
from clipshelf.model.image_limits import DEFAULT_FORMATS, ImageLimits
from PIL import Image
from support.pictures import encode, halves

CORPUS = Path(__file__).parents[2] / "support/corpus"
ALL = ImageLimits(formats=(*DEFAULT_FORMATS, "JPEG2000", "QOI", "PPM", "ICO", "TGA", "PCX", "DDS", "MPO"))


def media(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 4 + len(body)) + body + bytes(200)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "an empty file"),
        (bytes(100), "nothing but zeros"),
        (media(b"heic", b"mif1", b"heic"), "HEIC"),
        (media(b"mif1", b"mif1", b"heic"), "HEIC"),
        (media(b"mif1", b"avif"), "AVIF"),
        (media(b"isom", b"mp42"), "an MP4 or QuickTime video"),
        (media(b"crx ", b"isom"), "Canon CR3"),
        (media(b"zzzz"), "a media file of brand 'zzzz'"),
        (b"\xff\x0a" + bytes(200), "JPEG XL"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"></svg>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg/>', "XML"),
        (b'<?xml version="1.0"?>\n<svg width="8">', "SVG"),
        (b"<!DOCTYPE html><html><body>404 <svg/></body></html>", "HTML"),
        (b"\n <HTML><head>", "HTML"),
        (b'{"error": "not found"}', "JSON"),
        (b"%PDF-1.7\n" + bytes(100), "PDF"),
        (b"8BPS\0\1" + bytes(100), "PSD, which is decoded only where ImageLimits.formats asks for PSD"),
        (b"qoif" + bytes(100), "QOI, which is decoded only where"),
        (b"P6 8 8 255\n" + bytes(192), "PPM, which is decoded only where"),
        (b"PK\3\4" + bytes(100), "a ZIP archive"),
        (gzip.compress(b"<svg/>", mtime=0), "a gzip file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: fetch the file first"),
        (b"\0\5\x16\7" + bytes(100), "an AppleDouble file"),
        (b"gimp xcf v011", "XCF"),
        (b"\x1aE\xdf\xa3" + bytes(50), "a Matroska or WebM video"),
    ],
)
def test_what_is_no_picture_to_us_is_named(data: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=rf"{len(data)} bytes: expected a picture, found: {re.escape(name)}"):
        read_rgb(data)


def test_every_format_that_pillow_writes_is_recognised() -> None:
    names = {
        "JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "GIF": "GIF", "TIFF": "TIFF", "BMP": "BMP", "WEBP": "WEBP",
        "AVIF": "AVIF", "JPEG2000": "JPEG2000", "ICO": "ICO", "PPM": "PPM", "EPS": "EPS", "DDS": "DDS", "PDF": "PDF",
    }  # fmt: skip
    for format_, name in names.items():
        try:
            data = encode(halves(), format_)
        except (KeyError, OSError):
            continue  # this Pillow does not write it
        assert recognise(data) == name


@pytest.mark.parametrize("format_", ["JPEG2000", "PPM", "ICO", "TGA", "PCX", "DDS"])
def test_a_rare_format_is_decoded_where_it_is_asked_for(format_: str) -> None:
    data = encode(halves().resize((64, 32)), format_)
    with pytest.raises(ImageError):
        read_rgb(data)
    assert np.asarray(read_rgb(data, ALL))[2, 2].tolist() == pytest.approx([255, 0, 0], abs=9)
    with pytest.raises(ImageError, match="bytes: expected a picture, found"):
        read_rgb(data[:8] + bytes(20), ALL)


@pytest.mark.parametrize("name", ["EPS", "IPTC", "WMF", "eps"])
def test_what_starts_an_interpreter_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(InputError, match=f"formats: expected formats that start no interpreter, found {name.upper()}"):
        ImageLimits(formats=(*DEFAULT_FORMATS, name))


def test_a_postscript_file_that_the_caller_opened_is_not_run(tmp_path: Path) -> None:
    image = Image.open(io.BytesIO(encode(halves(), "EPS")))
    with pytest.raises(ImageError, match=r"EPS, which is not decoded but run; load it before it is passed on"):
        read_rgb(image)
    assert image.tile
    rare = Image.open(io.BytesIO(encode(halves(), "PPM")))
    with pytest.raises(ImageError, match=r"PPM, which is decoded only where ImageLimits\.formats asks for PPM"):
        read_rgb(rare)
    rare.load()
    assert read_rgb(rare).size == (16, 8)
    stub = Image.open(io.BytesIO(b"GRIB" + bytes(3) + b"\1" + bytes(100)))
    with pytest.raises(ImageError, match="GRIB"):
        read_rgb(stub)


def test_a_format_whose_decoder_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipshelf.model.image_formats._factory", lambda _: None)
    with pytest.raises(ImageError, match=r"HEIC.*pip install 'clipshelf\[formats\]'"):
        read_rgb(media(b"heic"))
    with pytest.raises(ImageError, match=r"JPEG XL.*pip install pillow-jxl-plugin"):
        read_rgb(b"\xff\x0a\x48" + bytes(20))


@pytest.mark.parametrize("name", ["rgb.heic", "lossless.jxl", "lossy.jxl", "rgba.avif"])
def test_plugins_are_used_where_they_are_installed(name: str) -> None:
    """The corpus has a tall picture or a square one, which look the same however they are compressed."""
    data = (CORPUS / name).read_bytes()
    try:
        pixels = np.asarray(read_rgb(data)).astype(int)
    except ImageError as error:
        assert "which needs" in str(error)
        pytest.skip(str(error))
    shape = (64, 64) if name == "rgb.heic" else (24, 16) if name == "rgba.avif" else (16, 24)
    assert pixels.shape == (*shape, 3)
    png = Image.fromarray(np.asarray(read_rgb((CORPUS / "rgb.bmp").read_bytes())))
    upright = png.transpose(Image.Transpose.ROTATE_270) if name == "rgba.avif" else png
    assert name.startswith(("rgba", "lossless")) or np.abs(pixels - np.asarray(upright.resize(shape[::-1]))).mean() < 20
    with pytest.raises(ImageError, match=r"pixels, more than the limit of 100 "):
        read_rgb(data, ImageLimits(pixels=100))


def test_a_jpeg_of_200_megapixels_is_scaled_while_it_is_decoded(recwarn: pytest.WarningsRecorder) -> None:
    from clipshelf.model.artifact import ImageSpec

    data = encode(Image.new("L", (12240, 16320), 200), "JPEG")
    spec = ImageSpec(size=224, resize="shortest", resize_to=224, resample="bicubic")
    assert (ImageReader(spec).read(data) == 200).all()
    with pytest.raises(ImageError, match=r'199,756,800 pixels, .* decode="fast" takes less'):
        ImageReader(spec, "exact").read(data)
    with pytest.raises(ImageError, match=r"pixels before it is scaled, .*ImageLimits.jpeg_pixels"):
        ImageReader(spec, limits=ImageLimits(jpeg_pixels=100_000_000)).read(data)
    assert not recwarn.list
