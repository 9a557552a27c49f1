"""The fast reader of pixels against the slow one, and both against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_demo.data.pixels import PIXELS, BrokenRow, parse_pixels, parse_row


def text_of(pixels: np.ndarray) -> bytes:
    return " ".join(map(str, pixels)).encode()


def some_pixels(seed: int, rows: int = 1) -> np.ndarray:
    """Rows of random pixels, each dark, middling or bright: numbers of one, two and three digits."""
    rng = np.random.default_rng(seed)
    limits = rng.choice([10, 100, 256], (rows, 1))
    return rng.integers(0, limits, (rows, PIXELS), dtype=np.uint8)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_both_readers_return_what_was_written(seed, rows):
    pixels = some_pixels(seed, rows)
    texts = [text_of(row) for row in pixels]
    np.testing.assert_array_equal(parse_pixels(texts), pixels)
    np.testing.assert_array_equal([parse_row(text) for text in texts], pixels)


def test_every_value_at_every_number_of_digits():
    pixels = np.arange(PIXELS) % 256
    padded = b" ".join(b"%03d" % value for value in pixels)
    for text in (text_of(pixels), padded):
        np.testing.assert_array_equal(parse_pixels([text])[0], pixels)
        np.testing.assert_array_equal(parse_row(text), pixels)


@given(
    st.integers(0, 2**32), st.integers(0, 5000), st.binary(max_size=4) | st.from_regex(rb"\A[0-9 ]{1,4}\Z")
)
def test_the_fast_reader_never_accepts_what_the_slow_one_refuses(seed, place, patch):
    texts = [text_of(row) for row in some_pixels(seed, 2)]
    texts[0] = (texts[0][:place] + patch + texts[0][place + len(patch) :]).strip()
    try:
        fast = parse_pixels(texts)
    except BrokenRow:
        return
    np.testing.assert_array_equal(fast, [parse_row(text) for text in texts])


@pytest.mark.parametrize("value", [256, 260, 299, 300, 999])
@pytest.mark.parametrize("place", [0, 1000, PIXELS - 1])
def test_a_value_above_255_is_refused(value, place):
    numbers = np.full(PIXELS, 7)
    numbers[place] = value
    with pytest.raises(BrokenRow, match="above 255"):
        parse_pixels([text_of(numbers)])
    with pytest.raises(
        BrokenRow, match=f"pixel {place + 1} is '{value}', expected a whole number from 0 to 255"
    ):
        parse_row(text_of(numbers))


@pytest.mark.parametrize("token", ["-1", "1.5", "x", "1e2", "0x1", "1234", "+3", "nan", "\u0661", "9" * 5000])
def test_what_is_no_number_from_0_to_255_is_refused(token):
    text = f"1 2 {token} ".encode() + b"3 " * (PIXELS - 3)
    with pytest.raises(BrokenRow):
        parse_pixels([text.strip()])
    with pytest.raises(BrokenRow, match=r"pixel 3 is .*, expected a whole number from 0 to 255"):
        parse_row(text)


@pytest.mark.parametrize("count", [0, 1, PIXELS - 1, PIXELS + 1, 2 * PIXELS])
def test_a_wrong_count_is_refused(count):
    text = b" ".join([b"8"] * count)
    with pytest.raises(BrokenRow):
        parse_pixels([text])
    with pytest.raises(BrokenRow, match=f"found {count} pixel values, expected 2304"):
        parse_row(text)


def test_one_row_too_long_and_the_next_too_short_do_not_make_up_for_each_other():
    with pytest.raises(BrokenRow, match="too many or too few"):
        parse_pixels([b" ".join([b"8"] * (PIXELS + 1)), b" ".join([b"8"] * (PIXELS - 1))])


def test_the_slow_reader_accepts_unusual_but_valid_text():
    text = b"0007\t\t 255  " + b"0" * 5000 + b" 00" * (PIXELS - 3)
    np.testing.assert_array_equal(parse_row(text)[:4], [7, 255, 0, 0])
