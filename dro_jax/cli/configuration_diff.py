"""What two gin configurations, as `gin.config_str` writes them, set differently.

Bindings are compared with their macros filled in, so that a macro and what uses it are
one difference, named where it comes from.
"""

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gin import config_parser

from dro_jax.cli.gin_files import Macro, Reference, contained, parse_statements
from dro_jax.cli.gin_old_names import with_new_names

# A run may go on with other values of these: they change no step. Macros first, then
# bindings by their full names without scope.
_FREE_MACROS = frozenset(
    (
        "MODEL_DIR",
        "CHECKPOINT_PERIOD",
        "KEEP_CHECKPOINTS",
        "WATCHDOG_SECONDS",
        "REFERENCE_CACHE_DIR",
        "REFERENCE_SAMPLES_DIR",
        "VALUE_OF_REFERENCE_DIR",
        "DATA_PARALLEL",
        "MODEL_PARALLEL",
        "FSDP",
        "SHARD_ACTIVATIONS",
        "COMPILER_OPTIONS",
    )
)
_TRAIN = "dro_jax.training.train.train"
_SCHEDULE = "dro_jax.training.schedules.learning_rate_schedule"
_SHARDING = "dro_jax.training.sharding."
_FREE_BINDINGS = re.compile(
    rf"{re.escape(_TRAIN)}\.(model_dir|total_steps|watchdog_seconds|compiler_options"
    r"|reference_cache_dir|reference_samples_dir|value_of_reference_dir)"
    r"|dro_jax\.training\.checkpoints\.CheckpointConfig\.(period|keep|keep_best)"
    r"|dro_jax\.training\.online\.fresh_samples\.FreshSamples\.keep_all"
    # What a report sorts records by.
    r"|dro_jax\.tasks\.jsonl\.jsonl_task\.source_field"
    rf"|{re.escape(_SHARDING)}.*"
)
# What says how a run goes on, and not what is learnt from what: a person may change it
# on purpose (--allow_change). The optimiser's state does not depend on it.
_CHANGEABLE = re.compile(
    rf"{re.escape(_SCHEDULE)}\..*|{re.escape(_TRAIN)}\."
    r"(eval_period|log_period|on_non_finite|num_microbatches|gradient_sum_dtype"
    r"|step_zero_tolerance|tensorboard|sampled_evaluation)"
    # What is measured, and by whom.
    r"|dro_jax\.(evaluation|judges|rewards|models\.decoding)\..*"
)
# How rows of samples are scheduled, which rounds their sums otherwise: of no matter where
# evaluations alone sample, as where a mesh computes.
_SCHEDULING = "dro_jax.models.decoding.DecodingConfig.batches_in_turn"
_DECAYS_TO_AN_END = ("linear", "cosine")
_ENDS = "a schedule decays to this step, so the rates of the steps done were others"


NOT_SET = "not set"  # how a setting that is not there is shown


class _Unset:
    def __repr__(self) -> str:
        return NOT_SET


_UNSET = _Unset()


class Difference(NamedTuple):
    """One setting: its name, both values as text, and why it matters or nothing.

    `changeable` says whether a run may go on with the new value where that is asked for.
    """

    name: str
    old: str
    new: str
    note: str = ""
    changeable: bool = False

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}: {self.old} → {self.new}{note}"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A parsed configuration.

    Attributes:
      macros: name to value.
      bindings: `scope/module.configurable.argument`, in full, to value.
      names: the same full names to the shorter ones in which they are written.
      modules: the names that imports give to the modules that they stand for.
    """

    macros: Mapping[str, Any]
    bindings: Mapping[str, Any]
    names: dict[str, str]
    modules: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, source: str) -> "Configuration":
        """From what `gin.config_str` wrote; old names of ours are those of today.

        Raises:
          ConfigError: the text is no gin.
        """
        return cls.of(parse_statements(with_new_names(text), source))

    @classmethod
    def of(cls, statements: Iterable[Any]) -> "Configuration":
        """From parsed statements, later ones overriding earlier ones."""
        macros, bindings, names = {}, {}, {}
        modules: dict[str, str] = {}
        for statement in statements:
            if isinstance(statement, config_parser.ImportStatement):
                if statement.is_from or statement.alias:
                    modules[statement.bound_name()] = statement.module
            elif isinstance(statement, config_parser.BindingStatement):
                scope, selector, argument, value, _ = statement
                scope = f"{scope}/" if scope else ""
                value = _in_full(value, modules)
                if not argument:
                    macros[f"{scope}{selector}"] = value
                    continue
                full = f"{scope}{full_name(selector, modules)}.{argument}"
                bindings[full] = value
                names[full] = f"{scope}{selector}.{argument}"
        return cls(macros, bindings, names, modules)

    def written(self, name: str) -> Any:
        """The value in force for a full name: its own, or that of an outer scope."""
        *scopes, unscoped = name.split("/")
        for count in range(len(scopes), -1, -1):
            outer = "/".join([*scopes[:count], unscoped])
            if outer in self.bindings:
                return self.bindings[outer]
        return _UNSET

    def value(self, name: str) -> Any:
        """`written` with macros filled in, and the code's default where it is unset."""
        value = self.written(name)
        return _default(_unscoped(name)) if value is _UNSET else self.filled_in(value)

    def filled_in(self, value: Any, within: tuple[str, ...] = ()) -> Any:
        """The value with macros replaced by their values, but for `_FREE_MACROS`."""

        def fill(part):
            if not isinstance(part, Macro) or part.name in _FREE_MACROS:
                return part
            if part.name in within or part.name not in self.macros:
                return part
            return self.filled_in(self.macros[part.name], (*within, part.name))

        return _mapped(value, fill)


def differences(old: Configuration, new: Configuration) -> list[Difference]:
    """The settings that make steps of `new` differ from those of `old`, by name."""
    found: dict[Difference, bool] = {}
    for name in {**old.bindings, **new.bindings}:
        changeable = _CHANGEABLE.fullmatch(_unscoped(name)) is not None
        # A macro that several settings use may be changed only where all of them may.
        for difference in _compare(name, old, new):
            found[difference] = found.get(difference, True) and changeable
    return sorted(d._replace(changeable=changeable) for d, changeable in found.items())


def _compare(name: str, old: Configuration, new: Configuration) -> Iterator[Difference]:
    if _is_free(name, old, new) or _same(old.value(name), new.value(name)):
        return
    note = _ENDS if _unscoped(name) == f"{_SCHEDULE}.total_steps" else ""
    shown = (old.names | new.names)[name]
    yield from _causes(shown, old.written(name), new.written(name), old, new, note)


def _causes(name, before, after, old, new, note) -> Iterator[Difference]:
    """The setting itself or, where it is written alike, the macros in it that differ."""
    if not _same(before, after):
        yield Difference(name, _shown(before, old), _shown(after, new), note)
        return
    for part in contained(after):
        if not isinstance(part, Macro) or part.name in _FREE_MACROS:
            continue
        was, now = (c.macros.get(part.name, part) for c in (old, new))
        if not _same(old.filled_in(was), new.filled_in(now)):
            yield from _causes(part.name, was, now, old, new, note)


def _is_free(name: str, old: Configuration, new: Configuration) -> bool:
    unscoped = _unscoped(name)
    if _FREE_BINDINGS.fullmatch(unscoped):
        return True
    if unscoped == f"{_SCHEDULE}.total_steps":
        return not (_decays_to_an_end(old) or _decays_to_an_end(new))
    if unscoped == _SCHEDULING:
        return not (_trains_on_samples(old) or _trains_on_samples(new))
    # A mesh given where there was none, or left out, changes only where a run computes.
    values = [c.value(name) for c in (old, new)]
    return any(map(_is_sharding, values)) and all(
        value in (None, _UNSET) or _is_sharding(value) for value in values
    )


def _default(name: str) -> Any:
    """What our own code takes for an argument by itself; imports nothing."""
    path, _, argument = name.rpartition(".")
    module, _, attribute = path.rpartition(".")
    if module.partition(".")[0] != "dro_jax":
        return _UNSET
    function = getattr(sys.modules.get(module), attribute, None)
    if not callable(function):
        return _UNSET
    parameter = inspect.signature(function).parameters.get(argument)
    if parameter is None or parameter.default is parameter.empty:
        return _UNSET
    return parameter.default


def _is_sharding(value: Any) -> bool:
    return isinstance(value, Reference) and _unscoped(value.selector).startswith(
        _SHARDING
    )


def _trains_on_samples(configuration: Configuration) -> bool:
    return configuration.value(f"{_TRAIN}.fresh_samples") not in (None, _UNSET)


def _decays_to_an_end(configuration: Configuration) -> bool:
    return any(
        configuration.value(name) in _DECAYS_TO_AN_END
        for name in configuration.bindings
        if _unscoped(name) == f"{_SCHEDULE}.decay"
    )


def _same(one: Any, other: Any) -> bool:
    # 1 and True are equal in Python, and 1 and 1.0; not so for a run.
    return repr(one) == repr(other)


def _shown(value: Any, configuration: Configuration) -> str:
    value = configuration.filled_in(value)
    return repr(_mapped(value, _Shown))


class _Shown:
    def __init__(self, value: Any):
        self._value = value

    def __repr__(self) -> str:
        if isinstance(self._value, Macro):
            return f"%{self._value.name}"
        if not isinstance(self._value, Reference):
            return repr(self._value)
        *scopes, selector = self._value.selector.split("/")
        short = "/".join([*scopes, ".".join(selector.split(".")[-2:])])
        return f"@{short}{'()' if self._value.evaluate else ''}"


def _in_full(value: Any, modules: Mapping[str, str]) -> Any:
    def full(part):
        if not isinstance(part, Reference):
            return part
        *scopes, selector = part.selector.split("/")
        selector = "/".join([*scopes, full_name(selector, modules)])
        return part._replace(selector=selector)

    return _mapped(value, full)


def full_name(selector: str, modules: Mapping[str, str]) -> str:
    first, dot, rest = selector.partition(".")
    return f"{modules.get(first, first)}{dot}{rest}"


def _unscoped(name: str) -> str:
    return name.rpartition("/")[2]


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """The value under the function or, of a container, all that it holds."""
    if isinstance(value, Mapping):
        return {
            _mapped(key, function): _mapped(item, function)
            for key, item in value.items()
        }
    if type(value) in (tuple, list):
        return type(value)(_mapped(item, function) for item in value)
    return function(value)
