from __future__ import annotations

import io

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.errors import ImageError
from clipshelf.model.image_decoding import decode_image, read_rgb
from clipshelf.model.image_sources import CroppedImage, source_name
from PIL import Image


def gradient(width: int, height: int) -> Image.Image:
    rows = np.arange(height)[:, None].repeat(width, 1)
    columns = np.arange(width)[None].repeat(height, 0)
    return Image.fromarray(np.stack([columns, rows, columns * 0], axis=2).astype(np.uint8))


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.0, 0.0, 1.0, 1.0), (0, 0, 200, 100)),
        ((0.25, 0.5, 0.75, 1.0), (50, 50, 150, 100)),
        ((0.999, 0.999, 1.0, 1.0), (199, 99, 200, 100)),
        ((0.5, 0.5, 0.5001, 0.5001), (100, 50, 101, 51)),
    ],
)
def test_a_part_is_in_fractions_of_the_edges(
    box: tuple[float, float, float, float], pixels: tuple[int, int, int, int]
) -> None:
    picture = gradient(200, 100)
    assert CroppedImage(picture, box).pixels(200, 100) == pixels
    np.testing.assert_array_equal(read_rgb(CroppedImage(picture, box)), picture.crop(pixels))


def test_a_part_is_embedded_as_that_part_alone(engine: Engine) -> None:
    picture = gradient(240, 240)
    part = engine.embed_images([CroppedImage(picture, (0.5, 0.0, 1.0, 0.5))])
    np.testing.assert_array_equal(part, engine.embed_images([picture.crop((120, 0, 240, 120))]))
    assert not np.allclose(part, engine.embed_images([picture]))


def test_a_part_is_of_the_upright_picture() -> None:
    picture, file = gradient(200, 100), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise puts it upright
    picture.save(file, "PNG", exif=exif)
    part = read_rgb(CroppedImage(file.getvalue(), (0.0, 0.0, 1.0, 0.25)))
    assert part.size == (100, 50)
    np.testing.assert_array_equal(part, picture.transpose(Image.Transpose.ROTATE_270).crop((0, 0, 100, 50)))


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(ImageError, match="9 bytes: expected a picture"):
        decode_image(CroppedImage(b"no photos", (0, 0, 1, 1)))
    assert source_name(CroppedImage("a.jpg", (0, 0, 1, 1))) == "a.jpg"
