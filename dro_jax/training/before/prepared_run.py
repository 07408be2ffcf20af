"""A run before its first step: all that is computed of the reference and the records."""

import dataclasses
from collections.abc import Mapping

from dro_jax.messages import say
from dro_jax.models.networks import Params
from dro_jax.training import run_files
from dro_jax.training.before.judged_prompts import judged_part
from dro_jax.training.before.prepared_data import Preparation, PreparedData
from dro_jax.training.before.reference import Reference
from dro_jax.training.before.run_plan import RunPlan
from dro_jax.training.before.same_data import check_same_data
from dro_jax.training.before.samples_of_reference import (
    SamplesOfReference,
    sample_facts,
)
from dro_jax.training.before.value_fit_report import FitReport
from dro_jax.training.before.value_of_reference import ValueOfReference
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.preemption import StopSignal
from dro_jax.training.run_progress import check_identity, identity_of
from dro_jax.training.watchdog import Watchdog


@dataclasses.dataclass(frozen=True)
class PreparedRun:
    """What a trainer needs beside its state.

    Attributes:
      train: batches to train on, from any position.
      held_out: batches to evaluate, where there are any.
      reference: what the policy is anchored to; None where it is to nothing, or where
        the trainer itself holds the frozen copy.
      fit: how well the value of the reference was fitted, where one is.
      identity: what data and reference are, in words and digests: a run that goes on
        must find the same again.
    """

    train: PreparedData | None
    held_out: PreparedData | None
    reference: Reference | None
    fit: FitReport | None
    identity: Mapping[str, str]

    @property
    def step_params(self) -> Params | None:
        """What a step must be given of the reference: the frozen copy, or None."""
        return self.reference and self.reference.step_params

    def reports(self) -> dict[str, dict]:
        """What a run keeps of this for people: files of its folder, by name."""
        found = {}
        if self.train is not None:
            found[run_files.REWARD_STATISTICS] = self.train.dataset.facts()
            if self.train.advantages is not None:
                found[run_files.ADVANTAGES] = self.train.advantages.to_json()
        if self.fit is not None:
            found[run_files.VALUE_OF_REFERENCE_REPORT] = self.fit.to_json()
        if self.reference is not None and (facts := self.reference.facts()):
            found[run_files.REFERENCE_CACHE_REPORT] = facts
        return found


def prepare_run(
    plan: RunPlan,
    steps: MeshSteps | None,
    *,
    began: Mapping[str, str] | None = None,
    frozen_copy: bool = True,
    sampled: Mapping[str, str] | None = None,
    stop: StopSignal | None = None,
    watchdog: Watchdog | None = None,
) -> PreparedRun:
    """Computes what a run needs before its first step, or reads what is there already.

    Args:
      plan: the run.
      steps: where its networks run; None where the plan needs none to run.
      began: the identity with which a run that goes on began.
      frozen_copy: whether a frozen copy is held here; else by the trainer's own state.
      sampled: what is sampled while the run trains, as a part of its identity.
      stop: asks a long computation to stop.
      watchdog: is told that a long computation moves.

    Raises:
      CheckpointError: the run began with other data or another reference, or what is
        kept on disk was computed from others, or is damaged.
      ConfigError, DataError, TrainingError: what is needed cannot be had of the data.
      Preempted: the run was told to stop; what was computed is kept.
    """
    data, needs = plan.data, plan.model.objective.needs
    reference = None
    signals = {"stop": stop, "watchdog": watchdog}
    if plan.runs_networks or (frozen_copy and plan.mode == "frozen_copy"):
        reference = Reference(
            plan.model,
            plan.reference.path,
            steps,
            mode=plan.reference.mode,
            cache_dir=plan.folders.get(run_files.REFERENCE_CACHE),
            **signals,
        )
    identity = {}
    if data.train is not None:
        identity = identity_of(
            data.train,
            data.sampling,
            reference and reference.fingerprint(),
            plan.judged_fraction,
            plan.samples and sample_facts(plan.samples, data.train),
        ) | dict(sampled or {})
    # First, since what follows may take hours.
    loads = plan.starts or plan.mode == "frozen_copy"
    check_same_data(data, identity, plan.reference.path if loads else None)
    # A run of the first versions recorded nothing, which is not what is there now.
    if began is not None:
        check_identity(began, identity)
    value = fit = samples = None
    held_out = data.held_out
    if plan.samples is not None:
        samples = SamplesOfReference(
            plan.model,
            reference.load,
            steps,
            plan.samples,
            fingerprint=reference.fingerprint(),
            folder=plan.folders[run_files.REFERENCE_SAMPLES],
            # Of samples alone, A*-PO's as a rule, the log's units are nobody's.
            beside_log=data.trains_on_log,
            **signals,
        )
    if needs.advantages:
        value = ValueOfReference(
            plan.model,
            reference.load,
            steps,
            plan.value_fit,
            fingerprint=reference.fingerprint(),
            folder=plan.folders[run_files.VALUE_OF_REFERENCE],
            **signals,
        )
        judged = plan.judged_fraction or 0.0
        # Before the fit, which takes longer: there may be too few prompts to share out.
        if judged and data.value_fit is None:
            held_out = judged_part(held_out, judged)
        say("fitting the value of the reference …")
        fit = value.fit(data.fitted, judged_fraction=judged, samples=samples)
    preparation = Preparation(
        plan.model.objective, reference, value, data.sampling, samples
    )
    train = None
    if data.train is not None:
        logged = data.trains_on_log
        train = preparation.prepare(data.train, training=True, logged=logged)
    if held_out is not None:
        held_out = preparation.prepare(held_out)
    return PreparedRun(train, held_out, reference, fit, identity)
