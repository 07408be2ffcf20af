"""One policy after another answers the same prompts; what is known of it is kept."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.cli.policies_to_evaluate import Candidate
from dro_jax.data.tasks import FeedbackTask
from dro_jax.evaluation import compared_runs, kept_evaluations
from dro_jax.evaluation.evaluated_run import EvaluatedRun, SampledResponse
from dro_jax.evaluation.figures import figures_of
from dro_jax.evaluation.kept_evaluations import Unfinished
from dro_jax.evaluation.prompts import Prompt, as_tokens
from dro_jax.evaluation.sampled_figures import is_of_policy
from dro_jax.evaluation.sampled_responses import Policy, sampled_responses
from dro_jax.evaluation.scoring import with_rewards
from dro_jax.messages import say
from dro_jax.models.decoding import DecodingConfig
from dro_jax.plurals import counted
from dro_jax.rewards.interface import Reward
from dro_jax.training.hosts import agree, count, first_says
from dro_jax.training.sharding import Partitioner
from dro_jax.training.turns import in_turn
from dro_jax.training.watchdog import Watchdog


@dataclasses.dataclass
class Session:
    """What all policies are asked, and how.

    At most one policy is on the devices, and the reference of the last. All processes
    of a command must call its methods in the same order.

    Attributes:
      task: reads prompts as tokens.
      prompts: what is asked.
      prompts_digest: tells them from others.
      asked: what was asked for, the same for all; names the folders.
      lengths: the task feature lengths.
      config: how responses are chosen.
      mesh: where parameters are.
      batch_size: rows at a time, of all processes.
      rewards: of each response, the one that counts first.
      watchdog_seconds: after so long without a batch several processes end.
    """

    task: FeedbackTask
    prompts: Sequence[Prompt]
    prompts_digest: str
    asked: Mapping[str, Any]
    lengths: Mapping[str, int]
    config: DecodingConfig
    mesh: Partitioner
    batch_size: int
    rewards: Sequence[Reward]
    watchdog_seconds: float | None
    _loaded: tuple[Candidate, Policy] | None = None

    def evaluated(self, candidate: Candidate) -> EvaluatedRun | None:
        """A policy's evaluation, kept in its folder; on the first process alone.

        Another command that evaluates the same is waited for, and its work taken over.
        """
        folder = self.folder(candidate)
        with in_turn(folder, "the evaluation"):
            return self._evaluated(candidate, folder)

    def folder(self, candidate: Candidate) -> pathlib.Path:
        """Where a policy's evaluation lies."""
        folder = kept_evaluations.folder_of(candidate.home, self.asked)
        return folder / candidate.inside

    def forget(self) -> None:
        """Frees the parameters that are loaded."""
        self._loaded = None

    def _evaluated(
        self, candidate: Candidate, folder: pathlib.Path
    ) -> EvaluatedRun | None:
        settings = self._settings(candidate)
        kept: list[EvaluatedRun] = []

        def look() -> bool:
            found = kept_evaluations.kept(folder, settings)
            if found is not None and self._is_compared(found, candidate):
                kept.append(found)
            return bool(kept)

        unfinished = None
        if first_says(look):
            say(f"{candidate.label}: sampled before ({folder})")
        else:
            unfinished = self._sampled(candidate, folder, settings)
        # What follows is the first process's work; there one of the two is.
        source = kept[0] if kept else unfinished
        # Of a run it is the same policy, by whatever label it goes now.
        if kept and not candidate.is_run and kept[0].settings["reference"] is not None:
            settings["reference"] = kept[0].settings["reference"]
        if kept:
            settings["rewards"] = kept[0].settings.get("rewards", {})
        measured: list[EvaluatedRun] = []

        def measure() -> None:
            if not kept:
                compared_runs.forget(folder)
            measured.append(
                self._measured(candidate, folder, settings, source.responses)
            )

        first_says(measure)
        if unfinished is not None:
            unfinished.remove()
        return measured[0] if measured else None

    def _settings(self, candidate: Candidate) -> dict[str, Any]:
        other = candidate.reference or (candidate.is_reference and candidate) or None
        return {
            **self.asked,
            "prompts": self.prompts_digest,
            "decoding": self.config.facts(),
            "lengths": dict(self.lengths),
            "checkpoint": candidate.checkpoint,
            "reference": other and {"label": other.label, **other.checkpoint},
        }

    def _is_compared(self, found: EvaluatedRun, candidate: Candidate) -> bool:
        """Whether a kept evaluation is compared with what is asked for."""
        if not candidate.is_run:
            return True  # as a reference, whatever it is itself compared with
        one, other = found.settings["reference"], self._settings(candidate)["reference"]
        keys = ("step", "digest")
        return [one and one[key] for key in keys] == [
            other and other[key] for key in keys
        ]

    def _sampled(
        self, candidate: Candidate, folder: pathlib.Path, settings: Mapping[str, Any]
    ) -> Unfinished | None:
        """All responses of a policy; those of an earlier try are not sampled again."""
        opened: list[Unfinished] = []

        def begin() -> list[str]:
            opened.append(Unfinished.open(folder, settings))
            return [one.prompt_id for one in opened[0].responses]

        done = set(first_says(begin))
        left = [prompt for prompt in self.prompts if prompt.id not in done]
        gone_on = f", {counted(len(done), 'prompt')} before" if done else ""
        say(f"{candidate.label}: {counted(len(left), 'prompt')} to answer{gone_on}")
        if left:
            for responses in self._batches(candidate, left):
                if opened:
                    opened[0].add(responses)
        return opened[0] if opened else None

    def _batches(
        self, candidate: Candidate, prompts: Sequence[Prompt]
    ) -> Iterator[list[SampledResponse]]:
        policy, reference = agree(lambda: self._policies(candidate))
        # One process alone may take as long as it takes.
        watchdog = Watchdog(self.watchdog_seconds if count() > 1 else None)
        with watchdog:
            for responses in sampled_responses(
                policy,
                reference,
                prompts,
                as_tokens(self.task, prompts, self.lengths),
                self.task.vocabulary,
                self.config,
                self.mesh,
                longest=self.lengths["inputs"],
                batch_size=self.batch_size,
                value=candidate.has_value,
                label=candidate.label,
            ):
                watchdog.reset()
                yield responses

    def _policies(self, candidate: Candidate) -> tuple[Policy, Policy | None]:
        """A policy and its reference, which stays loaded for the next."""
        if candidate.reference is not None:
            reference = self._kept(candidate.reference)
            return candidate.load(), reference
        if candidate.is_reference:
            policy = self._kept(candidate)
            return policy, policy
        self.forget()
        return candidate.load(), None

    def _kept(self, candidate: Candidate) -> Policy:
        if self._loaded is None or self._loaded[0] is not candidate:
            self.forget()  # freed before another is read
            self._loaded = candidate, candidate.load()
        return self._loaded[1]

    def _measured(
        self,
        candidate: Candidate,
        folder: pathlib.Path,
        settings: dict[str, Any],
        responses: Sequence[SampledResponse],
    ) -> EvaluatedRun:
        """Scores responses, computes figures, and writes it all."""
        order = {prompt.id: place for place, prompt in enumerate(self.prompts)}
        responses = sorted(
            responses, key=lambda one: (order[one.prompt_id], one.sample)
        )
        if candidate.is_reference and candidate.reference is None:
            responses = [
                dataclasses.replace(one, reference_logprob=one.logprob)
                if one.reference_logprob is None
                else one
                for one in responses
            ]
        if self.rewards:
            responses = with_rewards(responses, self.rewards)
        prints = {reward.name: reward.fingerprint for reward in self.rewards}
        # Responses keep their scores by rewards that are not asked now.
        prints = {**settings.get("rewards", {}), **prints}
        figures, tables = figures_of(
            responses, sampled_from_policy=is_of_policy(self.config)
        )
        found = EvaluatedRun(
            candidate.label,
            settings | {"rewards": prints},
            tuple(responses),
            figures,
            tables,
        )
        found.write(folder)
        return found
