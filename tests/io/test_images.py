"""Images and 16-bit depth images."""

import numpy as np
import pytest
from PIL import Image

from toolbox.errors import UserError
from toolbox.io import image_size, read_depth_png, read_image, write_depth_png, write_image

RED_ABOVE_BLUE = np.zeros((4, 6, 3), np.uint8)
RED_ABOVE_BLUE[:2, :, 0] = 200
RED_ABOVE_BLUE[2:, :, 2] = 100


def test_round_trip_of_rgb(tmp_path):
    write_image(tmp_path / "a.png", RED_ABOVE_BLUE)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RED_ABOVE_BLUE)
    with Image.open(tmp_path / "a.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == (200, 0, 0)


def test_grey_is_read_as_three_equal_channels(tmp_path):
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    write_image(tmp_path / "a.png", grey)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(grey[..., None], 3, axis=2))


def test_exif_orientation_does_not_turn_the_pixels(tmp_path):
    """Cameras describe the stored pixels; a viewer would turn this image to 6 x 4."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RED_ABOVE_BLUE).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert read_image(tmp_path / "a.jpg").shape == (4, 6, 3)
    assert image_size(tmp_path / "a.jpg") == (4, 6)


def test_round_trip_of_16_bit_depth(tmp_path):
    depth = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    write_depth_png(tmp_path / "a.png", depth)
    found = read_depth_png(tmp_path / "a.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, depth)
    assert image_size(tmp_path / "a.png") == (2, 3)


def test_eight_bits_are_no_depth(tmp_path):
    write_image(tmp_path / "a.png", RED_ABOVE_BLUE)
    with pytest.raises(UserError, match=r"a\.png: is no 16-bit depth image \(it is uint8 \(4, 6, 3\)\)"):
        read_depth_png(tmp_path / "a.png")
    with pytest.raises(ValueError, match="float64"):
        write_depth_png(tmp_path / "b.png", np.zeros((2, 3)))


@pytest.mark.parametrize("read", [read_image, read_depth_png, image_size])
@pytest.mark.parametrize("content", [b"", b"no image at all"], ids=["empty", "text"])
def test_an_unreadable_image_is_named(tmp_path, read, content):
    (tmp_path / "000042.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"000042\.jpg: cannot be decoded as an image"):
        read(tmp_path / "000042.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_image_is_named_and_not_half_read(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    write_image(path, noise)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be decoded as an image"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, read_depth_png, image_size])
def test_a_missing_image_is_named(tmp_path, read):
    with pytest.raises(UserError, match=r"000043\.jpg: does not exist"):
        read(tmp_path / "000043.jpg")


def test_a_suffix_without_a_format_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.nothing: cannot be written"):
        write_image(tmp_path / "a.nothing", RED_ABOVE_BLUE)
    assert list(tmp_path.iterdir()) == []
