"""PFM files: the format read bit by bit, the errors of broken ones."""

import struct

import numpy as np
import pytest

from toolbox.errors import UserError
from toolbox.io import read_pfm, write_pfm

ROWS = np.array([[1.5, -2.0, 3.25], [np.inf, 0.0, 1e-30]], np.float32)  # top row first


def test_round_trip_is_exact(tmp_path):
    write_pfm(tmp_path / "a.pfm", ROWS)
    found = read_pfm(tmp_path / "a.pfm")
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, ROWS)


def test_round_trip_of_colour(tmp_path):
    colour = np.arange(2 * 5 * 3, dtype=np.float64).reshape(2, 5, 3) / 7
    write_pfm(tmp_path / "a.pfm", colour)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), colour.astype(np.float32))


def test_what_is_written_is_the_format(tmp_path):
    """Width before height, the bottom row first, little endian for a negative scale."""
    write_pfm(tmp_path / "a.pfm", ROWS)
    expected = b"Pf\n3 2\n-1.0\n" + struct.pack("<6f", np.inf, 0.0, 1e-30, 1.5, -2.0, 3.25)
    assert (tmp_path / "a.pfm").read_bytes() == expected


def test_big_endian_and_a_comment(tmp_path):
    pixels = struct.pack(">6f", np.inf, 0.0, 1e-30, 1.5, -2.0, 3.25)
    (tmp_path / "a.pfm").write_bytes(b"Pf\n# by hand\n3 2\n1.0\n" + pixels)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), ROWS)


def test_pixels_that_look_like_line_ends_are_pixels(tmp_path):
    newlines = np.frombuffer(b"\n\n\n\n#\n#\n" * 3, np.float32).reshape(2, 3)
    write_pfm(tmp_path / "a.pfm", newlines)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), newlines)


def test_a_truncated_file_is_named_with_what_is_missing(tmp_path):
    write_pfm(tmp_path / "depth.pfm", ROWS)
    whole = (tmp_path / "depth.pfm").read_bytes()
    (tmp_path / "depth.pfm").write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"depth\.pfm: is truncated: 23 bytes .* 3 x 2 asks for 24"):
        read_pfm(tmp_path / "depth.pfm")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Pf\n3 2\n",
        b"P6\n3 2\n255\n" + bytes(18),
        b"Pf\n3\n-1.0\n",
        b"Pf\n0 2\n-1.0\n",
        b"Pf\n3 2\n0\n" + bytes(24),
    ],
)
def test_what_is_no_pfm_is_named(tmp_path, content):
    (tmp_path / "depth.pfm").write_bytes(content)
    with pytest.raises(UserError, match=r"depth\.pfm: is no PFM file"):
        read_pfm(tmp_path / "depth.pfm")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.pfm: cannot be read"):
        read_pfm(tmp_path / "absent.pfm")


def test_other_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(4, 5, 2\)"):
        write_pfm(tmp_path / "a.pfm", np.zeros((4, 5, 2)))
    assert not (tmp_path / "a.pfm").exists()
