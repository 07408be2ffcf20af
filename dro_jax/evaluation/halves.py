"""Two halves of the prompts: one to choose by, one to report on."""

import hashlib
from collections.abc import Iterable


def halves(prompt_ids: Iterable[str]) -> tuple[list[str], list[str]]:
    """The half to choose settings by, and the half that had no say.

    What is best of many on some prompts is so by chance too, and looks better there than
    it is. The order of digests has nothing to do with that of the data, and is the same
    for all runs.

    Args:
      prompt_ids: any number of each; each counts once.

    Returns:
      Lists without a prompt in common, of like size.
    """
    order = sorted(set(prompt_ids), key=_digest)
    middle = len(order) // 2
    return order[:middle], order[middle:]


def _digest(prompt_id: str) -> str:
    # Ids may be digests already, by which data may be split or ordered: not by this one.
    return hashlib.sha256(f"half {prompt_id}".encode()).hexdigest()
