"""Pictures of models and of what they learnt.

`architecture` draws a model as SVG and needs nothing beside Python. The others return Matplotlib's `Figure`,
to be shown by a notebook or saved by ``figure.savefig("curves.png")``; they need
``pip install 'tinycnn[plot]'`` and leave pyplot alone: no window, no state shared between threads.

>>> import tinycnn as tc
>>> from tinycnn import plot
>>> svg = plot.architecture(tc.Sequential([tc.Flatten(), tc.Dense(4, 2, rng=0)], input_shape=(2, 2, 1)))
>>> svg.startswith("<svg ")
True
"""

from tinycnn.plot.diagram import architecture
from tinycnn.plot.figures import confusion_matrix, curves
from tinycnn.plot.grids import feature_grid, filters

__all__ = ["architecture", "confusion_matrix", "curves", "feature_grid", "filters"]
