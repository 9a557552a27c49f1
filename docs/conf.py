"""How the site is built: ``python -m sphinx -W -b html docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from tinycnn import __version__

project = "tinycnn"
author = "the tinycnn authors"
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "formulas"]
exclude_patterns = ["_build", "_ext", "notebooks/*.ipynb"]  # which a reader has made to run them

# Text and notebooks are Markdown (MyST); a page that begins with a kernel's name is run.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # in _build: only what changed is run again
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# The reference comes from docstrings, in which `this` is code.
default_role = "py:obj"
# Every class in a signature and every error must be in the reference; code may be anything.
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    ("py:class|py:exc", r"(numpy|collections|os|pathlib|pd)\..*|Figure|NotFittedError"),
    ("py:class", r"tinycnn\.layers\.containers\.Sequential"),  # what tinycnn.Sequential is derived from
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "tinycnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "outlines"
html_sidebars = {"**": ["globaltoc.html"]}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_center": [],  # the sidebar has all pages, in groups
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copyright = "the tinycnn authors, MIT licence"
