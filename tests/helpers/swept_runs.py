"""Sweeps that nobody trained: folders of runs with responses, and `sweep.json`."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dro_jax.evaluation.evaluated_run import (
    Estimate,
    EvaluatedRun,
    SampledResponse,
    WinRate,
)
from dro_jax.reporting.sweep_results import SweepResults, SweptTrial

NAME = "desk_validation_0123abcd"
JUDGE = "second model"
_WORDS = ("you", "could", "ask", "the", "office", "to", "send", "another", "copy", "of")


@dataclasses.dataclass(frozen=True)
class Made:
    """What a setting's runs are like.

    Attributes:
      reward, kl: their means.
      noise: of single responses' rewards, a standard deviation.
      luck: of whole runs' rewards.
    """

    reward: float
    kl: float = 1.0
    noise: float = 0.3
    luck: float = 0.0


def settings_of(
    objectives: Sequence[str], **axes: Sequence[Any]
) -> list[dict[str, Any]]:
    """All combinations, objectives first."""
    found: list[dict[str, Any]] = [{"objective": x} for x in objectives]
    for name, values in axes.items():
        found = [one | {name: value} for one in found for value in values]
    return found


def made_sweep(
    folder: pathlib.Path,
    settings: Iterable[Mapping[str, Any]],
    of: Callable[[Mapping[str, Any]], Made],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    num_prompts: int = 40,
    conditions: Sequence[str] = (),
    seed: int = 0,
    judged: bool = True,
    words: int = 8,
) -> SweepResults:
    """Writes a sweep's folder of runs that are all done.

    Args:
      folder: the sweep's.
      settings: values by axis.
      of: what the runs of a setting are like.
      seeds: of each setting.
      num_prompts: that all answer.
      conditions: names of such axes.
      seed: of all that is made.
      judged: whether they have win rates against the reference.
      words: of a response.
    """
    random = np.random.default_rng(seed)
    ids = [hashlib.sha256(f"{n}".encode()).hexdigest()[:16] for n in range(num_prompts)]
    worth = random.normal(0, 0.2, num_prompts)
    trials = [
        SweptTrial(
            0, "reference", "reference", {}, state="complete", folder="reference/0000",
            seconds=9.0, steps=100, tokens=9000, tries=1,
        )
    ]  # fmt: skip
    start = {"step": 100, "digest": "aa"}
    made = Made(0.0, 0.0)
    reference = evaluated(ids, worth, made, random, "0000", start, None, words)
    reference.write(folder / "reference/0000/evaluations" / NAME)
    others = {"label": "0000", **start}
    for values in settings:
        for number in seeds:
            label = " · ".join(f"{name} {x}" for name, x in values.items())
            place = f"policies/{len(trials):04d}"
            trials.append(
                SweptTrial(
                    len(trials), "policies", f"{label} · seed {number}",
                    {**values, "RANDOM_SEED": number}, seed_axis="RANDOM_SEED",
                    state="complete", folder=place, seconds=30.0, steps=40, tokens=4000,
                    tries=1,
                )
            )  # fmt: skip
            checkpoint = {"step": 40, "digest": f"{len(trials):08x}"}
            run = evaluated(
                ids, worth, of(values), random, place[-4:], checkpoint, others, words
            )
            write_run(folder / place, run, judged=judged)
    results = SweepResults(
        "made", "objective", ("reference", "policies"), tuple(trials), tuple(conditions)
    )
    results.write(folder)
    return results


def evaluated(
    ids: Sequence[str],
    worth: np.ndarray,
    made: Made,
    random: np.random.Generator,
    label: str,
    checkpoint: Mapping[str, Any],
    reference: Mapping[str, Any] | None,
    words: int,
) -> EvaluatedRun:
    """A run's evaluation; prompts differ in what they are worth."""
    rewards = made.reward + random.normal(0, made.luck) + worth
    rewards = rewards + random.normal(0, made.noise, len(ids))
    kls = made.kl + (made.kl > 0) * random.normal(0, 0.2, len(ids))
    spoken = random.choice(_WORDS, (len(ids), words))
    responses = tuple(
        SampledResponse(
            prompt_id=prompt, sample=0, prompt=f"Question {prompt}?",
            response=" ".join(text), tokens=words + 1, cut=False,
            logprob=float(kl) - 20.0, reference_logprob=-20.0,
            rewards={"helpful": float(reward), "short": -1.0},
        )
        for prompt, text, reward, kl in zip(ids, spoken, rewards, kls, strict=True)
    )  # fmt: skip
    figures = {
        "reward": Estimate(float(rewards.mean())),
        "reward/helpful": Estimate(float(rewards.mean())),
        "reward/short": Estimate(-1.0),
        "kl": Estimate(float(kls.mean())),
        "distinct_2": Estimate(0.5),
        "self_bleu": Estimate(0.2),
        "length": Estimate(float(words)),
    }
    settings = {
        "task": "desk", "split": "validation", "prompts": "p", "reference": reference,
        "checkpoint": dict(checkpoint), "decoding": {"temperature": 1.0},
    }  # fmt: skip
    return EvaluatedRun(label, settings, responses, figures)


def write_run(folder: pathlib.Path, run: EvaluatedRun, *, judged: bool = True) -> None:
    """A run's folder, with its log, its evaluation and its win rate."""
    at = folder / "evaluations" / NAME
    run.write(at)
    lines = [{"step": n, "loss": 3.0 / n, "reward": n / 40} for n in (10, 20, 30, 40)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if judged:
        preferences = {
            x.prompt_id: float(x.rewards["helpful"] > 0) for x in run.responses
        }
        rate = float(np.mean(list(preferences.values())))
        found = WinRate(
            run.label, run.settings["reference"]["label"], JUDGE, Estimate(rate),
            1, 1, 1, preferences=preferences,
        )  # fmt: skip
        (at / "verdicts.jsonl").write_text(json.dumps(dataclasses.asdict(found)) + "\n")
