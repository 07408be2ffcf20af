"""Which examples share a row: a plan from their lengths alone."""

import dataclasses

import numpy as np

from dro_jax.errors import DataError

MAX_TRAJECTORIES_PER_ROW = 16
WINDOW = 2048
EMPTY = -1


@dataclasses.dataclass(frozen=True)
class Packing:
    """Rows that several trajectories share.

    Attributes:
      inputs: tokens of prompts that a row holds, L.
      targets: tokens of responses that a row holds, T.
      max_trajectories: the most trajectories of a row, S. Fields of `[B, S]` have that
        many places whether used or not.
      window: how many consecutive examples are packed among themselves. More of them
        leave less padding, and delay the first batch.
    """

    inputs: int
    targets: int
    max_trajectories: int = MAX_TRAJECTORIES_PER_ROW
    window: int = WINDOW

    @property
    def row_tokens(self) -> int:
        """Places for tokens in a row, L + T."""
        return self.inputs + self.targets


def plan_rows(lengths: np.ndarray, packing: Packing) -> np.ndarray:
    """Packs the examples of one window, a deterministic function of their lengths.

    Lengths count as shares of a row, d = (inputs / L, targets / T). A row begins with
    the largest example that is left; then comes, while one fits, the example with the
    highest

        w · d  −  |r_inputs w_targets − r_targets w_inputs|

    where r is what it would leave of the row and w, which sums to 1, the proportion in
    which all examples together need inputs and targets: large ones first, as long as
    neither side of the row runs out before the other. (Dot-product fitting of vectors,
    Panigrahy et al., "Heuristics for Vector Bin Packing", 2011, with the product
    replaced.)

    Args:
      lengths: ``[N, 2]`` tokens of inputs and of targets.
      packing: capacities of a row and its most trajectories; the window is not used.

    Returns:
      ``[R, S]`` int32: the examples of each row, ascending, then -1. Rows are in the
      order of their first examples. Every example comes exactly once.

    Raises:
      DataError: an example is longer than a row.
    """
    lengths = np.asarray(lengths, np.int64).reshape(-1, 2)
    capacity = np.array([packing.inputs, packing.targets])
    too_long = np.flatnonzero((lengths > capacity).any(1))
    if too_long.size:
        raise DataError(
            f"an example of {lengths[too_long[0]].tolist()} tokens (inputs, targets) "
            f"does not fit a row of {capacity.tolist()}: truncate it to the task "
            "feature lengths"
        )
    rows = _fill(lengths, capacity, packing.max_trajectories)
    plan = np.full((len(rows), packing.max_trajectories), EMPTY, np.int32)
    for row, examples in zip(plan, sorted(map(sorted, rows)), strict=True):
        row[: len(examples)] = examples
    return plan


def padding_share(lengths: np.ndarray, packing: Packing) -> float:
    """The share of padding in the rows of a whole data set, windows in its order.

    Args:
      lengths: ``[N, 2]`` tokens of inputs and of targets, N at least 1, as truncated.
      packing: the rows.

    Raises:
      DataError: an example is longer than a row.
    """
    rows = sum(
        len(plan_rows(lengths[first : first + packing.window], packing))
        for first in range(0, len(lengths), packing.window)
    )
    return float(1 - np.sum(lengths) / (rows * packing.row_tokens))


def _fill(lengths: np.ndarray, capacity: np.ndarray, most: int) -> list[list[int]]:
    """The examples of each row, rows and examples in the order of packing."""
    size, balance, whole = _scores(lengths / capacity)
    order = np.argsort(-size, kind="stable")
    size, balance = size[order], balance[order]
    inputs, targets = np.ascontiguousarray(lengths[order].T, np.int32)
    packed = np.zeros(len(order), bool)
    rows = []
    for seed in range(len(order)):
        if packed[seed]:
            continue
        room = capacity - (inputs[seed], targets[seed])
        fits = (inputs[seed:] <= room[0]) & (targets[seed:] <= room[1])
        fits[0] = False
        candidates = seed + fits.nonzero()[0]
        others = _complete(
            most - 1,
            room.tolist(),
            whole - balance[seed],
            candidates,
            *(column[candidates] for column in (inputs, targets, size, balance)),
        )
        packed[others] = True
        inputs[others] = capacity[0] + 1  # fits no room any more
        rows.append(order[[seed, *others]].tolist())
    return rows


def _scores(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(size ``[N]``, lopsidedness ``[N]``, lopsidedness of an empty row)."""
    need = shares.sum(0)
    w_inputs, w_targets = need / max(need.sum(), np.finfo(np.float64).tiny)
    size = shares[:, 0] * w_inputs + shares[:, 1] * w_targets
    balance = shares[:, 0] * w_targets - shares[:, 1] * w_inputs
    return size.astype(np.float32), balance.astype(np.float32), w_targets - w_inputs


def _complete(
    most: int,
    room: list[int],
    lopsided: float,
    candidates: np.ndarray,
    inputs: np.ndarray,
    targets: np.ndarray,
    size: np.ndarray,
    balance: np.ndarray,
) -> list[int]:
    """At most `most` of the candidates, all of which fit the room one by one."""
    chosen = []
    while len(candidates) and len(chosen) < most:
        best = int((size - np.abs(np.float32(lopsided) - balance)).argmax())
        chosen.append(int(candidates[best]))
        room = [room[0] - int(inputs[best]), room[1] - int(targets[best])]
        lopsided -= float(balance[best])
        fits = (inputs <= room[0]) & (targets <= room[1])
        fits[best] = False
        left = fits.nonzero()[0]
        candidates, inputs, targets = candidates[left], inputs[left], targets[left]
        size, balance = size[left], balance[left]
    return chosen
