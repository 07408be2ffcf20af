"""`dro-jax calibrate`."""

import functools

import numpy as np

from dro_jax.cli import gin_setup
from dro_jax.cli.named_rewards import MACRO, SUGGESTED, named_rewards
from dro_jax.cli.outputs import Output
from dro_jax.cli.task_modules import SHIPPED
from dro_jax.data.modules import import_modules
from dro_jax.data.prompt_records import prompt_records
from dro_jax.data.tasks import FeedbackTask, feedback_task
from dro_jax.errors import ConfigError
from dro_jax.evaluation import calibration_picture
from dro_jax.evaluation.score_calibration import Calibration, calibration
from dro_jax.messages import say
from dro_jax.paths import make_folder
from dro_jax.rewards.interface import Reward


def run(arguments) -> None:
    """Score a split's records and write how far scores and rewards agree."""
    most = arguments.num_records
    if most is not None and most < 2:
        raise ConfigError(f"--num_records must be at least 2, got {most}")
    gin_setup.parse(
        arguments.gin_file,
        arguments.gin_bindings,
        arguments.gin_search_paths,
        arguments.allow_import,
    )
    import_modules(SHIPPED)
    import_modules(gin_setup.macro("MIXTURE_OR_TASK_MODULE", default=None))
    import_modules(arguments.module, "--module")
    reward = _reward()
    task = _task(arguments.task)
    output = make_folder(arguments.output_dir, "--output_dir")
    files = {
        kind: Output.at("--output_dir", output / f"calibration.{kind}")
        for kind in ("json", "png")
    }
    records, known = (
        task.records(arguments.split),
        prompt_records([task], arguments.split),
    )
    places = np.arange(len(records))[:most]
    say(f"scoring {len(places):,} responses of {task.name}, '{arguments.split}' …")
    scores = reward(records.texts(places, "inputs"), records.texts(places, "targets"))
    found = calibration(scores.total, known.rewards[places], known.prompts[places])
    settings = {
        "reward": reward.name,
        "fingerprint": reward.fingerprint,
        "task": task.name,
        "split": arguments.split,
    }
    files["json"].write_json(settings | found.to_json())
    title = f"{reward.name} on {task.name}, '{arguments.split}'"
    draw = functools.partial(calibration_picture.draw, found, title=title)
    files["png"].write_picture(draw)
    print(table(found))
    print(f"written: {output}/calibration.json and .png")


def _reward() -> Reward:
    """That of the gin files, of several the first."""
    found = named_rewards()
    if not found:
        raise ConfigError(f"no reward is named: set {MACRO}, by {SUGGESTED}")
    return found[0]


def _task(name: str | None) -> FeedbackTask:
    name = name or gin_setup.macro("MIXTURE_OR_TASK_NAME", default=None)
    if name is None:
        raise ConfigError(
            "no task is named: give --task=NAME (`dro-jax tasks list` shows those that "
            "are registered), or a gin file of gin_configs/tasks"
        )
    return feedback_task(name)


def table(found: Calibration) -> str:
    """Correlations, then both calibrations in lines of equal columns."""
    said = found.agreement
    lines = [
        f"{said.count:,} responses",
        f"  Pearson {said.pearson:.3f}, Spearman {said.spearman:.3f}",
        f"{said.num_pairs:,} pairs of one prompt with different rewards",
        f"  accuracy {said.pair_accuracy:.3f}, error {found.preference_error:.3f}",
        "",
        "    score   reward  responses",
        *(
            f"{one.mean_score:9.3f} {one.mean_reward:8.3f} {one.count:10,}"
            for one in found.scores
        ),
    ]
    if found.preferences:
        lines += [
            "",
            "predicted    right      pairs",
            *(
                f"{one.mean_probability:9.3f} {one.share_right:8.3f} {one.count:10,}"
                for one in found.preferences
            ),
        ]
    return "\n".join(lines)
