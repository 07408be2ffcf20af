"""Settings of all targets."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Common:
    """What every launch is told.

    Attributes:
      t5x_dir: folders that the hosts put on PYTHONPATH for T5X's own programs; None
        where they are installed.
    """

    t5x_dir: str | Sequence[str] | None = None

    @property
    def t5x_folders(self) -> list[str]:
        """The folders, in their order."""
        if self.t5x_dir is None:
            return []
        return [self.t5x_dir] if isinstance(self.t5x_dir, str) else [*self.t5x_dir]
