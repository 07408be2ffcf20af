"""What differs between two runs: parameters, optimiser, data position, metrics, texts."""

import itertools
import json
import logging
import math
import pathlib

import jax
import numpy as np

# Rates depend on the clock, not on the run.
_RATES = ("per_second", "mfu")


def differences(one: pathlib.Path, other: pathlib.Path, step: int) -> list[str]:
    """What is not bitwise alike in two runs, at a step and in the metrics up to it."""
    states = [_state(folder, step) for folder in (one, other)]
    if states[0].keys() != states[1].keys():
        return [f"arrays {sorted(states[0].keys() ^ states[1].keys())}"]
    found = [
        name
        for name, array in states[0].items()
        if array.tobytes() != states[1][name].tobytes()
    ]
    facts = [
        (_saved(folder, step) / "run" / "metadata").read_text()
        for folder in (one, other)
    ]
    if facts[0] != facts[1]:
        found.append("the run's progress (data position)")
    lines = [
        [line for line in metrics(folder) if line["step"] <= step]
        for folder in (one, other)
    ]
    for a, b in itertools.zip_longest(*lines):
        if a != b:
            found.append(f"metrics.jsonl: {a} became {b}")
            break
    texts = [folder / "samples.jsonl" for folder in (one, other)]
    texts = [path.read_text() if path.exists() else "" for path in texts]
    if texts[0] != texts[1]:
        found.append("the sampled texts")
    if len(lines[0]) != step:
        found.append(f"{len(lines[0])} lines of metrics, not {step}")
    return found


def distances(one: pathlib.Path, other: pathlib.Path, step: int) -> dict[str, float]:
    """How far two runs are apart, relative to the greater of the two.

    Returns:
      `loss`, the largest over the steps' losses; `params`, that of the parameters' norm
      of the difference by their norm.
    """
    losses = [[line["loss"] for line in metrics(folder)] for folder in (one, other)]
    apart = [
        abs(a - b) / max(abs(a), abs(b), 1e-30) for a, b in zip(*losses, strict=True)
    ]
    states = [_state(folder, step) for folder in (one, other)]
    params = [name for name in states[0] if name.startswith("['target']")]
    apart_by = _norm([states[0][name] - states[1][name] for name in params])
    whole = _norm([states[0][name] for name in params])
    return {"loss": max(apart), "params": apart_by / whole}


def metrics(model_dir: pathlib.Path) -> list[dict]:
    """The log's lines without what depends on the clock."""
    return [
        {k: v for k, v in json.loads(line).items() if not k.endswith(_RATES)}
        for line in (model_dir / "metrics.jsonl").read_text().splitlines()
    ]


def last_step(model_dir: pathlib.Path) -> int:
    """The newest step in the log; 0 without one."""
    path = model_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return json.loads(line)["step"]
        except json.JSONDecodeError:
            continue  # cut short by a kill
    return 0


def unfinished_saves(model_dir: pathlib.Path) -> set[str]:
    """Folders of checkpoints that are being written, or were when a kill came."""
    return {path.name for path in model_dir.glob("*orbax-checkpoint-tmp*")}


def _norm(arrays: list[np.ndarray]) -> float:
    return math.hypot(*(float(np.linalg.norm(array)) for array in arrays))


def _saved(folder: pathlib.Path, step: int) -> pathlib.Path:
    return folder / f"checkpoint_{step}"


def _state(folder: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    # It would say of each checkpoint that the state alone has no metadata.
    logging.getLogger("absl").setLevel(logging.ERROR)
    # To the host: whoever compares has other devices than the runs had.
    with ocp.PyTreeCheckpointer() as checkpointer:
        state = _saved(folder, step) / "state"
        tree = checkpointer.metadata(state).item_metadata.tree
        to_host = ocp.RestoreArgs(restore_type=np.ndarray)
        found = checkpointer.restore(
            state, restore_args=jax.tree.map(lambda _: to_host, tree)
        )
    leaves = jax.tree_util.tree_flatten_with_path(found)[0]
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
