"""What does a network look at? Five ways to ask, of any `Sequential`, with no change to its layers.

| question | function |
| --- | --- |
| What does each layer make of the image? | `feature_maps` |
| Which pixels would change the score most? | `saliency` |
| Which pixels speak for the class? | `guided_backpropagation` |
| In which region is the evidence? | `grad_cam` |
| What happens to the score if a region is covered? | `occlusion` |

All but the first explain *scores*: the numbers before a final `Softmax`, which is left out as in training.
A probability can rise because another class's score falls; a score says what speaks for the class itself.
Networks are explained as they are used, in evaluation: batch norm with its running statistics, dropout off.
The model's parameters, gradients, state and caches stay as they are, for all the work is done on a copy.

>>> import numpy as np
>>> import tinycnn as tc
>>> from tinycnn import explain
>>> features = {"conv": tc.Conv2D(1, 4, 3, padding="same", rng=0), "relu": tc.ReLU()}
>>> head = {"mean": tc.GlobalAvgPool2D(), "dense": tc.Dense(4, 2, rng=1), "softmax": tc.Softmax()}
>>> model = tc.Sequential({**features, **head})
>>> x = np.random.default_rng(0).standard_normal((3, 8, 8, 1)).astype(np.float32)
>>> {path: maps.shape for path, maps in explain.feature_maps(model, x, ["conv", "mean"]).items()}
{'conv': (3, 8, 8, 4), 'mean': (3, 4)}
>>> explain.grad_cam(model, x, class_index=1).shape
(3, 8, 8)
"""

from tinycnn.explain.cam import grad_cam, resize
from tinycnn.explain.gradients import feature_maps, guided_backpropagation, saliency
from tinycnn.explain.occlusion import occlusion

__all__ = ["feature_maps", "grad_cam", "guided_backpropagation", "occlusion", "resize", "saliency"]
