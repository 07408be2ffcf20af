"""What a run writes in its `MODEL_DIR`: one table, for writers, `--overwrite` and docs.

Writers take their names from here. `train --overwrite` deletes what the table lists and
nothing else, so that what a person keeps in the folder stays.
"""

import dataclasses
import os
import pathlib
import re

from etils import epath

from dro_jax.evaluation.evaluated_run import FOLDER as EVALUATIONS
from dro_jax.interop import reward_model_folder
from dro_jax.paths import checkpoint_step

CHECKPOINT = "checkpoint"  # a folder `checkpoint_N`; T5X's name
RUN = "run"  # a folder of each checkpoint: what a resumed run needs beside its arrays
CONFIG = "config.gin"
METRICS = "metrics.jsonl"
PRUNED = "pruned.json"
TENSORBOARD = "tensorboard"
SAMPLES = "samples.jsonl"
SAMPLED_REFERENCE = "sampled_reference"
FRESH_SAMPLES = "fresh_samples"
MOVED_REFERENCE = "moved_reference"
REWARD_STATISTICS = "reward_statistics.json"
REFERENCE_CACHE = "reference_cache"
REFERENCE_CACHE_REPORT = "reference_cache.json"
REFERENCE_SAMPLES = "reference_samples"
VALUE_OF_REFERENCE = "value_of_reference"
VALUE_OF_REFERENCE_REPORT = "value_of_reference.json"
ADVANTAGES = "advantages.json"
REWARD_MODEL = reward_model_folder.FOLDER
OWNER = "owner.json"

# Files are written under another name first, and renamed when they are whole.
_PARTIAL = r"(\.[0-9a-f]{32})?\.partial"


@dataclasses.dataclass(frozen=True)
class RunFile:
    """One file or folder of a run.

    Attributes:
      name: as people read it; N stands for a step.
      holds: what is in it.
      folder: whether it is a folder.
      pattern: a regular expression of its names; default, the name itself.
    """

    name: str
    holds: str
    folder: bool = False
    pattern: str | None = None

    def matches(self, name: str) -> bool:
        """Whether a file or folder of that name is this one, half written or whole."""
        pattern = self.pattern or re.escape(self.name)
        return re.fullmatch(f"(?:{pattern})(?:{_PARTIAL}){{0,2}}", name) is not None


RUN_FILES = (
    RunFile(
        f"{CHECKPOINT}_N",
        "parameters and optimiser in T5X's layout (`state/`), and what a resumed run "
        "needs beside (`run/`)",
        folder=True,
        pattern=rf"{CHECKPOINT}_\d+(\.orbax-checkpoint-tmp.*)?",
    ),
    RunFile(CONFIG, "the run's settings"),
    RunFile(
        "config_until_step_N.gin",
        "those before a change by `--allow_change`",
        pattern=r"config_until_step_\d+\.gin",
    ),
    RunFile(
        METRICS,
        "a line of numbers for each log period",
        # Earlier versions rewrote it as `metrics.partial`.
        pattern=r"metrics\.jsonl|metrics(?=\.partial$)",
    ),
    RunFile(TENSORBOARD, "the same for TensorBoard", folder=True),
    RunFile(PRUNED, "after which step a sweep ended the run early, and why"),
    RunFile(SAMPLES, "a few sampled responses of each evaluation"),
    RunFile(
        SAMPLED_REFERENCE, "what the reference answers the same prompts", folder=True
    ),
    RunFile(
        FRESH_SAMPLES,
        "of a run that samples: its rounds, `round_N.npz`, as far as they are needed",
        folder=True,
    ),
    RunFile(
        MOVED_REFERENCE,
        "policies that became a run's reference on its way",
        folder=True,
    ),
    RunFile(REWARD_STATISTICS, "the rewards before and after their transform; drops"),
    RunFile(REFERENCE_CACHE, "the reference's log-probabilities", folder=True),
    RunFile(REFERENCE_CACHE_REPORT, "where these lie, and how many were computed"),
    RunFile(
        REFERENCE_SAMPLES,
        "the reference's own responses and their rewards",
        folder=True,
    ),
    RunFile(VALUE_OF_REFERENCE, "V_ref: its parameters and values", folder=True),
    RunFile(VALUE_OF_REFERENCE_REPORT, "how well V_ref was fitted"),
    RunFile(
        ADVANTAGES,
        "r − V_ref of the records: histogram, what is left over, of which source, and "
        "the records of the most and the least",
    ),
    RunFile(
        REWARD_MODEL,
        "of a reward model: its sizes, how it reads texts, its vocabulary",
        folder=True,
    ),
    RunFile(
        "non_finite_step_N.json",
        "the records of a step whose loss or gradient was not finite",
        pattern=r"non_finite_step_\d+\.json",
    ),
    RunFile(
        EVALUATIONS, "what `dro-jax evaluate` found of its checkpoints", folder=True
    ),
    RunFile(OWNER, "the process that trains here, while it does"),
)


def non_finite_report(step: int) -> str:
    """The name of the report of a step that was not finite."""
    return f"non_finite_step_{step}.json"


def config_until(step: int) -> str:
    """The name of the settings that a run had up to a step."""
    return f"config_until_step_{step}.gin"


def progress_file(checkpoint: pathlib.Path) -> pathlib.Path:
    """Where a checkpoint's progress lies, as Orbax keeps JSON."""
    return checkpoint / RUN / "metadata"


def is_checkpoint(name: str) -> bool:
    """Whether a whole checkpoint is called so."""
    return checkpoint_step(name) is not None


def has_checkpoint(folder: str | os.PathLike | None) -> bool:
    """Whether a run of that folder, local or not, goes on from a checkpoint.

    T5X's names are the same.
    """
    if folder is None:
        return False
    path = epath.Path(folder)
    return path.is_dir() and any(is_checkpoint(x.name) for x in path.iterdir())


def is_made_by_a_run(name: str, *, folder: bool) -> bool:
    """Whether what is called so in a `MODEL_DIR` comes from a run."""
    return any(made.matches(name) for made in RUN_FILES if made.folder == folder)
