"""The runs that are compared and what each is compared with, opened but not read."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from dro_jax.cli.restored import Described, check_same_network, describe
from dro_jax.data.vocabularies import describe_vocabulary
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.evaluation.evaluated_run import REFERENCE
from dro_jax.evaluation.sampled_responses import Policy
from dro_jax.interop import formats
from dro_jax.interop.policy_digest import digest_of
from dro_jax.paths import checkpoint_step, expanded, is_url
from dro_jax.training.initialization import check_tokenizer, stored_params
from dro_jax.training.run_files import CONFIG

# Every step changes these too, and a large model is not read for its digest.
_SMALL_ARRAYS = 1 << 16
# A folder and which of its checkpoints; None, the newest.
Place = tuple[str, int | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A policy that is sampled.

    Attributes:
      label: what tables call it.
      home: the folder whose evaluations its own are among: its own, or that of a run
        that started from it, where its own is no place for them.
      described: its model, and where its parameters are.
      checkpoint: what tells it from all others, as values that JSON holds.
      is_run: whether it was asked for, and is not there as a reference alone.
      is_reference: whether another is compared with it.
      has_value: whether its checkpoint holds a value estimate.
      inside: the folder in that folder's evaluation which is its own; "" where the
        folder is its own.
      reference: what it is compared with; None, nothing, or itself if it is another's
        reference.
    """

    label: str
    home: pathlib.Path
    described: Described
    checkpoint: dict[str, Any]
    is_run: bool
    is_reference: bool
    has_value: bool
    inside: str
    reference: "Candidate | None"

    def load(self) -> Policy:
        """With its parameters, on the devices."""
        found = self.described
        params = stored_params(
            found.model, found.stored, found.mesh, value=self.has_value
        )
        return Policy(found.model, params)


def open_candidates(
    arguments, read_settings: Callable[[], Any]
) -> tuple[list[Candidate], Any]:
    """The references and the runs of a command line; no array is read.

    Args:
      arguments: the command line.
      read_settings: called where gin's configuration is there: the first run's settings
        and those of the flags.

    Returns:
      References that are no runs, then runs, each once, in their order; and what
      `read_settings` gave.

    Raises:
      CheckpointError, ConfigError: a folder cannot be used, or two do not go together.
    """
    runs: dict[Place, Described] = {}
    settings, mesh = None, None
    for folder in arguments.runs:
        place = (os.path.realpath(folder), arguments.step)
        if place in runs:
            continue
        runs[place] = describe(arguments, pathlib.Path(folder), place[1], mesh=mesh)
        if mesh is None:
            settings, mesh = read_settings(), runs[place].mesh
    starts = {
        place: _start(arguments.reference, place[0], own) for place, own in runs.items()
    }
    references: dict[Place, tuple[Described, pathlib.Path | None]] = {}
    for place, start in starts.items():
        if start is not None and start not in runs and start not in references:
            references[start] = _reference(arguments, start, runs[place])
    labels = _labels([*references, *runs])
    built: dict[Place, Candidate] = {}

    def build(place: Place) -> Candidate:
        if place not in built:
            start = starts.get(place)
            other = None if start in (None, place) else build(start)
            described, home = references.get(place) or (runs[place], place[0])
            its_run = next((run for run, its in starts.items() if its == place), place)
            if place not in runs and place[0] in [folder for folder, _ in runs]:
                home = (
                    None  # another checkpoint of a run, whose own evaluation it is not
                )
            built[place] = Candidate(
                labels[place],
                pathlib.Path(home or its_run[0]),
                described,
                _identity(described),
                is_run=place in runs,
                is_reference=place in starts.values(),
                has_value=_has_value(described),
                inside=REFERENCE if home is None else "",
                reference=other,
            )
        return built[place]

    found = [build(place) for place in (*references, *runs)]
    _check_alike(found)
    return found, settings


def _start(given: str | None, run: str, described: Described) -> Place | None:
    """What a run is compared with."""
    path = described.started_from if given is None else given
    if path is None:
        return None
    if given is None and (is_url(path) or not os.path.isdir(expanded(path))):
        raise CheckpointError(
            f"{run} started from {path}, which is no folder here: give its reference "
            "by --reference DIR"
        )
    # A typed one may be a URL, or a name on a hub.
    if is_url(path) or not os.path.isdir(path := expanded(path)):
        return path, None
    folder, name = os.path.split(os.path.realpath(path))
    if (step := checkpoint_step(name)) is not None:
        return folder, step
    return os.path.join(folder, name), None


def _reference(
    arguments, place: Place, run: Described
) -> tuple[Described, pathlib.Path | None]:
    """A reference, and its own folder; None where nothing can be kept there."""
    path, step = place
    folder = pathlib.Path(path)
    if (folder / CONFIG).is_file():
        described = describe(arguments, folder, step, mesh=run.mesh)
        own = step is None and os.access(folder, os.W_OK)
        return described, folder if own else None
    name = path if step is None else os.path.join(path, f"checkpoint_{step}")
    scanned = run.model.network_config.scan_layers
    stored = formats.open_model(name, scan_layers=scanned)
    check_same_network(stored, run.model, name)
    check_tokenizer(name, run.task.vocabulary)
    return dataclasses.replace(run, stored=stored, started_from=None), None


def _identity(described: Described) -> dict[str, Any]:
    path = described.stored.path
    step = checkpoint_step(os.path.basename(path))
    if step is None:
        step = described.stored.step
    return {"step": step, "digest": digest_of(path, _SMALL_ARRAYS)}


def _has_value(described: Described) -> bool:
    return described.model.value_config is not None and bool(described.stored.value)


def _labels(places: Sequence[Place]) -> dict[Place, str]:
    """The last part of each folder; as much more as tells them apart."""
    found = {}
    for place in places:
        parts = pathlib.PurePath(place[0]).parts
        step = "" if place[1] is None else f"/checkpoint_{place[1]}"
        others = [pathlib.PurePath(x[0]).parts for x in places if x != place]
        count = 1
        while count < len(parts) and parts[-count:] in [x[-count:] for x in others]:
            count += 1
        same = any(other == parts for other in others)
        found[place] = "/".join(parts[-count:] if not same else parts[-1:]) + (
            step if same else ""
        )
    return found


def _check_alike(candidates: Sequence[Candidate]) -> None:
    """Refuses policies that would not answer the same prompts in the same pieces."""
    first, *others = candidates
    one = first.described
    for other in others:
        two = other.described
        if one.task.vocabulary != two.task.vocabulary:
            raise ConfigError(
                f"{first.label} and {other.label} have different vocabularies "
                f"({describe_vocabulary(one.task.vocabulary)} and "
                f"{describe_vocabulary(two.task.vocabulary)}), so their responses "
                "cannot be compared token by token: evaluate them apart"
            )
        if dict(one.lengths) != dict(two.lengths):
            raise ConfigError(
                f"{first.label} and {other.label} were trained with different lengths "
                f"({dict(one.lengths)} and {dict(two.lengths)}): give those to compare "
                f'them at, for example --gin.TASK_FEATURE_LENGTHS="{dict(one.lengths)}"'
            )
