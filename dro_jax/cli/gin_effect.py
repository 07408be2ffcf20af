"""What of a configuration a run reads: the rest has no effect on it.

Known from the statements alone: gin follows from `train` what it is given, and what
that is made of; and people's own modules may decorate what gin configures anywhere.
Beside what nothing refers to, some settings are read by some objectives alone.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.gin_decorated import may_be_decorated
from dro_jax.cli.gin_files import Macro, Reference

_TRAIN = "dro_jax.training.train.train"
_MODEL = "dro_jax.models.model.FeedbackModel"
_OPTIMIZER = "dro_jax.training.optimizers.OptimizerConfig"
_OBJECTIVES = "dro_jax.objectives."
_DATASET = "dro_jax.data.dataset.DatasetConfig"
_SPLITS = ("train", "train_eval")
# Of a data set, what decides its records and their tokens.
_CONTENT = ("mixture_or_task_name", "task_feature_lengths", "module", "split")
# Where a run is, how it is watched and how often it is saved: none of its numbers.
_FREE = {
    f"{_TRAIN}.{name}"
    for name in (
        "model_dir",
        "reference_cache_dir",
        "reference_samples_dir",
        "value_of_reference_dir",
        "watchdog_seconds",
        "tensorboard",
    )
} | {
    f"dro_jax.training.checkpoints.CheckpointConfig.{name}"
    for name in ("period", "keep")
}
_SAMPLES = "dro_jax.training.before.reference_samples.ReferenceSamples"
# What earlier versions had not is nothing where it changes nothing: runs of theirs stay
# equal.
_NOTHING_IF = {
    f"{_TRAIN}.reference_samples": None,
    f"{_SAMPLES}.scale": 1.0,
    f"{_SAMPLES}.shift": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a run of `dro-jax train` reads of a configuration.

    Attributes:
      macros: names that are read.
      bindings: full names of settings that are read, with their scopes.
      settings: all that is read, macros filled in, as text; equal texts make equal
        runs. What changes no number of a run is left out.
      reference: of these, what a reference's log-probs may depend on, beside its
        parameters: network and data.
      samples: likewise what is sampled of it; "" where nothing is.
      value_of_reference: likewise how its value is fitted; "" where none is.
    """

    macros: frozenset[str]
    bindings: frozenset[str]
    settings: str
    reference: str
    samples: str
    value_of_reference: str

    @classmethod
    def of(cls, configuration: Configuration) -> "Effect":
        """That of a configuration."""
        reader = _Reader(configuration)
        settings = repr(reader.arguments(_TRAIN, ()))
        if decorated := reader.decorated():
            settings += repr(decorated)
        read = frozenset(reader.macros), frozenset(reader.bindings)
        network = configuration.written(f"{_MODEL}.network")
        data = [
            [own for own in reader.arguments(_DATASET, (scope,)) if own[0] in _CONTENT]
            for scope in _SPLITS
        ]
        reference = repr((reader.value(network, ()), data))
        found = dict(reader.arguments(_TRAIN, ()))
        samples = fit = ""
        if found.get("reference_samples") is not None:
            samples = repr(found["reference_samples"])
        if f"{_TRAIN}.value_of_reference_dir" in reader.bindings:
            fit = repr([found.get(f"value_fit{own}") for own in ("", "_dataset_cfg")])
        return cls(*read, settings, reference, samples, fit)


class _Reader:
    """Follows a configuration from a function's arguments."""

    def __init__(self, configuration: Configuration):
        self._configuration = configuration
        self._unread = _not_read(configuration)
        self._by_selector: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
        for name in configuration.bindings:
            *scopes, path = name.split("/")
            selector, _, argument = path.rpartition(".")
            found = self._by_selector.setdefault(selector, [])
            found.append((tuple(scopes), argument, name))
        self._macros_seen: tuple[str, ...] = ()
        self.macros: set[str] = set()
        self.bindings: set[str] = set()

    def arguments(self, selector: str, scope: tuple[str, ...]) -> list[Any]:
        """What is bound for a function within a scope, the innermost first."""
        inner: dict[str, tuple[int, str]] = {}
        for scopes, argument, name in self._by_selector.get(selector, ()):
            if scope[: len(scopes)] != scopes:
                continue
            if argument not in inner or inner[argument][0] < len(scopes):
                inner[argument] = len(scopes), name
        found = []
        for argument, (_, name) in sorted(inner.items()):
            full = f"{selector}.{argument}"
            if full in self._unread:
                continue
            self.bindings.add(name)
            value = self.value(self._configuration.bindings[name], scope)
            nothing = full in _NOTHING_IF and value == _NOTHING_IF[full]
            if full not in _FREE and not nothing:
                found.append((argument, value))
        return found

    def decorated(self) -> list[Any]:
        """What is bound for people's own functions that Python may call by itself."""
        found = []
        for name, value in sorted(self._configuration.bindings.items()):
            *scopes, path = name.split("/")
            selector = path.rpartition(".")[0]
            if name not in self.bindings and may_be_decorated(selector):
                self.bindings.add(name)
                found.append((name, self.value(value, tuple(scopes))))
        return found

    def value(self, value: Any, scope: tuple[str, ...]) -> Any:
        """A value with what it refers to, as what `repr` tells apart."""
        if isinstance(value, Macro):
            return self._macro(value)
        if isinstance(value, Reference):
            *scopes, selector = value.selector.split("/")
            inner = tuple(scopes) or scope
            return ("@", selector, value.evaluate, self.arguments(selector, inner))
        if isinstance(value, Mapping):
            return {
                repr(self.value(key, scope)): self.value(item, scope)
                for key, item in value.items()
            }
        if type(value) in (list, tuple):
            return [self.value(item, scope) for item in value]
        return value

    def _macro(self, macro: Macro) -> Any:
        name = macro.name
        known = self._configuration.macros
        if name not in known or name in self._macros_seen:
            return ("%", name)
        self.macros.add(name)
        before = self._macros_seen
        self._macros_seen = (*before, name)
        # As gin does: a macro's value is made in the scope of its name.
        found = self.value(known[name], tuple(name.split("/")))
        self._macros_seen = before
        return found


def _not_read(configuration: Configuration) -> set[str]:
    """Settings that a run with this objective does not look at."""
    needs = needs_of(configuration)
    if needs is None:
        return set()
    found: list[str] = []
    if not needs.value or needs.logits_value:
        found.append(f"{_OPTIMIZER}.value_learning_rate")
    if not needs.reference:
        found += [f"{_TRAIN}.reference", f"{_TRAIN}.step_zero_tolerance"]
    # The objective itself decides where its reference's log-probs come from.
    cached = needs.prompt_values or needs.rollouts
    if needs.mismatched or cached:
        found.append(f"{_TRAIN}.reference")
    copied = configuration.value(f"{_TRAIN}.reference") == "frozen_copy"
    if not needs.reference or needs.mismatched or (copied and not cached):
        found.append(f"{_TRAIN}.reference_cache_dir")
    if not needs.advantages:
        names = ("value_fit", "value_fit_dataset_cfg", "value_of_reference_dir")
        found += [f"{_TRAIN}.{name}" for name in names]
    samples = f"{_TRAIN}.reference_samples"
    if not (needs.advantages or needs.prompt_values or needs.quantiles):
        found += [samples, f"{samples}_dir"]
    elif configuration.value(samples) is None:
        found.append(f"{samples}_dir")
    return set(found)


def needs_of(configuration: Configuration) -> Any:
    """What the objective reads, `dro_jax.objectives.Needs`; None where it is not ours."""
    value = configuration.filled_in(configuration.written(f"{_MODEL}.objective"))
    if not isinstance(value, Reference):
        return None
    name = value.selector.rpartition("/")[2]
    if not name.startswith(_OBJECTIVES):
        return None
    # jax takes a second or two.
    from dro_jax.objectives import registry

    kinds = {kind.__name__: kind for kind in registry.kinds().values()}
    kind = kinds.get(name.removeprefix(_OBJECTIVES))
    return kind and kind().needs
