"""Runs of task files with a network so small, and texts so short, that steps cost little.

All runs have the same shapes, so that what one has compiled serves the others.
"""

import gin
import numpy as np
import seqio
from small_gin import SIZES

from dro_jax.cli import gin_setup
from dro_jax.cli.train_command import train_from_gin
from dro_jax.training.metric_writers import read_metrics

STEPS = 2
# Every run's: bytes with T5's sentinels, short texts, one device, steps from the first on.
SMALL = [
    "VOCABULARY = 'byte'",
    "EXTRA_IDS = 100",
    "VOCAB_SIZE = 384",
    "TASK_FEATURE_LENGTHS = {'inputs': 32, 'targets': 16}",
    "BATCH_SIZE = 8",
    "SLICE = None",
    "DATA_PARALLEL = 1",
    "FSDP = False",
    "REMAT_POLICY = 'none'",
    "SCAN_LAYERS = False",
    "LOG_PERIOD = 1",
    "EVAL_DATASET = None",
    "WARMUP_STEPS = 0",
    f"train.train.total_steps = {STEPS}",
    f"TRAIN_STEPS = {STEPS}",
    *(f"{name} = {value}" for name, value in SIZES.items()),
]


def objective_of(files, *bindings):
    """The class of the objective that gin files train by."""
    gin_setup.parse(files, [*SMALL, "MODEL_DIR = 'none'", *bindings])
    return type(gin_setup.macro("MODEL").objective).__name__


def cloned(files, model_dir, *bindings, draws=True):
    """Two steps of cloning what gin files are trained on, as their headers say.

    Args:
      files: a run's gin files.
      model_dir: the run's folder.
      *bindings: as `"REDDIT_SHARE = 1.0"`; they come last.
      draws: whether the run's own objective is one that draws records.

    Returns:
      The mean reward of the last batch.
    """
    files = [*files, "gin_configs/objectives/nll.gin"]
    given = [*SMALL, f"MODEL_DIR = '{model_dir}'", *bindings]
    if draws:
        given.append("SAMPLING = 'none'")
    train_from_gin(files, given)
    last = read_metrics(model_dir)[-1]
    assert last["step"] == STEPS
    assert np.isfinite(last["loss"])
    return last["rewards/mean"]


def forget(before):
    """Takes tasks that runs have made, and gin's settings, away again.

    Args:
      before: the names of tasks that stay.
    """
    gin.clear_config()
    for name in set(seqio.TaskRegistry.names()) - before:
        if name.endswith("_of_run"):
            seqio.TaskRegistry.remove(name)
