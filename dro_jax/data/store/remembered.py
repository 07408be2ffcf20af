"""What has been computed from whole stores, kept beside them."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence

from dro_jax.data.store.stored_records import StoredRecords
from dro_jax.whole_files import write_json

# Of fewer records, it is computed as fast as it is looked up.
_WORTH_IT = 20_000


def remembered(
    what: str, parts: Sequence[StoredRecords], compute: Callable[[], str]
) -> str:
    """A text that depends on the records alone, computed at the first time.

    Args:
      what: its name.
      parts: the records, in their order.
      compute: gives it.
    """
    if sum(map(len, parts)) < _WORTH_IT or not all(part.is_shared for part in parts):
        return compute()
    names = [part.folder.name for part in parts]
    digest = hashlib.sha256(json.dumps([what, names]).encode()).hexdigest()
    path = parts[0].folder.parent / "computed" / f"{what}-{digest[:24]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_bytes())
        if kept["stores"] == names and isinstance(kept["value"], str):
            return kept["value"]
    value = compute()
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"stores": names, "value": value})
    return value
