"""Sources of single trajectories from files of any layout."""

from collections.abc import Mapping

from dro_jax.data.layouts import LAYOUTS, find_layout
from dro_jax.data.layouts.lists import expand_list, expand_pro
from dro_jax.data.layouts.pairs import expand_pair
from dro_jax.data.sources import JsonlSource, Paths, RecordSource

__all__ = ["LAYOUTS", "expand_list", "expand_pair", "expand_pro", "jsonl_source"]


def jsonl_source(
    files: Mapping[str, Paths],
    layout: str = "trajectories",
    *,
    encoding: str | None = None,
) -> RecordSource:
    """Files whose objects hold one trajectory or several.

    Args:
      files: split name to a path or several, as `JsonlSource` takes them.
      layout: a name in `dro_jax.data.layouts.LAYOUTS`, as `trajectories` or `pairs`.
      encoding: of files of text; None, UTF-8, or UTF-16 with its mark.

    Raises:
      ConfigError: the layout is unknown, or a split has no files.
    """
    return find_layout(layout).source(JsonlSource(files, encoding=encoding))
