"""Evaluated runs that no model made: plausible texts, rewards, logs and verdicts."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from dro_jax.evaluation.evaluated_run import (
    Estimate,
    EvaluatedRun,
    SampledResponse,
    WinRate,
)
from dro_jax.evaluation.figures import figures_of

# Mean reward, KL in nats, mean words.
POLICIES = {
    "reference": (0.05, 0.0, 14),
    "nll": (0.16, 0.9, 15),
    "kto": (0.42, 3.8, 19),
    "dro_v": (0.61, 2.4, 16),
}
_WORDS = (
    *("you", "could", "ask", "the", "office", "to", "send", "another", "copy", "of"),
    *("form", "and", "then", "wait", "a", "day", "before", "calling", "again", "since"),
    *("most", "requests", "are", "answered", "by", "next", "morning", "or", "sooner"),
)
# The ids of a report of all that is made here.
REPORT_PARTS = (
    "summary",
    "win-rates",
    "reward-against-kl",
    "learning-curves",
    "length-and-diversity",
    "value",
    "advantages",
    "left-out",
    "samples",
    "settings",
    "fingerprints",
    "cost",
)
# As a run of A-LoL leaves them.
ADVANTAGES = {
    "name": "desk", "split": "train", "leftover": 60,
    "advantages": {"count": 200, "mean": -0.1, "std": 1.0, "min": -2.0, "max": 1.5,
                   "quantiles": [[0.5, -0.2]]},
    "histogram": {"counts": [40, 100, 60], "values": None,
                  "edges": [-2.0, -1.0, 0.0, 1.5]},
    "shares": [
        {"kind": "source", "name": "chat", "records": 150, "leftover": 57, "mean": 0.1},
        {"kind": "source", "name": "mail", "records": 50, "leftover": 3, "mean": -0.7},
    ],
    "most": [{"identity": "/data/log.jsonl line 3", "task": "desk", "advantage": 1.5,
              "reward": 1.0, "value": -0.5, "prompt": "The best prompt <1>",
              "response": "The best reply"}],
    "least": [{"identity": "/data/log.jsonl line 9", "task": "desk", "advantage": -2.0,
               "reward": -1.0, "value": 1.0, "prompt": "The worst prompt",
               "response": "The worst reply"}],
}  # fmt: skip
_PROMPTS = (
    "My parcel has not arrived. What now?",
    "How do I change the address of my account?",
    "The door is locked & the bell <broken>. Whom do I call?",
    "Can I return shoes that I have worn once?",
)


def evaluated(
    label: str, *, num_prompts: int = 12, num_samples: int = 1, seed: int = 0
) -> EvaluatedRun:
    """A run's evaluation; its prompts are the same for every label."""
    reward, kl, words = POLICIES.get(label, (0.3, 1.0, 15))
    own = int(hashlib.sha256(label.encode()).hexdigest()[:6], 16)
    random = np.random.default_rng(own + seed)
    responses = [
        _response(random, number, sample, reward, kl, words)
        for number in range(num_prompts)
        for sample in range(num_samples)
    ]
    figures, tables = figures_of(
        responses, sampled_from_policy=True, num_resamples=200, seed=0
    )
    tables["value_calibration"] = [
        {"low": low, "high": low + 0.5, "count": 3 + n, "mean_value": low + 0.25,
         "mean_reward": low + 0.2 + 0.1 * random.standard_normal()}
        for n, low in enumerate((-0.5, 0.0, 0.5))
    ]  # fmt: skip
    decoding = {"temperature": 1.0, "num_samples": num_samples, "seed": 0}
    settings = {
        "task": "desk", "split": "validation", "num_prompts": num_prompts,
        "decoding": decoding, "checkpoint": {"step": 40, "digest": f"{own:08x}"},
        "rewards": {"helpful": "ab12cd34"},
    }  # fmt: skip
    return EvaluatedRun(label, settings, tuple(responses), figures, tables)


def _response(random, number, sample, reward, kl, words) -> SampledResponse:
    count = max(0, int(random.normal(words, 4)))
    text = " ".join(random.choice(_WORDS, count))
    ratio = kl + (kl > 0) * random.normal(0, 0.4)
    total = float(reward + random.normal(0, 0.15))
    prompt = f"{_PROMPTS[number % len(_PROMPTS)]} (case {number})"
    return SampledResponse(
        prompt_id=hashlib.sha256(prompt.encode()).hexdigest()[:16],
        sample=sample,
        prompt=prompt,
        response=text,
        tokens=count + 1,
        cut=count > 21,
        logprob=-2.0 * count + ratio,
        reference_logprob=-2.0 * count,
        rewards={"helpful": total, "short": -count / 20},
        reward_parts={"helpful": {}, "short": {}},
        references=("Please write to us.",),
        value=total + float(random.normal(0, 0.2)),
    )


def win_rates(labels: list[str], judge: str = "reward model") -> list[WinRate]:
    """Each against each that comes after it."""
    found = []
    for place, first in enumerate(labels):
        for second in labels[place + 1 :]:
            gap = POLICIES[first][0] - POLICIES[second][0]
            rate = 1 / (1 + np.exp(-4 * gap))
            found.append(
                WinRate(
                    first, second, judge, Estimate(rate, rate - 0.1, rate + 0.1, 0.05),
                    wins=int(100 * rate), ties=3, losses=97 - int(100 * rate),
                    unanswered=1, length_controlled=Estimate(0.9 * rate + 0.05),
                )
            )  # fmt: skip
    return found


def write_run(folder: pathlib.Path, *, tau: float = 1.0, seed: int = 0) -> None:
    """What `dro-jax train` leaves in a folder, but for parameters."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "config.gin").write_text(
        f"MODEL_DIR = '{folder}'\nTAU = {tau}\nTRAIN_STEPS = 40\n"
        "import dro_jax.objectives\n"
        "dro_jax.objectives.DROV.tau = %TAU\n"
    )
    lines = [
        {"step": step, "loss": 3 / step + 0.1 * random.random(), "kl": step / 40,
         "num_tokens": 2000.0, "num_trajectories": 50.0, "truncation_rate": 0.25,
         "steps_per_second": 4.0}
        | ({"eval/loss": 4 / step} if step % 20 == 0 else {})
        for step in range(10, 41, 10)
    ]  # fmt: skip
    lines[1]["kl"] = None  # not finite
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 50, "lo')
    records = {
        "split": "train", "num_read": 200, "num_kept": 198,
        "dropped_by_reason": {"empty_response": 2},
        "dropped": [{"identity": f"{folder}/data/log.jsonl line 7",
                     "reason": "empty_response", "message": "the response is empty"}],
    }  # fmt: skip
    (folder / "reward_statistics.json").write_text(
        json.dumps({"desk": {"rewards": {}, "records": records}})
    )
    (folder / "advantages.json").write_text(json.dumps(ADVANTAGES))
    run = folder / "checkpoint_40" / "run"
    run.mkdir(parents=True)
    identity = {"task": "desk", "records": "198 070e7747cb9ec763"}
    (run / "metadata").write_text(json.dumps({"identity": identity}))


def without_policy(run: EvaluatedRun) -> EvaluatedRun:
    """The same responses, as if no policy had given them."""
    figures = {
        name: x
        for name, x in run.figures.items()
        if name != "kl" and not name.startswith("value")
    }
    return dataclasses.replace(run, figures=figures, tables={})
