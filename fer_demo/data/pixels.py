"""From the text of pixel columns, such as ``"70 80 82 ..."``, to bytes.

`parse_row` reads one row number by number: it is the definition of what is valid, and says what is not.
`parse_pixels` reads many rows at once, as arrays of characters, some fifty times as fast. It may refuse a row
that `parse_row` accepts, such as one with many leading zeros, but never accepts one that `parse_row` refuses.
"""

from collections.abc import Sequence

import numpy as np

from fer_demo.data.dataset import IMAGE_SIZE

#: Pixel values in one row.
PIXELS = IMAGE_SIZE * IMAGE_SIZE

_BLANK, _ZERO, _NINE = b" 09"


class BrokenRow(ValueError):
    """A row of a CSV file is not valid; the message says what was found and what was expected."""


def parse_pixels(texts: Sequence[bytes]) -> np.ndarray:
    """Read the pixel columns of many rows at once.

    Every character is one byte of an array. The last digit of a number is a digit followed by a blank; the
    two characters before it are the tens and the hundreds, unless a blank stands between.

    Args:
        texts: N pixel columns, without quotes and without blanks at their ends.

    Returns:
        uint8, (N, 2304).

    Raises:
        BrokenRow: some row is not 2304 numbers of at most three digits from 0 to 255.
    """
    # With blanks around it the first number has two characters before it, and the last one has one after it.
    characters = np.frombuffer(b" ".join([b" ", *texts, b""]), np.uint8)
    is_digit = characters >= _ZERO
    if characters.max() > _NINE or not (is_digit | (characters == _BLANK)).all():
        raise BrokenRow("a character is neither a digit nor a blank")
    digits = characters & 15  # 0 for a blank

    # From here on, index i stands for characters[i + 2], the place of the ones.
    last_digits = np.flatnonzero(is_digit[2:-1] > is_digit[3:])
    row_ends = np.cumsum([len(text) + 1 for text in texts]) - 2
    if len(last_digits) != len(texts) * PIXELS or (last_digits[PIXELS - 1 :: PIXELS] != row_ends).any():
        raise BrokenRow("a row has too many or too few numbers")

    three_digits = is_digit[1:-2] & is_digit[2:-1]
    if (is_digit[:-3] & three_digits & is_digit[3:]).any():
        raise BrokenRow("a number has four digits")
    hundreds = digits[:-3] * three_digits
    below_100 = 10 * digits[1:-2] + digits[2:-1]
    values = 100 * hundreds + below_100
    if hundreds.max() > 2 or (values < below_100).any():  # 256 wraps to 0
        raise BrokenRow("a number is above 255")

    return values.take(last_digits, mode="clip").reshape(len(texts), PIXELS)


def parse_row(text: bytes) -> np.ndarray:
    """Read the pixel column of one row, number by number.

    Returns:
        uint8, (2304,).

    Raises:
        BrokenRow: it is not 2304 whole numbers from 0 to 255.
    """
    tokens = text.split()
    if len(tokens) != PIXELS:
        raise BrokenRow(f"found {len(tokens)} pixel values, expected {PIXELS} ({IMAGE_SIZE} x {IMAGE_SIZE})")
    values = np.zeros(PIXELS, np.uint8)
    for position, token in enumerate(tokens):
        digits = token.lstrip(b"0") or b"0"  # Python takes no number of thousands of digits, even of zeros
        if not token.isdigit() or len(digits) > 3 or int(digits) > 255:
            found = token[:20].decode(errors="replace")
            raise BrokenRow(f"pixel {position + 1} is {found!r}, expected a whole number from 0 to 255")
        values[position] = int(digits)
    return values
