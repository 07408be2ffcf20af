"""Models of the Hugging Face hub, fetched by name."""

import os
import pathlib
import re
from collections.abc import Callable, Sequence

from dro_jax.errors import CheckpointError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_hub_name(path: str) -> bool:
    """Whether a path could also be a model on the Hugging Face hub: `google/flan-t5-xl`."""
    return bool(_NAME.fullmatch(path)) and not os.path.exists(path)


def from_hub(
    name: str,
    check: Callable[[pathlib.Path], None],
    patterns: Sequence[str],
    extra: str = "hf",
) -> pathlib.Path:
    """The folder of a model's files, which are fetched if they have not been before.

    Args:
      name: the model's.
      check: refuses, by its JSON files, a model whose weights need not be fetched.
      patterns: of the other files that are wanted.
      extra: of this package, which brings the hub's client.

    Raises:
      CheckpointError: the hub has no such model, or cannot be reached; or as `check`.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise CheckpointError(
            f"there is no folder {name}. If it is a model's name on the Hugging Face "
            f"hub, huggingface_hub is needed to fetch it: pip install 'dro-jax[{extra}]', "
            "or download the model and name its folder."
        ) from None

    def fetched(*wanted: str) -> pathlib.Path:
        return pathlib.Path(
            huggingface_hub.snapshot_download(name, allow_patterns=list(wanted))
        )

    try:
        # A model of another kind is refused before its weights come.
        check(fetched("*.json"))
        return fetched("*.json", *patterns)
    except CheckpointError:
        raise
    except Exception as error:  # of whichever HTTP library the hub's client uses
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise CheckpointError(
            f"there is no folder {name}, and the Hugging Face hub gives no model of "
            f"that name ({type(error).__name__}: {reason}). Check the name and the "
            "connection, or download the model where there is one and name its folder."
        ) from error
