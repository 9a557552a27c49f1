"""Text on the page can be read, in light and dark: contrast of at least 4.5 (WCAG 2, level AA)."""

import re
from itertools import product
from pathlib import Path

import pytest

import fer_demo.web

CSS = (Path(fer_demo.web.__file__).parent / "static" / "base.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)
)


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


PAIRS = [*product(("ink", "quiet", "accent", "alarm"), ("ground", "raised", "well")), ("on-accent", "accent")]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "behind"), PAIRS)
def test_text_can_be_read(colours, text, behind):
    assert contrast(colours[text], colours[behind]) >= 4.5


def test_contrast_is_measured_right():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )  # just too little, as WCAG's tools say
