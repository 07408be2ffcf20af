"""Draws that are the same in every Python version, on any machine."""

import random
from collections.abc import Mapping, Sequence
from typing import Any


def pick(rng: random.Random, pool: Sequence[Any]) -> Any:
    """One of a pool, all alike."""
    # random() alone is promised to be the same in every Python version.
    return pool[int(rng.random() * len(pool))]


def draw(rng: random.Random, shares: Mapping[str, float]) -> str:
    """A kind, by its share; the shares sum to 1."""
    threshold = rng.random()
    for kind, share in shares.items():
        threshold -= share
        if threshold < 0:
            return kind
    return kind
