"""Sweeps: axes over any setting, the trials that they make, and where these are kept.

A trial is an ordinary `dro-jax train` run in a folder of its own. Gin files describe a
sweep by the classes that this package names; `dro_jax.cli` reads them.
"""

from dro_jax.sweeps.axes import Files, Grid, Integers, Seeds, Uniform, Zip
from dro_jax.sweeps.sweep import Evaluation, Pruning, Search, Stage, Sweep

__all__ = [
    "Evaluation",
    "Files",
    "Grid",
    "Integers",
    "Pruning",
    "Search",
    "Seeds",
    "Stage",
    "Sweep",
    "Uniform",
    "Zip",
]
