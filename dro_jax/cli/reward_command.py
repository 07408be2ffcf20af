"""`dro-jax reward`."""

import threading
from collections.abc import Sequence

import numpy as np

from dro_jax.cli import gin_setup
from dro_jax.cli.named_rewards import MACRO, SUGGESTED, named_rewards
from dro_jax.cli.result_fields import ResultFields
from dro_jax.cli.rewarded_records import PARTS, REWARD, REWARDS, Rewarded
from dro_jax.data.raw_records import read_raw
from dro_jax.data.record_format import RecordFormat
from dro_jax.errors import ConfigError
from dro_jax.plurals import counted
from dro_jax.progress_bar import ProgressBar
from dro_jax.rewards.cached import score_gradually
from dro_jax.rewards.interface import Reward, Scores

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def run(arguments) -> None:
    """Score the responses of a file."""
    names = (REWARD, REWARDS, PARTS)
    fields = ResultFields(names, arguments.rename_field)
    gin_setup.parse(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
    )
    rewards = named_rewards()
    if not rewards:
        raise ConfigError(f"no reward is given: set {MACRO}, by {SUGGESTED}")
    arguments.output.check_holds_records(arguments.input)
    records = read_raw(arguments.input)
    for name in names:
        fields.check_free(records, name)
    record_format = RecordFormat(
        prompt_field=arguments.prompt_field, response_field=arguments.response_field
    )
    found = Rewarded.of(records, record_format)
    scores = {
        reward.name: _scored(reward, found.prompts, found.responses)
        for reward in rewards
    }
    arguments.output.write_records(found.with_scores(scores, fields))
    print(summary(scores))
    print(
        f"{counted(len(found.responses), 'response')} scored: {arguments.output.name}"
    )


def _scored(reward: Reward, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
    lock = threading.Lock()
    with ProgressBar(reward.name, len(responses), unit="responses") as bar:

        def keep(rows: Sequence[int], scores: Scores) -> None:
            with lock:
                bar.advance(len(rows))

        return score_gradually(reward, prompts, responses, keep)


def summary(scores: dict[str, Scores]) -> str:
    """A table: mean, standard deviation and quantiles of each reward and its parts."""
    columns = {}
    for name, found in scores.items():
        columns[name] = found.total
        columns |= {f"{name}/{part}": numbers for part, numbers in found.parts.items()}
    head = ["", "mean", "std", "min", *(f"{q:.0%}" for q in _QUANTILES[1:-1]), "max"]
    rows = [head]
    for name, numbers in columns.items():
        figures = [np.mean(numbers), np.std(numbers), *np.quantile(numbers, _QUANTILES)]
        rows.append([name, *(f"{figure:.4g}" for figure in figures)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in rows
    )
