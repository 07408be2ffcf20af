"""Made pairs, and what the package alpaca-eval says of them; README.md tells how to run it.

`length_controlled_minimal` uses no difficulty of instructions, yet downloads a table of
them: a table of zeros stands in for it.
"""

import json
import pathlib
import tempfile
import warnings

import numpy as np
import pandas as pd
from alpaca_eval.metrics import glm_winrate

FOLDER = pathlib.Path(__file__).parent


def made(seed, count, advantage, effect, spread, kind):
    """Lengths of two runs' responses in characters, and preferences for the first."""
    rng = np.random.default_rng(seed)
    second = rng.integers(20, 200, count)
    first = np.maximum(0, second + np.round(rng.normal(30, spread, count))).astype(int)
    logits = advantage + effect * np.tanh((first - second) / spread)
    chance = 1 / (1 + np.exp(-logits))
    preferences = (rng.random(count) < chance).astype(float)
    if kind == "ties":
        preferences[rng.random(count) < 0.25] = 0.5
    elif kind == "probabilities":
        preferences = np.round(rng.beta(4 * chance, 4 - 4 * chance), 3)
    elif kind == "unanswered":
        preferences[rng.random(count) < 0.2] = np.nan
    return first, second, preferences


def package_says(first, second, preferences):
    # The package's model is its second output, preferred at 2.
    frame = pd.DataFrame(
        {
            "preference": preferences + 1,
            "index": range(len(preferences)),
            "output_1": ["x" * length for length in second],
            "output_2": ["x" * length for length in first],
            "generator_1": "second",
            "generator_2": "first",
            "annotator": "made",
        }
    )
    return glm_winrate.get_length_controlled_winrate(
        frame,
        glm_name="length_controlled_minimal",
        save_weights_dir=None,
        is_warn_extreme_changes=False,
    )


CASES = {
    "longer is liked": (0, 200, 0.5, 1.5, 40, "binary"),
    "ties": (1, 240, -0.3, 0.8, 60, "ties"),
    "probabilities": (2, 300, 0.1, 2.0, 30, "probabilities"),
    "a few pairs": (3, 30, 0.0, 1.0, 20, "binary"),
    "nearly all won": (4, 60, 3.0, 1.0, 20, "binary"),
    "chance": (5, 100, 0.0, 0.0, 20, "ties"),
    "unanswered": (6, 150, 0.8, -1.0, 50, "unanswered"),
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        zeros = f"{folder}/df_gamed.csv"
        table = {"model": "", "index": range(1000), "instruction_difficulty": 0.0}
        pd.DataFrame(table).to_csv(zeros, index=False)
        glm_winrate.hf_hub_download = lambda **_: zeros
        lines = []
        for name, settings in CASES.items():
            first, second, preferences = made(*settings)
            said = package_says(first, second, preferences)
            case = {
                "name": name,
                "first": first.tolist(),
                "second": second.tolist(),
                "preferences": [None if np.isnan(x) else x for x in preferences],
                "win_rate": float(said["win_rate"]) / 100,
                "length_controlled": float(said["length_controlled_winrate"]) / 100,
            }
            lines.append(json.dumps(case))
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    (FOLDER / "length_controlled.json").write_text(text)
