"""Formulas as SVG outlines, set by Matplotlib: no script, no font, and no request to another server.

Matplotlib knows the part of TeX that is listed under "mathtext" in its documentation; what it does not know
is an error of the build.
"""

from html import escape

from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_WORD_JOINER = "&#8288;"
_EM = 1000  # units of the outline to one em
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def _svg(tex: str) -> str:
    """Return a formula as an SVG that stands on the line of the text around it, in that text's colour."""
    formula = " ".join(tex.split())
    outline = TextPath((0, 0), f"${formula}$", size=_EM, prop=FontProperties(math_fontfamily="cm"))
    box = outline.get_extents()
    steps = []
    for points, code in outline.iter_segments():
        numbers = "" if code == Path.CLOSEPOLY else " ".join(f"{n:.0f}" for n in points)
        steps.append(_LETTERS[code] + numbers)
    frame = f"{box.x0:.0f} {-box.y1:.0f} {box.width:.0f} {box.height:.0f}"
    lengths = {"width": box.width, "height": box.height, "vertical-align": box.y0}
    style = "; ".join(f"{name}: {length / _EM:.3f}em" for name, length in lengths.items())
    return (
        f'<svg class="formula" role="img" aria-label="{escape(formula)}" viewBox="{frame}" style="{style}">'
        f'<path transform="scale(1 -1)" fill="currentColor" d="{"".join(steps)}" /></svg>'
    )


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_svg(node.astext()) + _WORD_JOINER)  # a comma behind it stays on its line
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    tex = node.astext().replace(r"\frac", r"\dfrac")  # there is room for full size
    translator.body.append(f'<div class="formula">{_svg(tex)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name "outlines"."""
    app.add_html_math_renderer("outlines", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
