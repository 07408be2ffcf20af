"""`dro-jax convert`."""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from dro_jax.cli import gin_setup
from dro_jax.cli.configuration_diff import Configuration
from dro_jax.cli.restored import TASK_OF_A_FOLDER
from dro_jax.data.mixtures import tasks_and_rates
from dro_jax.data.modules import import_modules
from dro_jax.data.vocabularies import BYTE, describe_vocabulary
from dro_jax.errors import ConfigError, UserError
from dro_jax.interop import formats
from dro_jax.interop.hugging_face import written_model_type, written_names
from dro_jax.interop.stored_model import Leaf, Leaves, StoredModel
from dro_jax.models.value import ValueConfig
from dro_jax.plurals import counted
from dro_jax.training.run_files import CONFIG

_ACTIVATIONS = re.compile(r"[^/]*\.T5Config\.mlp_activations")
_VALUE_SETTING = re.compile(r"[^/]*\.ValueConfig\.(\w+)")
# One of each kind shows the rule.
_EXAMPLES = ("token_embedder", "/query/", "/mlp/wo/", "relpos_bias", "head/kernel")


def run(arguments) -> None:
    """Convert a model, and say what became of everything that it holds."""
    _check(arguments)
    formats.check_destination(arguments.destination)
    source = arguments.source
    if arguments.step is not None:
        source = f"{source.rstrip('/')}/checkpoint_{arguments.step}"
    stored = formats.open_model(source, scan_layers=arguments.scan_layers)
    told = _Told.by_gin(stored)
    stored = told.applied_to(stored)
    tokenizer, notes = arguments.tokenizer, [*stored.notes, *told.notes]
    if arguments.to == "hf" and tokenizer is None and told.file is not None:
        tokenizer, note = _task_vocabulary(told.file)
        notes.append(note)
    print(
        f"{stored.path} ({stored.format}, step {stored.step}) → "
        f"{arguments.destination} ({arguments.to})",
        flush=True,
    )
    formats.write_model(
        stored, arguments.destination, arguments.to, tokenizer=tokenizer
    )
    print("\n".join(_summary(stored, arguments.to, tokenizer, notes)))


def _check(arguments) -> None:
    if arguments.gin_bindings:
        raise ConfigError("convert takes no --gin settings")
    if arguments.scan_layers is not None and arguments.to == "hf":
        raise ConfigError(
            "--scan_layers and --no-scan_layers have no effect with --to hf, whose "
            "format has but one layout: leave them out"
        )
    if arguments.step is not None and re.search(r"checkpoint_\d+/*$", arguments.source):
        raise ConfigError(
            f"--step {arguments.step} has no effect: {arguments.source} is one "
            "checkpoint. Name the folder that it lies in, or leave --step out"
        )


@dataclasses.dataclass(frozen=True)
class _Told:
    """What a run's `config.gin` tells that shapes do not.

    Attributes:
      activations: of the feed-forward layers.
      value: settings of the value estimate.
      file: its path, where it can be read.
      notes: what was read there, and what had to be assumed.
    """

    activations: tuple[str, ...] | None = None
    value: Mapping[str, str | bool] = dataclasses.field(default_factory=dict)
    file: pathlib.Path | None = None
    notes: Sequence[str] = ()

    @classmethod
    def by_gin(cls, stored: StoredModel) -> "_Told":
        """Reads the text alone: nothing that it names is imported or called."""
        if stored.format == "hf":
            return cls()
        assumed = (
            f"mlp_activations = {stored.config.mlp_activations}: from the shapes, which "
            "fit any activation; T5's are assumed"
        )
        folder = pathlib.Path(stored.path)
        found = [
            path
            for place in (folder, folder.parent)
            for path in (place / CONFIG, place / formats.MODEL_FILE)
            if path.is_file()
        ]
        if not found:
            return cls(notes=(assumed,))
        try:
            text = found[0].read_text(encoding="utf-8")
            gin = Configuration.parse(text, str(found[0]))
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            return cls(notes=(f"{found[0]} cannot be read ({error})", assumed))
        bound = {name: gin.filled_in(value) for name, value in gin.bindings.items()}
        activations = _first(bound, _ACTIVATIONS)
        if not _are_activations(activations, stored):
            activations, notes = None, [assumed]
        else:
            activations = tuple(activations)
            notes = [f"mlp_activations = {activations}: from {found[0]}"]
        fields = {field.name for field in dataclasses.fields(ValueConfig)} - {"trunk"}
        settings = {
            match[1]: value
            for name, value in bound.items()
            if (match := _VALUE_SETTING.fullmatch(name))
            and match[1] in fields
            and isinstance(value, str | bool)
        }
        if settings:
            notes.append(f"value settings {_listed(settings)}: from {found[0]}")
        return cls(activations, settings, found[0], notes)

    def applied_to(self, stored: StoredModel) -> StoredModel:
        """The model with what was told."""
        config = stored.config
        if self.activations is not None:
            config = dataclasses.replace(config, mlp_activations=self.activations)
        value = dict(stored.value_config)
        if stored.value or self.value.get("network") == "policy_logits":
            value |= self.value
        return dataclasses.replace(stored, config=config, value_config=value)


def _task_vocabulary(file: pathlib.Path) -> tuple[str | None, str]:
    """The vocabulary of a run's task, for `--tokenizer`, and a note about it."""
    try:
        gin_setup.parse([str(file)], [], only=TASK_OF_A_FOLDER)
        import_modules(gin_setup.macro("MIXTURE_OR_TASK_MODULE"))
        # Of a mixture, any: its tasks have one vocabulary.
        (task, _), *_ = tasks_and_rates(gin_setup.macro("MIXTURE_OR_TASK_NAME"))
    except UserError as error:
        return None, f"the task's vocabulary is not known: {error}"
    described = describe_vocabulary(task.vocabulary)
    path = getattr(task.vocabulary, "sentencepiece_model_file", None)
    if path is None and described != BYTE:
        return None, f"the task's vocabulary ({described}) is none of transformers'"
    note = f"vocabulary = {path or BYTE!r}: that of the task '{task.name}'"
    if marks := getattr(task.vocabulary, "marks", None):
        note += f", where white space is written as {dict(marks)}"
    return path or BYTE, note


def _first(bound: Mapping[str, object], name: re.Pattern) -> object:
    return next((value for key, value in bound.items() if name.fullmatch(key)), None)


def _are_activations(found: object, stored: StoredModel) -> bool:
    return (
        isinstance(found, list | tuple)
        and all(isinstance(name, str) for name in found)
        and len(found) == len(stored.config.mlp_activations)
    )


# ------------------------------------------------------------------------- summary


def _summary(
    stored: StoredModel, to: str, tokenizer: str | None, notes: Sequence[str]
) -> Iterator[str]:
    yield f"  {'':<10}{'tensors':>8}{'parameters':>16}{'size':>12}  types"
    for name in ("policy", "value", "reference"):
        yield f"  {name:<10}{_counted(getattr(stored, name))}"
    yield from _renamed(stored, to)
    yield "missing: nothing"
    yield from _section("left out", _left_out(stored, to))
    yield from _section("known or assumed", [*notes, *_model_type(stored, to)])
    if to == "hf":
        files = [os.path.basename(path) for path in stored.tokenizer_files]
        given = [tokenizer] if tokenizer else files
        yield "tokenizer: " + (
            ", ".join(given)
            or "none is known; AutoTokenizer needs one: give it by --tokenizer"
        )


def _counted(leaves: Leaves) -> str:
    if not leaves:
        return f"{'none':>8}"
    sizes = [math.prod(leaf.shape) for leaf in leaves.values()]
    dtypes = sorted({leaf.dtype.name for leaf in leaves.values()})
    size = sum(
        count * leaf.dtype.itemsize
        for count, leaf in zip(sizes, leaves.values(), strict=True)
    )
    return f"{len(sizes):>8}{sum(sizes):>16,}{_bytes(size):>12}  {', '.join(dtypes)}"


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:,.2f} GB"


def _renamed(stored: StoredModel, to: str) -> Iterator[str]:
    pairs = []
    names = written_names(stored) if to == "hf" else {}
    for path, leaf in stored.policy.items():
        parts = dict.fromkeys(names.get(path, (path,)))
        last = f" to {list(parts)[-1]}" if len(parts) > 1 else ""
        pairs.append((path, _name(leaf), f"{next(iter(parts))}{last}"))
    changed = [pair for pair in pairs if pair[1] != pair[2]]
    rule = ""
    if changed:
        rule = ": " + _rule(stored, to)
    yield f"renamed: {len(changed)} of {len(pairs)} of the policy's{rule}"
    changed.sort(key=lambda pair: not pair[0].startswith("encoder/"))
    for kind in _EXAMPLES:
        for _, before, after in [pair for pair in changed if kind in pair[0]][:1]:
            yield f"  {before} → {after}"


def _name(leaf: Leaf) -> str:
    """A parameter's name in its source, as T5X or Hugging Face would say it."""
    name = leaf.origin.split(": ", 1)[-1]
    if name.startswith("target."):  # a folder of T5X's legacy format
        name = name.replace(".", "/")
    return name.removeprefix("target/")


def _rule(stored: StoredModel, to: str) -> str:
    theirs = "Hugging Face's names, matrices transposed"
    if stored.format == "hf" and to == "hf":
        return theirs
    if stored.format == "hf":
        return f"from {theirs}, to T5X's"
    if to == "hf":
        return f"from T5X's names to {theirs}"
    return (
        "layers stacked" if stored.config.scan_layers else "stacked layers taken apart"
    )


def _left_out(stored: StoredModel, to: str) -> list[str]:
    left = [f"{name}: {reason}" for name, reason in stored.ignored.items()]
    if to == "hf":
        if stored.reference:
            left.append(
                f"reference ({counted(len(stored.reference), 'tensor')}): the format has no place "
                "for it"
            )
        return left
    if stored.value_config:
        settings = {k: v for k, v in stored.value_config.items() if k != "trunk"}
        left.append(
            f"value settings {_listed(settings)}: a gin file sets them (ValueConfig)"
        )
    left += [
        f"{path.name}: a task names its vocabulary" for path in stored.tokenizer_files
    ]
    return left


def _model_type(stored: StoredModel, to: str) -> Iterator[str]:
    if to != "hf":
        return
    model_type = written_model_type(stored)
    yield f"model_type = {model_type!r}" + (
        ": layers have different relative position biases"
        if model_type == "umt5"
        else ""
    )
    if not stored.config.logits_via_embedding:
        yield (
            "transformers 5 says of such a model that shared.weight and lm_head.weight "
            "will not be tied: that is right, nothing is to be done"
        )
    if model_type == "umt5" and not stored.config.logits_via_embedding:
        yield (
            "transformers 5 before 5.24 scales an umT5's logits by d_model^-0.5, whatever "
            "config.json says (docs/troubleshooting.md)"
        )


def _listed(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in settings.items())


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}:" + ("" if lines else " nothing")
    for line in lines:
        yield f"  {line}"
