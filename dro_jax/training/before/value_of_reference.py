"""V_ref(x), what the frozen reference earns on a prompt: fitted once, kept on disk.

A folder holds the fit: `key.json`, what it was made from, `fit.npz`, the parameters of
the pool and head, and `report.json`; and in a folder for each split the values of its
records. Nothing of it is written over: what was made from something else is refused.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from dro_jax.data.interface import Dataset, HostBatch, Shard
from dro_jax.errors import DataError
from dro_jax.messages import say
from dro_jax.models.attention_pool import PromptValue, check_heads
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Params
from dro_jax.models.shared_prompts import prompt_mask
from dro_jax.training import hosts
from dro_jax.training.atomic_files import (
    claim_folder,
    read_arrays,
    write_array,
    write_arrays,
    write_json,
)
from dro_jax.training.before.reference import network_key
from dro_jax.training.before.samples_of_reference import SamplesOfReference
from dro_jax.training.before.value_fit import ValueFit, ValueFitConfig, value_module
from dro_jax.training.before.value_fit_data import (
    FitData,
    FrozenStates,
    prompts_of_all,
)
from dro_jax.training.before.value_fit_report import FitReport
from dro_jax.training.before.value_pass import (
    encode_prompts,
    fit_digest,
    one_pass,
    read_values,
    values_of_split,
)
from dro_jax.training.compiled_together import CompiledTogether
from dro_jax.training.host_files import share_files
from dro_jax.training.mesh_steps import MeshSteps
from dro_jax.training.preemption import StopSignal
from dro_jax.training.turns import one_computes
from dro_jax.training.watchdog import Watchdog

__all__ = ["FitReport", "ValueFitConfig", "ValueOfReference", "encode_prompts"]

_FIT, _REPORT, _VALUES = "fit.npz", "report.json", "values.npy"
_WHAT = "the value of the reference"


class ValueOfReference:
    """Fits V_ref on one split and gives its values on others.

    Args:
      model: whose policy network the reference shares.
      load: gives the reference's parameters on the devices. Called only where its
        encoder must run; nothing of them is kept.
      steps: where parameters and batches live.
      config: how V is fitted.
      fingerprint: of the reference's parameters, as `Reference.fingerprint` gives it.
      folder: where the fit and values are kept; made if need be.
      stop: asks a long computation to stop.
      watchdog: is told that a long computation moves.

    Attributes:
      num_forwards: batches that the encoder ran on.

    Raises:
      ConfigError: the heads do not divide the network's width.
    """

    def __init__(
        self,
        model: FeedbackModel,
        load: Callable[[], Params],
        steps: MeshSteps,
        config: ValueFitConfig | None = None,
        *,
        fingerprint: str,
        folder: str | pathlib.Path,
        stop: StopSignal | None = None,
        watchdog: Watchdog | None = None,
    ):
        self._config = config or ValueFitConfig()
        check_heads(self._config.num_heads, model.network_config.emb_dim)
        self._model, self._load, self._steps = model, load, steps
        self._folder = pathlib.Path(folder)
        self._stop = stop or StopSignal()
        self._watchdog = watchdog or Watchdog(None)
        self._turn = functools.partial(
            one_computes, what=_WHAT, stop=self._stop, watchdog=self._watchdog
        )
        self._reference = {
            "reference parameters": fingerprint,
            **network_key(model.network_config),
        }
        self._fitted: tuple[PromptValue, Params] | None = None
        self.num_forwards = 0

    def fit(
        self,
        dataset: Dataset,
        *,
        judged_fraction: float = 0.0,
        samples: SamplesOfReference | None = None,
    ) -> FitReport:
        """Fits V to the rewards of a split, or reads the fit that is there.

        Args:
          dataset: responses to other prompts than those trained on.
          judged_fraction: share of its prompts that are left out, for they judge the run.
          samples: the reference's own responses to its prompts, to whose rewards V is
            fitted; None, to those that were logged. They are not asked for where the
            fit is there.

        Raises:
          CheckpointError: the folder holds a fit of something else; the message says
            what differs. Or what it holds is damaged.
          ConfigError: the bounds of V leave out all rewards.
          DataError: the split has fewer than two prompts, or rewards that are all equal.
          TrainingError: an error of the fit is not finite.
          Preempted: the run was told to stop; the fit begins anew.
        """
        key = {
            **self._reference,
            **dataset.fingerprint(rewards=samples is None),
            **({} if samples is None else samples.facts(dataset)),
            **self._config.facts(),
            # Which are held out and which judge, their hashes decide.
            "prompts told apart by": "their text",
        }
        if judged_fraction:
            key["share of prompts left out to judge"] = str(judged_fraction)
        _claim(self._folder, key)
        is_fitted = (self._folder / _REPORT).exists
        with contextlib.ExitStack() as stack:
            if not hosts.first_says(is_fitted):
                stack.enter_context(self._turn(self._folder))
            if hosts.first_says(is_fitted):
                share_files(self._folder, (_FIT, _REPORT))
                params, report = hosts.agree(self._read_fit)
            else:
                params, report = self._fitted_anew(
                    dataset,
                    functools.partial(self._fit, dataset, judged_fraction, samples),
                )
        module = value_module(self._config, (report.min_value, report.max_value))
        self._fitted = module, params
        return report

    def values(self, dataset: Dataset) -> np.ndarray:
        """V_ref(x) of each record of a split, which are kept beside the fit.

        Args:
          dataset: as in :meth:`fit`.

        Returns:
          ``[R]`` float32, mapped, in units of reward and the order of the split's
          `prompt_records`.

        Raises:
          CheckpointError: the folder's values of that split were computed from something
            else, or are damaged.
          DataError: the split is empty.
          Preempted: the run was told to stop; what was not finished begins anew.
        """
        if self._fitted is None:
            raise RuntimeError("ValueOfReference.values needs a fit: call fit first")
        name = f"{dataset.name}-{dataset.split}"
        folder = self._folder / name
        key = {
            "value estimate": fit_digest(*self._fitted),
            **self._reference,
            **dataset.fingerprint(),
        }
        _claim(folder, key)
        path = folder / _VALUES
        if not hosts.first_says(path.exists):
            with self._turn(folder):
                if not hosts.first_says(path.exists):
                    values = self._compute(dataset)
                    if jax.process_index() == 0:
                        write_array(path, values)
                    say(f"  kept in {folder}")
                    return values
        share_files(folder, (_VALUES,))
        return hosts.agree(lambda: read_values(path, len(dataset.prompt_records())))

    def _fitted_anew(
        self, dataset: Dataset, fit: Callable[[], tuple[Params, FitReport]]
    ) -> tuple[Params, FitReport]:
        """Fits, and keeps the fit."""
        try:
            params, report = fit()
        except DataError as error:
            raise DataError(
                "fitting the value of the reference to the split "
                f"'{dataset.split}' of '{dataset.name}': {error}"
            ) from error
        if jax.process_index() == 0:
            flat = traverse_util.flatten_dict(params, sep="/")
            write_arrays(self._folder / _FIT, flat)
            # Last, so that a fit with a report is whole.
            write_json(self._folder / _REPORT, report.to_json())
        return params, report

    def _fit(
        self,
        dataset: Dataset,
        judged_fraction: float,
        samples: SamplesOfReference | None,
    ) -> tuple[Params, FitReport]:
        shard = self._shard(dataset)
        data = FitData.of(
            (prompts_of_all(batch, shard) for batch in one_pass(dataset, shard)),
            dataset.prompt_records(),
            self._config.held_out_fraction,
            judged_fraction,
            samples and samples.of(dataset, judged_fraction),
        )
        params = self._load()
        encode = self._compiled(functools.partial(encode_prompts, self._model))
        partitioner = self._steps.partitioner
        states = FrozenStates(data, functools.partial(encode, params), partitioner)
        # The fit's compiled functions are its own methods: that circle would keep the
        # reference on the devices until Python looks for circles, well into training.
        with contextlib.closing(states):
            width = self._model.network_config.emb_dim
            fit = ValueFit(
                self._config, data, states, width, partitioner, tick=self._tick
            )
            return fit.run()

    def _compute(self, dataset: Dataset) -> np.ndarray:
        module, fitted = self._fitted

        def values_of(params, batch):
            reference, fitted = params
            states = encode_prompts(self._model, reference, batch)
            return module.apply({"params": fitted}, states, prompt_mask(batch))

        compiled, params = self._compiled(values_of), (self._load(), fitted)

        def forward(batch, shard):
            return np.asarray(compiled(params, batch, shard))

        return values_of_split(dataset, forward, self._shard(dataset), _WHAT)

    def _shard(self, dataset: Dataset) -> Shard:
        return self._steps.partitioner.shard(dataset.batch_size)

    def _compiled(self, function) -> Callable[[Any, HostBatch, Shard], jax.Array]:
        """A function of parameters and part of a batch on the host; counted.

        It gives the whole batch's.
        """
        replicated = self._steps.partitioner.replicated
        compiled = CompiledTogether(jax.jit(function, out_shardings=replicated))

        def run(params, batch, shard):
            with self._steps.partitioner.context():
                result = compiled(params, self._steps.put(batch, shard))
            self.num_forwards += 1
            self._tick()
            return result

        return run

    def _tick(self) -> None:
        self._watchdog.reset()
        if self._stop.now():
            raise self._stop.stopped(
                "while estimating the value of the reference: the "
                "same command begins this estimate anew"
            )

    def _read_fit(self) -> tuple[Params, FitReport]:
        report = FitReport.read(self._folder / _REPORT)
        flat = read_arrays(self._folder / _FIT, _WHAT)
        return traverse_util.unflatten_dict(flat, sep="/"), report


def _claim(folder: pathlib.Path, key: dict[str, str]) -> None:
    what = f"{_WHAT} was estimated"
    advice = "Use another folder, or delete that one to estimate it anew"
    # A folder of another host's own may hold something else than the first one's.
    hosts.agree(lambda: claim_folder(folder, key, what, advice))
