"""The dtypes that kernels are tested in."""

import os

import numpy as np
from hypothesis import strategies as st

#: TESTED_DTYPES=float32 leaves one of the two, and half as much to compile.
DTYPES = st.sampled_from(
    [np.dtype(name).type for name in os.environ.get("TESTED_DTYPES", "float32 float64").split()]
)
