import numpy as np
import pytest

from toolbox.visualization import contact_sheet


def plain(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_stand_in_rows_under_their_labels():
    colours = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    sheet = contact_sheet([(f"view {i}", plain(30, 40, c)) for i, c in enumerate(colours)], columns=2)
    assert sheet.shape == (2 * (30 + 22) + 3 * 4, 2 * 40 + 3 * 4, 3)
    for i, colour in enumerate(colours):
        top, left = 4 + (i // 2) * 56, 4 + (i % 2) * 44
        assert (sheet[top + 22 : top + 52, left : left + 40] == colour).all()
        label = sheet[top : top + 22, left : left + 40]
        assert label.max() > 150, "white letters"
        assert np.median(label) == 32, "on a dark bar"
    assert (sheet[60:, 48:] == 255).all(), "the fourth place stays empty"


def test_sizes_may_differ_and_grey_is_welcome():
    grey = np.full((20, 20), 77, np.uint8)
    sheet = contact_sheet([("grey", grey), ("wide", plain(30, 60, 9))], columns=5, tile_width=30)
    assert sheet.shape == (30 + 22 + 8, 2 * 30 + 3 * 4, 3)
    assert (sheet[26:56, 4:34] == 77).all()
    assert (sheet[26:41, 38:68] == 9).all()


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([], columns=2)
    with pytest.raises(ValueError, match="at least one picture and one column"):
        contact_sheet([("a", plain(3, 3, 0))], columns=0)
