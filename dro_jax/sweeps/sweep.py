"""What a sweep is made of, as gin files describe it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dro_jax.sweeps.axes import Axis


@dataclasses.dataclass(frozen=True)
class Search:
    """Drawing from ranges instead of running all combinations.

    Attributes:
      num_trials: settings drawn in all, for each combination of the stage's other axes;
        each is run with all seeds, and is as good as their mean.
      metric: what is optimised: a figure of the run's evaluation (`reward`, `kl`), or a
        name in its `metrics.jsonl` (`eval/loss`), of which the last value counts.
      direction: `maximize` or `minimize`.
      sampler: `random`, `tpe` or `qmc`.
      startup_trials: of `tpe`, which draws so many at random before it learns from them.
      seed: of the sampler.
    """

    num_trials: int
    metric: str = "reward"
    direction: str = "maximize"
    sampler: str = "tpe"
    startup_trials: int = 10
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Pruning:
    """Ending trials early that do worse than others at the same step.

    Attributes:
      metric: a name in the run's `metrics.jsonl`; over prompts `reward`, the evaluation's
        first one, or `reward/NAME`.
      direction: `maximize` or `minimize`.
      method: `median`, against other settings' trials; or `wilcoxon`, against the best
        setting, pairwise.
      over: of `wilcoxon`: `seeds`, that both settings have run up to a step; or `prompts`
        of the evaluation, by which a setting's later seeds are spared.
      within: axes; a trial is compared with those of the same values alone, as of one
        objective, since losses of two objectives say nothing of each other. Those of
        `Sweep.conditions` count too.
      warmup_steps: before which nothing is pruned.
      startup_trials: so many of a group end before any is pruned.
      p_threshold: of `wilcoxon`.
    """

    metric: str
    direction: str = "minimize"
    method: str = "median"
    over: str = "seeds"
    within: Sequence[str] = ("objective",)
    warmup_steps: int = 0
    startup_trials: int = 5
    p_threshold: float = 0.1


@dataclasses.dataclass(frozen=True)
class Stage:
    """Runs that can be made once those of the stages before are done.

    In values of bindings `$NAME` is the folder of stage NAME's run, of several that of the
    run whose axes agree with the trial's, and `$SWEEP_DIR` the sweep's. Among files it is
    the axis of `Files` whose files stand there. Text that gin would read as a reference,
    `'@optimizers.adamw()'`, is one.

    Attributes:
      name: the folder's.
      gin_files: as those of `dro-jax train`, in this order.
      bindings: by name.
      axes: what the runs differ in; none, one run.
      search: where an axis is a range.
      pruning: of this stage's runs.
      evaluated: whether its runs are evaluated, and stand in the report.
    """

    name: str
    gin_files: Sequence[str]
    bindings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    axes: Sequence[Axis] = ()
    search: Search | None = None
    pruning: Pruning | None = None
    evaluated: bool = True


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How runs are evaluated, as by `dro-jax evaluate`.

    Attributes:
      gin_files: of rewards and judges.
      bindings: of these, by name; `$NAME` as in a stage.
      task, split, num_prompts, num_samples, temperature, seed, batch_size: the flags of
        that name; None, the command's own default.
    """

    gin_files: Sequence[str] = ()
    bindings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    task: str | None = None
    split: str | None = None
    num_prompts: int | None = None
    num_samples: int | None = None
    temperature: float | None = None
    seed: int | None = None
    batch_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Objectives, settings and seeds side by side.

    Attributes:
      stages: in their order; the last one's runs are compared.
      name: the title of the report; default, the gin file's name.
      evaluation: of runs; None, they are trained alone.
      compared: the axis whose values the report compares.
      conditions: axes of what is given, as noise in the data, within whose values runs
        are compared and settings chosen; other axes are settings to choose from.
      budget_tokens: real tokens, prompts' and responses', that each run of the last stage
        trains on; None, equal `TRAIN_STEPS`.
    """

    stages: Sequence[Stage]
    name: str | None = None
    evaluation: Evaluation | None = None
    compared: str = "objective"
    conditions: Sequence[str] = ()
    budget_tokens: int | None = None
