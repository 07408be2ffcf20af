"""What the responses of a sweep's runs earned, prompt by prompt."""

import functools
import math
import pathlib
import statistics
from collections.abc import Mapping

from dro_jax.errors import ConfigError
from dro_jax.evaluation.evaluated_run import EVALUATION, FOLDER, EvaluatedRun

_REWARD = "reward"


@functools.lru_cache(maxsize=1024)
def rewards_by_prompt(run: pathlib.Path, metric: str) -> Mapping[str, float]:
    """The mean reward of a run's responses to each prompt, by the prompt's id.

    What was evaluated is evaluated no more, so it is read once.

    Args:
      run: its folder.
      metric: `reward`, the first one, or `reward/NAME`.

    Returns:
      Means that are finite; none, where the run has no evaluation.

    Raises:
      ConfigError: the evaluation has no such reward.
    """
    done = [path.parent for path in run.glob(f"{FOLDER}/*/{EVALUATION}")]
    if not done:
        return {}
    newest = max(done, key=lambda path: (path / EVALUATION).stat().st_mtime)
    found: dict[str, list[float]] = {}
    for response in EvaluatedRun.read(newest).responses:
        names = [*response.rewards]
        name = names[0] if metric == _REWARD and names else metric.partition("/")[2]
        if name not in names:
            known = ", ".join(["reward", *(f"reward/{one}" for one in names)])
            raise ConfigError(
                f"Pruning.metric = {metric!r} is no reward of the sweep's evaluation; "
                f"there are {known if names else 'none'}"
            )
        found.setdefault(response.prompt_id, []).append(response.rewards[name])
    means = {prompt: statistics.fmean(values) for prompt, values in found.items()}
    return {prompt: x for prompt, x in means.items() if math.isfinite(x)}
