"""How far a window slides: padding and output sizes, shared by both backends and by the layers.

`Pad` is always the four explicit numbers ``((top, bottom), (left, right))``.
"""

from functools import cache

from tinycnn.checks import refuse
from tinycnn.errors import ShapeError

Pad = tuple[tuple[int, int], tuple[int, int]]
Pair = tuple[int, int]

NO_PAD: Pad = ((0, 0), (0, 0))
#: No window, step or margin is longer in pixels: a margin is memory, and all three are 64-bit numbers later.
MAX_LENGTH = 2**15


def pair(value: int | Pair, name: str) -> Pair:
    """Return ``(h, w)`` from one number for both or from two.

    Raises:
        ConfigError: not one or two whole numbers from 1 to `MAX_LENGTH`.
    """
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, list | tuple) or len(both) != 2 or not all(_is_length(v, 1) for v in both):
        refuse(name, value, f"a whole number from 1 to {MAX_LENGTH}, or two of them")
    return both[0], both[1]


def _is_length(value: object, minimum: int) -> bool:
    return type(value) is int and minimum <= value <= MAX_LENGTH


def check_padding(padding: str | Pad) -> str | Pad:
    """Return `padding` with explicit numbers as tuples.

    Raises:
        ConfigError: neither "valid" nor "same" nor ``((top, bottom), (left, right))``.
    """
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding
    try:
        (top, bottom), (left, right) = padding  # type: ignore[str-unpack]
        if all(_is_length(v, 0) for v in (top, bottom, left, right)):
            return ((top, bottom), (left, right))  # type: ignore[return-value]
    except (TypeError, ValueError):
        pass
    expected = "'valid', 'same' or ((top, bottom), (left, right)) in whole numbers"
    refuse("padding", padding, f"{expected} of at least 0 and at most {MAX_LENGTH}")


@cache
def resolve_pad(size: Pair, window: Pair, stride: Pair, padding: str | Pad) -> Pad:
    """Return the explicit padding of a window over an (H, W) map.

    "same" gives ``ceil(size / stride)`` outputs with the odd remainder at the bottom and the right, as
    TensorFlow and Keras define it.
    """
    if padding == "valid":
        return NO_PAD
    if padding == "same":
        rows, columns = (
            max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, window, stride, strict=True)
        )
        return ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return padding  # type: ignore[return-value]


@cache
def output_size(size: Pair, window: Pair, stride: Pair, pad: Pad) -> Pair:
    """Return (OH, OW), the number of places where the window fits.

    Raises:
        ShapeError: the window fits nowhere.
    """
    out = tuple((n + sum(p) - k) // s + 1 for n, k, s, p in zip(size, window, stride, pad, strict=True))
    if min(out) < 1:
        raise ShapeError(
            f"a {window[0]}x{window[1]} window does not fit into a {size[0]}x{size[1]} map "
            f"with padding {pad}: "
            "use a larger input or padding='same'"
        )
    return out  # type: ignore[return-value]
