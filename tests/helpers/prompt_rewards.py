"""Packed feedback in NumPy arrays whose reward is a function of the prompt, and noise."""

import dataclasses

import numpy as np
import small
from array_data import token_hashes

from dro_jax.data.record_ids import PromptRecords, join_ids


@dataclasses.dataclass(frozen=True)
class PromptRewards:
    """Prompts with several responses each; what they are worth, the prompt decides.

    The reward is −1 + 4 · (share of the prompt's tokens that are 20 or more), with
    Gaussian noise.
    """

    num_prompts: int = 60
    responses: int = 2
    noise: float = 0.0
    slope: float = 4.0
    batch_size: int = 8
    split: str = "validation"
    seed: int = 0
    pack: bool = False

    name = "sizes"
    group_size = None

    def one_pass(self, *, pack=None):
        return dataclasses.replace(self, pack=self.pack if pack is None else pack)

    def fingerprint(self, *, rewards=False, order=False):
        found = {"records": f"{self.num_prompts}·{self.responses} from {self.seed}"}
        return found | ({"rewards": f"noise {self.noise}"} if rewards else {})

    def examples(self):
        rng = np.random.default_rng(self.seed)
        prompts = [
            rng.integers(2, 40, rng.integers(3, 7)) for _ in range(self.num_prompts)
        ]
        examples = [
            {
                "prompt": prompt.astype(np.int32),
                "response": rng.integers(2, 40, 2).astype(np.int32),
                "reward": np.float32(
                    -1 + self.slope * np.mean(prompt >= 20) + self.noise * rng.normal()
                ),
                "id": (9, number * self.responses + response),
            }
            for number, prompt in enumerate(prompts)
            for response in range(self.responses)
        ]
        return [examples[i] for i in rng.permutation(len(examples))]

    def prompt_records(self):
        examples = sorted(self.examples(), key=lambda item: item["id"])
        ids = np.array([item["id"] for item in examples], np.int32).reshape(-1, 2)
        rewards = np.array([item["reward"] for item in examples], np.float32)
        hashes = token_hashes([item["prompt"] for item in examples])
        return PromptRecords(join_ids(ids), hashes, rewards)

    def batches(self, start=(0, 0), shard=(0, 1)):
        assert start == (0, 0)
        size = self.batch_size // shard[1]
        part = slice(shard[0] * size, (shard[0] + 1) * size)
        examples = self.examples()
        slots = 2 if self.pack else 1
        rows = [examples[i : i + slots] for i in range(0, len(examples), slots)]
        for first in range(0, len(rows), self.batch_size):
            batch = self._batch(rows[first : first + self.batch_size], slots)
            yield {name: values[part] for name, values in batch.items()}

    def _batch(self, rows, slots):
        batch = small.pack(rows, packed=self.pack)
        batch = {name: np.asarray(values) for name, values in batch.items()}
        batch["record_ids"] = np.zeros((len(rows), slots, 2), np.int32)
        for r, row in enumerate(rows):
            batch["record_ids"][r, : len(row)] = [item["id"] for item in row]
        missing = self.batch_size - len(rows)  # the last batch is filled up
        return {
            name: np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))
            for name, values in batch.items()
        }
