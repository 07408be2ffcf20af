"""Responses to held-out prompts, sampled at each evaluation of a run and measured."""

import functools
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from dro_jax.data.interface import Dataset
from dro_jax.errors import DataError
from dro_jax.evaluation.asked_tasks import asked_tasks
from dro_jax.evaluation.evaluated_run import EvaluatedRun, SampledResponse
from dro_jax.evaluation.figures import figures_of
from dro_jax.evaluation.prompts import digest
from dro_jax.evaluation.sampled_evaluation import SampledEvaluation
from dro_jax.evaluation.sampled_figures import is_of_policy, sampled_figures
from dro_jax.evaluation.sampled_responses import Policy, sampled_responses
from dro_jax.evaluation.scoring import with_rewards
from dro_jax.messages import say
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.plurals import counted
from dro_jax.training import hosts
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.metric_writers import MetricWriter
from dro_jax.training.state import TrainState

PREFIX = "eval/sampled/"
Tick = Callable[[], bool]
Responses = Sequence[SampledResponse]


class SampledHeldOut:
    """Samples responses of a policy in training, and of its reference once.

    All processes must call its methods in the same order; scores, figures and files are
    the first's work. The reference's parameters are on the devices for the time of an
    evaluation alone, unless the run holds a frozen copy anyway.

    Args:
      settings: what is sampled.
      model: whose policy answers.
      dataset: the held-out split; a `DatasetConfig`, whose tasks have texts.
      steps: where parameters live.
      load_reference: gives the reference's parameters, on the devices; None where the
        run starts from random ones.

    Raises:
      ConfigError: the data set has no texts.
      DataError: the split cannot be read.
    """

    def __init__(
        self,
        settings: SampledEvaluation,
        model: FeedbackModel,
        dataset: Dataset,
        steps: MeshSteps,
        load_reference: Callable[[], Params] | None,
    ):
        self._settings, self._model, self._steps = settings, model, steps
        self._load_reference = load_reference
        self._asked = asked_tasks(settings, dataset)
        self._vocabulary = dataset.vocabulary
        self._lengths = dataset.task_feature_lengths
        self._config = settings.decoding.limited_to(self._lengths["targets"])
        self._batch_size = settings.batch_size or dataset.batch_size
        self._of_reference: Responses = []
        self._names: list[str] = []

    def __str__(self) -> str:
        """What is sampled and who scores it."""
        names = [reward.name for reward in self._asked[0].rewards]
        judge = self._settings.judge
        return (
            f"{counted(self._num_responses, 'response')}, scored by "
            + (
                ", ".join(names)
                or "no reward (REWARD is None, and no program knows it)"
            )
            + (f", judged by {judge.name}" if judge is not None else "")
        )

    def metric_names(self) -> list[str]:
        """Names of what every evaluation reports: a few logged responses tell them.

        Raises:
          UserError: a reward or the judge cannot be used.
        """

        def names() -> list[str]:
            with_reference = self._load_reference is not None
            found = [
                one
                for asked in self._asked
                for one in asked.examples(
                    self._config.num_samples,
                    with_reference=with_reference,
                    with_value=self._has_value,
                )
            ]
            return [*self._figures(found, found if with_reference else [])]

        if not self._names:  # judges are asked for them, and some are dear
            self._names = hosts.first_says(names)
        return self._names

    @property
    def _has_value(self) -> bool:
        return self._model.value_config is not None

    def sample_reference(
        self, folder: pathlib.Path, fingerprint: str, tick: Tick
    ) -> bool:
        """Samples what the reference answers, or reads what an earlier run kept of it.

        Args:
          folder: where it is kept.
          fingerprint: of the reference's parameters.
          tick: called once a batch; where it is true sampling ends.

        Returns:
          Whether it was sampled to its end.
        """
        settings = self._settings_of_reference(fingerprint)
        if hosts.first_says(lambda: self._read(folder, settings)):
            return True
        say("sampling what the reference answers …")
        policy = Policy(self._model, self._load_reference())
        if not self._sample(policy, policy, tick, value=False):
            return False

        def keep() -> None:
            self._of_reference = list(self._found)
            figures, tables = figures_of(
                self._of_reference, sampled_from_policy=is_of_policy(self._config)
            )
            EvaluatedRun(
                "reference", settings, tuple(self._of_reference), figures, tables
            ).write(folder)

        hosts.first_says(keep)
        return True

    def _read(self, folder: pathlib.Path, settings: dict[str, Any]) -> bool:
        """Reads what is kept; whether it is of these settings."""
        try:
            kept = EvaluatedRun.read(folder)
        except DataError:
            return False
        if kept.settings != settings:
            return False
        self._of_reference = kept.responses
        return True

    def _settings_of_reference(self, fingerprint: str) -> dict[str, Any]:
        """What its responses and their scores depend on."""
        return {
            "reference": fingerprint,
            "tasks": {
                asked.name: {
                    "prompts": digest(asked.prompts),
                    "rewards": {own.name: own.fingerprint for own in asked.rewards},
                }
                for asked in self._asked
            },
            "decoding": self._config.facts(),
            "lengths": dict(self._lengths),
        }

    def __call__(
        self, state: TrainState, writer: MetricWriter, tick: Tick
    ) -> dict[str, float]:
        """Figures of a state's policy, each under `eval/sampled/`.

        Args:
          state: whose parameters answer.
          writer: is given a few of the responses.
          tick: called once a batch; where it is true the evaluation ends, with nothing.
        """
        began = time.monotonic()
        reference = self._load_reference
        reference = reference and Policy(self._model, reference())
        policy = Policy(self._model, state.params)
        if not self._sample(policy, reference, tick, value=self._has_value):
            return {}
        # Only now the parameters are needed no longer.
        del reference
        figures = hosts.first_says(
            lambda: self._figures(self._found, self._of_reference)
        )
        texts = [_text(one) for one in self._found[: self._settings.num_texts]]
        writer.write_texts(int(state.step), texts)
        seconds = time.monotonic() - began
        say(f"{counted(self._num_responses, 'response')} sampled in {seconds:.1f} s")
        # A correlation of equal rewards, say, has no value; it ranks behind all others.
        return dict.fromkeys(self._names, math.nan) | figures

    def _figures(
        self, responses: Responses, of_reference: Responses
    ) -> dict[str, float]:
        judge = self._settings.judge
        found = sampled_figures(responses, of_reference, self._config, judge)
        return {f"{PREFIX}{name}": value for name, value in found.items()}

    def _sample(
        self, policy: Policy, reference: Policy | None, tick: Tick, *, value: bool
    ) -> bool:
        """Samples and scores all responses, which the first process keeps."""
        self._found: list[SampledResponse] = []
        for _, prompts, tokens, rewards in self._asked:
            sampled = sampled_responses(
                policy,
                reference,
                prompts,
                tokens,
                self._vocabulary,
                self._config,
                self._steps.partitioner,
                longest=self._lengths["inputs"],
                batch_size=self._batch_size,
                value=value,
            )
            for responses in sampled:
                hosts.first_says(functools.partial(self._keep, responses, rewards))
                if tick():
                    return False
        # Batches hold prompts of like lengths.
        places = {
            prompt.id: place
            for place, prompt in enumerate(
                prompt for asked in self._asked for prompt in asked.prompts
            )
        }
        self._found.sort(key=lambda one: (places[one.prompt_id], one.sample))
        return True

    def _keep(self, responses: list[SampledResponse], rewards) -> None:
        self._found += with_rewards(responses, rewards)

    @property
    def _num_responses(self) -> int:
        prompts = sum(len(asked.prompts) for asked in self._asked)
        return prompts * self._config.num_samples


def _text(response: SampledResponse) -> dict[str, Any]:
    """What people want to see of it."""
    return {
        "prompt_id": response.prompt_id,
        "sample": response.sample,
        "prompt": response.prompt,
        "response": response.response,
        "rewards": dict(response.rewards),
    }
