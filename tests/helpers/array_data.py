"""Feedback in NumPy arrays: what the trainer needs of a data set, without TensorFlow."""

import dataclasses
import hashlib
import types

import numpy as np

from dro_jax.data.record_ids import PromptRecords, join_ids


@dataclasses.dataclass(frozen=True)
class ArrayDataset:
    """Copying with feedback: a response that repeats the prompt is worth 1, else −1."""

    num_records: int = 48
    batch_size: int = 8
    num_epochs: int | None = None
    split: str = "train"
    seed: int = 0
    bad_reward: float | None = None
    vocabulary: object | None = None
    kept: tuple[int, ...] | None = None
    group_size: None = None
    single_responses: str = "keep"

    def one_pass(self, *, pack=None):
        # Every row holds one record; as `DatasetConfig`, packed anew all are drawn.
        kept = self.kept if pack is None else None
        return dataclasses.replace(self, num_epochs=1, kept=kept)

    def drawn(self, weights, *, with_replacement):
        assert not with_replacement, "these arrays know epochs alone"
        return dataclasses.replace(self, kept=tuple(np.flatnonzero(weights > 0)))

    @property
    def packing(self):
        return types.SimpleNamespace(window=self.batch_size)

    @property
    def name(self):
        return "copying"

    def fingerprint(self, *, rewards=False, order=False):
        found = {"records": f"{self.num_records} from seed {self.seed}"}
        return found | ({"rewards": str(self.bad_reward)} if rewards else {})

    def has_split(self):
        return True

    def identities(self, batch):
        present = batch["trajectory_weights"] > 0
        return [f"record {index}" for _, index in batch["record_ids"][present].tolist()]

    def prompt_records(self):
        """A prompt is its first token's, so that prompts have several responses."""
        batches = list(self.one_pass(pack=True).batches())
        ids, tokens, rewards = (
            np.concatenate([batch[name] for batch in batches])
            for name in ("record_ids", "encoder_input_tokens", "rewards")
        )
        hashes = token_hashes(tokens[:, :1])
        return PromptRecords(join_ids(ids)[:, 0], hashes, rewards[:, 0])

    def facts(self):
        return {"copying": {"records": {"num_kept": self.num_records}}}

    def batches(self, start=(0, 0), shard=(0, 1), beside=None):
        rng = np.random.default_rng(self.seed)
        prompts = rng.integers(2, 40, (self.num_records, 4)).astype(np.int32)
        copies = rng.random(self.num_records) < 0.5
        responses = np.where(copies[:, None], prompts, prompts[:, ::-1])
        rewards = np.where(copies, 1.0, -1.0).astype(np.float32)
        if self.bad_reward is not None:
            rewards[13 % self.num_records] = self.bad_reward
        kept = np.arange(self.num_records) if self.kept is None else np.array(self.kept)
        per_epoch = max(len(kept) // self.batch_size, 1)
        batch = start[0] // self.batch_size
        while self.num_epochs is None or batch < self.num_epochs * per_epoch:
            first = batch % per_epoch * self.batch_size
            rows = kept[np.arange(first, first + self.batch_size) % len(kept)]
            batch += 1
            whole = {
                "encoder_input_tokens": prompts[rows],
                "decoder_input_tokens": np.pad(responses[rows], ((0, 0), (1, 0)))[
                    :, :-1
                ],
                "decoder_target_tokens": responses[rows],
                "decoder_loss_weights": np.ones((self.batch_size, 4), np.int32),
                "rewards": rewards[rows][:, None],
                "trajectory_weights": np.ones((self.batch_size, 1), np.float32),
                "record_ids": np.stack([7 + 0 * rows, rows], -1)[:, None].astype(
                    np.int32
                ),
                "truncated": np.zeros((self.batch_size, 1), np.int32),
            }
            size = self.batch_size // shard[1]
            own = slice(shard[0] * size, (shard[0] + 1) * size)
            position = np.array([batch * self.batch_size, 0])
            if beside is not None:
                present = whole["trajectory_weights"] > 0
                others = beside(whole["record_ids"], present)
                tokens = whole["encoder_input_tokens"][others]
                whole["mismatched_encoder_input_tokens"] = tokens
                whole["mismatched_weights"] = whole["trajectory_weights"][others]
            yield {name: x[own] for name, x in whole.items()} | {
                "next_position": position
            }


def token_hashes(rows):
    """``[N]`` uint64: a hash of each row of tokens, as a store's are of texts."""
    digests = [hashlib.sha256(row.tobytes()).digest()[:8] for row in rows]
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)


def assert_same_batches(actual, expected):
    """Two lists of batches hold the same arrays, bit by bit."""
    assert len(actual) == len(expected) > 0
    for one, other in zip(actual, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
            assert one[name].dtype == other[name].dtype
