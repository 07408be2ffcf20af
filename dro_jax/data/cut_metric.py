"""The share of a model's responses that met the length limit, for seqio's evaluator.

A metric function of seqio's is given texts, in which the end of sequence is no more; a
metric object is given the tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import numpy as np
import seqio

from dro_jax.data.task_metrics import first_of_prompts


@flax.struct.dataclass
class CutMetric(seqio.metrics.Metric):
    """`cut`: of the first record of each prompt, responses without an end of sequence."""

    model_output_type: seqio.metrics.ModelOutputType = (
        seqio.metrics.ModelOutputType.PREDICTION
    )
    share: float = 0.0

    @classmethod
    def from_model_output(
        cls,
        inputs: Sequence[Mapping[str, Any]],
        model_output: Any,
        features: Mapping[str, Any],
        target_field_name: str = "targets",
        mask: np.ndarray | None = None,
        indices_2d: np.ndarray | None = None,
    ) -> "CutMetric":
        """That of tokens ``[N, T]``, or ``[N, K, T]``."""
        places = first_of_prompts([_key(example) for example in inputs])
        tokens = np.asarray(model_output)[places]
        ended = (tokens == features[target_field_name].vocabulary.eos_id).any(-1)
        return cls(share=float(1 - ended.mean()))

    def compute(self) -> dict[str, float]:
        """By its name."""
        return {"cut": self.share}


def _key(example: Mapping[str, Any]) -> bytes:
    return np.asarray(example["inputs"]).tobytes()
