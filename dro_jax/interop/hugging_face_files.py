"""Folders of safetensors files, read one tensor at a time."""

import contextlib
import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from dro_jax.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {
    "F64": np.dtype("float64"),
    "F32": np.dtype("float32"),
    "F16": np.dtype("float16"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
_OTHER_WEIGHTS = (
    "pytorch_model*.bin",
    "tf_model*.h5",
    "flax_model*.msgpack",
    "*.bin",
    "*.pt",
    "*.ckpt",
)
_OTHER_LIBRARIES = {".h5": ("TensorFlow", "from_tf"), ".msgpack": ("Flax", "from_flax")}
_LFS_POINTER = b"version https://git-lfs"


class Form(NamedTuple):
    """What an array is without its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file.

    Attributes:
      name: its name in the model.
      file: where it is.
      form: shape and type.
      stored_as: its name in the file; None, the same.
    """

    name: str
    file: pathlib.Path
    form: Form
    stored_as: str | None = None

    @property
    def stored_name(self) -> str:
        """Its name in the file."""
        return self.stored_as or self.name

    @property
    def origin(self) -> str:
        """Where it is, for messages."""
        return f"{self.file.name}: {self.stored_name}"

    def read(self, index: Any = ...) -> np.ndarray:
        """The tensor, or the part of it that slices name.

        Raises:
          CheckpointError: the file has changed or cannot be read.
        """
        try:
            with safe_open(self.file, framework="np") as file:
                if index is ...:
                    return file.get_tensor(self.stored_name)
                return file.get_slice(self.stored_name)[index]
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.name} of {self.file} cannot be read ({error}): the file changed "
                "while it was in use, or is damaged; copy or download it again."
            ) from error


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
      CheckpointError: the file is missing, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} holds no {path.name} of a Hugging Face model: name the "
            "folder that save_pretrained wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no JSON that can be read ({error}): it is damaged or "
            "incomplete; copy or download it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object, but {content!r:.50}.")
    return content


def stored_tensors(
    folder: pathlib.Path, loader: str = "AutoModelForSeq2SeqLM"
) -> dict[str, StoredTensor]:
    """The tensors of `model.safetensors`, or of the shards that an index names.

    Args:
      folder: a local one.
      loader: transformers' class for such models, which converts other weights.

    Raises:
      CheckpointError: a file is missing, damaged or in another format than safetensors,
        or a tensor is not where the index says.
    """
    # transformers takes the one file where both are.
    if (folder / WEIGHTS).exists():
        return _tensors_of(folder / WEIGHTS)
    if (folder / INDEX).exists():
        return _indexed_tensors(folder)
    raise CheckpointError(_no_weights(folder, loader))


def _no_weights(folder: pathlib.Path, loader: str) -> str:
    for name in (WEIGHTS, INDEX):
        if (folder / name).is_symlink():
            return (
                f"{folder / name} is a link to what is not there "
                f"({(folder / name).readlink()}): copy what links lead to (cp -rL), or "
                "download the model again."
            )
    if safe := sorted(path.name for path in folder.glob("*.safetensors")):
        advice = f"if that is the model, name it {WEIGHTS}"
        if any("-of-" in name for name in safe):
            advice = f"these are shards: fetch {INDEX}, which tells what each holds"
        return f"{folder} holds no {WEIGHTS}, but {', '.join(safe[:3])}; {advice}."
    others = [path for pattern in _OTHER_WEIGHTS for path in folder.glob(pattern)]
    if others and others[0].suffix in _OTHER_LIBRARIES:
        library, flag = _OTHER_LIBRARIES[others[0].suffix]
        return (
            f"{folder} holds no {WEIGHTS}, but {others[0].name}, {library}'s weights. "
            f"Convert them once with transformers 4 and torch: {loader}"
            f".from_pretrained('{folder}', {flag}=True)"
            ".save_pretrained('NEW_FOLDER'), and name the new folder."
        )
    if not others:
        return (
            f"{folder} holds no {WEIGHTS} and no {INDEX}; save the model with "
            "save_pretrained, which writes safetensors."
        )
    return (
        f"{folder} holds no {WEIGHTS}, but {others[0].name}. Such files are not read: "
        "a pickle can run any code. Where transformers and torch are installed and the "
        "file is from people you trust, convert it once: "
        f"{loader}.from_pretrained('{folder}').save_pretrained('NEW_FOLDER')"
        ", and name the new folder."
    )


def _indexed_tensors(folder: pathlib.Path) -> dict[str, StoredTensor]:
    path = folder / INDEX
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{path} has no weight_map of tensor names to files: it is damaged, or no "
            "index of a Hugging Face model."
        )
    found: dict[str, StoredTensor] = {}
    files = sorted(set(map(str, weight_map.values())))
    for file in files:
        first = next(name for name in weight_map if str(weight_map[name]) == file)
        if pathlib.PurePath(file).name != file:
            raise CheckpointError(
                f"{path} places {first} in {file!r}, which is not in its folder."
            )
        if not (folder / file).exists():
            missing = [name for name in files if not (folder / name).exists()]
            more = f" (missing: {', '.join(missing)})" if len(missing) > 1 else ""
            raise CheckpointError(
                f"{folder} holds no {file}, in which its {INDEX} places {first} and "
                f"others: the download or copy is incomplete{more}; fetch what is "
                "missing."
            )
        for name, tensor in _tensors_of(folder / file).items():
            if name not in found or weight_map.get(name) == file:
                found[name] = tensor
    for name, file in weight_map.items():
        if name not in found or found[name].file.name != file:
            raise CheckpointError(
                f"{path} places {name} in {file}, which holds no such tensor: index "
                "and files are of different models."
            )
    return found


def _tensors_of(path: pathlib.Path) -> dict[str, StoredTensor]:
    tensors = {}
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(name)
                dtype = part.get_dtype()
                if dtype not in DTYPES:
                    raise CheckpointError(
                        f"{name} of {path} is of type {dtype}; weights are read as "
                        f"{', '.join(DTYPES)}. A quantised model cannot be read: take "
                        "the one that it was made from."
                    )
                form = Form(tuple(part.get_shape()), DTYPES[dtype])
                tensors[name] = StoredTensor(name, path, form)
    except (OSError, SafetensorError) as error:
        if _is_pointer(path):
            raise CheckpointError(
                f"{path} is a pointer of Git LFS, not the file itself: run `git lfs "
                f"pull` in {path.parent}, or download the file."
            ) from error
        raise CheckpointError(
            f"{path} is no complete safetensors file ({error}): it is truncated or "
            "damaged; copy or download it again."
        ) from error
    return tensors


def _is_pointer(path: pathlib.Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER
    return False
