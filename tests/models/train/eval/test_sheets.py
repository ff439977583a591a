"""Sheets are laid out as told; what is on them is for eyes."""

import numpy as np

from models.train.eval.sheets import CAPTION, GAP, SMALL, enlarged, join, page, strip, titled


def picture(value: int, height: int = 8, width: int = 8) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_a_page_has_rows_of_cells_and_white_between() -> None:
    sheet = page([picture(value) for value in (1, 2, 3)], columns=2)
    assert sheet.shape == (2 * 8 + GAP, 2 * 8 + GAP, 3)
    assert (sheet[:8, :8] == 1).all()
    assert (sheet[:8, 8 + GAP :] == 2).all()
    assert (sheet[8 + GAP :, :8] == 3).all()
    assert (sheet[8 + GAP :, 8:] == 255).all()
    assert (sheet[8 : 8 + GAP] == 255).all()


def test_small_pictures_are_enlarged_and_large_ones_are_not() -> None:
    assert join([picture(1), picture(2)]).shape == (16, 32, 3)
    assert enlarged(picture(1, height=SMALL)).shape == (SMALL, 8, 3)


def test_a_strip_goes_from_the_first_frame_to_the_last() -> None:
    video = np.stack([picture(value) for value in range(9)])
    shown = strip(video, shown=3)
    assert [int(shown[0, column, 0]) for column in (0, 16, 32)] == [0, 4, 8]


def test_a_title_says_its_words_above() -> None:
    named = titled(picture(7, width=200), "a red ball")
    assert named.shape == (8 + CAPTION, 200, 3)
    assert (named[CAPTION:] == 7).all()
    assert (named[:CAPTION] < 128).any()
