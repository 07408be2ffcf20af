"""Every format that a model is read from and written to, recognised by looking."""

import os
import pathlib
import shutil
import tempfile

from dro_jax.errors import CheckpointError, ConfigError, UserError
from dro_jax.interop import locations
from dro_jax.interop.foreign_models import check_no_foreign_folder
from dro_jax.interop.gin_model import gin_model_file
from dro_jax.interop.layouts import in_layout
from dro_jax.interop.stored_model import Format, StoredModel
from dro_jax.paths import checkpoint_step

# Each format's own module is imported where it is used.
_ORBAX_FILES = ("state/_METADATA", "state/manifest.ocdbt")
MODEL_FILE = "model.gin"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def recognise(path: str | os.PathLike) -> Format:
    """The format of what lies at a path.

    Args:
      path: a model folder (its newest checkpoint counts), one `checkpoint_N` folder, a
        Hugging Face folder, the URL of one of these, or a name on Hugging Face's hub.

    Raises:
      CheckpointError: nothing that can be read lies there.
    """
    return locate(path)[0]


def open_model(
    path: str | os.PathLike, *, scan_layers: bool | None = None
) -> StoredModel:
    """A model on disk in any format; its arrays are read when they are asked for.

    Args:
      path: as in :func:`recognise`.
      scan_layers: the layout of T5X's in which to have it; None leaves it as it is.

    Raises:
      CheckpointError: there is no such model, it cannot be read, or it cannot be had in
        the layout.
    """
    format, folder = locate(path)
    if format == "hf":
        from dro_jax.interop.hugging_face import open_hugging_face

        stored = open_hugging_face(folder)
    elif format == "t5x-legacy":
        from dro_jax.interop.t5x_legacy import open_legacy

        stored = open_legacy(folder)
    else:
        from dro_jax.interop.t5x_orbax import open_orbax

        stored = open_orbax(folder, format)
    return stored if scan_layers is None else in_layout(stored, scan_layers)


def write_model(
    stored: StoredModel,
    destination: str | os.PathLike,
    format: Format,
    *,
    tokenizer: str | None = None,
) -> None:
    """Writes a model, whole or not at all.

    T5X's formats keep the layout that the model has; Hugging Face's has but one.

    Args:
      stored: the model; one array at a time is in memory.
      destination: a folder that is not there yet, or is empty.
      format: how to store it.
      tokenizer: for `hf`, where the tokenizer's files are to be copied from.

    Raises:
      CheckpointError: the destination holds something, or the model cannot be read.
      ConfigError: the destination cannot be written, or a tokenizer has no use.
    """
    target = check_destination(destination)
    if tokenizer is not None and format != "hf":
        raise ConfigError(
            f"a tokenizer has no place in the format {format!r}, only in 'hf': leave "
            "it out"
        )
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        _write(stored, partial, target, format, tokenizer)
        # Under its name only when it is whole: a kill leaves no half model there.
        if target.exists():
            target.rmdir()
        partial.rename(target)
    except UserError:
        raise
    except (OSError, ValueError) as error:  # TensorStore's are ValueErrors
        raise ConfigError(f"{target} cannot be written ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_destination(destination: str | os.PathLike) -> pathlib.Path:
    """The folder that a model is to be written to: of a link, what it leads to.

    Raises:
      CheckpointError: it holds something.
      ConfigError: it is no local folder, or cannot be made.
    """
    text = os.fspath(destination)
    if locations.is_url(text) and not text.startswith("file://"):
        raise ConfigError(
            f"{text}: models are written to local folders alone. Write it to one, and "
            "copy that (gcloud storage cp -r)"
        )
    target = pathlib.Path(os.path.realpath(locations.normalised(text)))
    locations.check_free(target)
    # Tried where the new one is to be: permissions do not tell all.
    parent = next(path for path in target.parents if os.path.lexists(path))
    try:
        with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=parent):
            pass
    except OSError as error:
        raise ConfigError(f"{target} cannot be written ({error})") from error
    return target


def _write(
    stored, folder: pathlib.Path, final: pathlib.Path, format: Format, tokenizer
) -> None:
    """Writes into a folder that will then be renamed to the final one."""
    if format == "hf":
        from dro_jax.interop.hugging_face import write_hugging_face

        write_hugging_face(stored, str(folder), tokenizer=tokenizer)
    elif format == "t5x-legacy":
        from dro_jax.interop.t5x_legacy import write_legacy

        write_legacy(stored, folder)
    else:
        from dro_jax.interop.t5x_orbax import write_orbax

        write_orbax(stored, folder)
        if format == "dro-jax":
            text = gin_model_file(stored, final / MODEL_FILE)
            (folder / MODEL_FILE).write_text(text, encoding="utf-8")


def locate(path: str | os.PathLike) -> tuple[Format, str]:
    """The format, and the folder that holds the arrays; raises as :func:`recognise`."""
    folder = locations.normalised(path)
    if not locations.is_url(folder) and not os.path.isdir(folder):
        from dro_jax.interop.hugging_face import is_hub_name

        if is_hub_name(os.fspath(path)):
            return "hf", os.fspath(path)
        raise CheckpointError(_no_folder(folder))
    if format := _format_of(folder):
        return format, folder
    steps = {
        step: name
        for name in locations.names(folder, "checkpoint_")
        if (step := checkpoint_step(name)) is not None
    }
    for step in sorted(steps, reverse=True):
        child = f"{folder}/{steps[step]}"
        if format := _format_of(child):
            return format, child
    raise CheckpointError(_nothing(folder))


def _format_of(folder: str) -> Format | None:
    """The format of what lies in a folder itself."""
    if _has(folder, "config.json"):
        return "hf"
    if _has(folder, "checkpoint"):
        return "t5x-legacy"
    if not locations.is_url(folder):
        ours = os.path.join(folder, "run"), os.path.join(folder, os.pardir, MODEL_FILE)
        if not os.path.isdir(os.path.join(folder, "state")):
            return None
        return "dro-jax" if any(map(os.path.exists, ours)) else "t5x"
    if any(_has(folder, name) for name in _ORBAX_FILES):
        return "t5x"
    return None


def _has(folder: str, name: str) -> bool:
    if locations.is_url(folder):
        return locations.read_key(folder, name) is not None
    return os.path.isfile(os.path.join(folder, name))


def _no_folder(path: str) -> str:
    if path.endswith(_PICKLES):
        return f"{path} cannot be read: {_refusal()}"
    if os.path.isfile(path):
        return f"{path} is a file: give the folder that it lies in"
    return (
        f"there is no checkpoint at {path}: there is no such folder. Give a model "
        "folder or one of its checkpoint_N folders"
    )


def _nothing(folder: str) -> str:
    if not locations.is_url(folder):
        check_no_foreign_folder(pathlib.Path(folder))
        pickles = [name for name in os.listdir(folder) if name.endswith(_PICKLES)]
        if pickles:
            return f"{os.path.join(folder, pickles[0])} is not read: {_refusal()}"
    return (
        f"there is no complete checkpoint in {folder}. Looked for folders "
        "'checkpoint_N' that contain 'state' (Orbax: dro_jax, T5X) or a file "
        "'checkpoint' (T5X's legacy format), for these two in the folder itself, and "
        "for 'config.json' (Hugging Face). Was a run stopped before its first save?"
    )


def _refusal() -> str:
    return (
        "a pickle can run any program when it is opened. Save the model as safetensors, "
        "with transformers' save_pretrained(folder, safe_serialization=True)"
    )
