"""Tokens of several texts."""

from typing import NamedTuple

import numpy as np


class Tokens(NamedTuple):
    """Tokens of N texts, end to end.

    Attributes:
      values: int32 ``[sum of lengths]``.
      lengths: ``[N]``.
    """

    values: np.ndarray
    lengths: np.ndarray
