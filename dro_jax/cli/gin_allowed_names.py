"""The functions and classes that gin files may name, one by one; all objectives.

None of them deletes, writes or imports what its arguments say, whatever these are:
`tests/cli/test_gin_allowed_names.py` calls each with a folder in every place. What a run
itself does with its folders is `train`'s, whose settings files may set and which no value
may call.
"""

import sys
from collections.abc import Iterator
from typing import Any

_OPTAX_SCHEDULES = (
    "constant_schedule cosine_decay_schedule cosine_onecycle_schedule exponential_decay "
    "linear_onecycle_schedule linear_schedule piecewise_constant_schedule "
    "polynomial_schedule sgdr_schedule warmup_constant_schedule "
    "warmup_cosine_decay_schedule warmup_exponential_decay_schedule"
)
_OPTAX_TRANSFORMS = (
    "adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad lamb "
    "lars lion nadam nadamw noisy_sgd novograd radam rmsprop rprop sgd sm3 yogi "
    "adaptive_grad_clip add_decayed_weights add_noise clip clip_by_block_rms "
    "clip_by_global_norm ema identity scale scale_by_adam scale_by_factored_rms "
    "scale_by_learning_rate scale_by_rms scale_by_schedule trace zero_nans"
)
_SEQIO = (
    "ByteVocabulary Feature PassThroughVocabulary SentencePieceVocabulary "
    "TFExampleDataSource TextLineDataSource TfdsDataSource"
)
# What values may call or refer to: module, and names in it.
_NAMES = {
    "dro_jax.data.dataset": "DatasetConfig",
    "dro_jax.evaluation.sampled_evaluation": "SampledEvaluation",
    "dro_jax.judges.asking_cost": "Prices",
    "dro_jax.judges.chat_server": "ChatServer",
    "dro_jax.judges.llm_judge": "LlmJudge",
    "dro_jax.judges.people_judge": "PeopleJudge",
    "dro_jax.judges.reward_judge": "RewardJudge",
    "dro_jax.launching.common": "Common",
    "dro_jax.launching.gke": "Gke",
    "dro_jax.launching.local": "Local",
    "dro_jax.launching.slurm": "Slurm",
    "dro_jax.launching.tpu_vm": "TpuVm",
    "dro_jax.models.decoding": "DecodingConfig",
    "dro_jax.models.model": "FeedbackModel",
    "dro_jax.models.reward_network": "RewardConfig",
    "dro_jax.models.t5_config": "T5Config",
    "dro_jax.models.t5x_contract": "T5XSettings",
    "dro_jax.models.value": "ValueConfig",
    "dro_jax.rewards": (
        "CachedReward Classifier Distinctness Format HttpClient HttpScorer Length Pattern "
        "RewrittenPrompts TaskReward WeightedSum"
    ),
    "dro_jax.rewards.reward_model": "RewardModel",
    "dro_jax.sweeps": (
        "Evaluation Files Grid Integers Pruning Search Seeds Stage Sweep Uniform Zip"
    ),
    "dro_jax.tasks.commonsense": "commonsense_task",
    "dro_jax.tasks.commonsense_critic": "CommonsenseCritic",
    "dro_jax.tasks.dialogue": "dialogue_task",
    "dro_jax.tasks.dialogue_rewards": "dialogue_reward",
    "dro_jax.tasks.helpsteer2": "helpsteer2_task",
    "dro_jax.tasks.hha_published": "hha_task",
    "dro_jax.tasks.jsonl": "jsonl_task",
    "dro_jax.tasks.oasst2": "oasst2_task",
    "dro_jax.tasks.reddit": "reddit_task",
    "dro_jax.tasks.support_desk.logs": "support_desk_log",
    "dro_jax.tasks.ultrafeedback": "ultrafeedback_task",
    "dro_jax.training.checkpoints": "CheckpointConfig",
    "dro_jax.training.online.fresh_samples": "FreshSamples",
    "dro_jax.training.optimizers": "OptimizerConfig adafactor adamw",
    "dro_jax.training.schedules": "learning_rate_schedule",
    "dro_jax.training.sharding": "MeshConfig",
    "dro_jax.training.before.reference_samples": "ReferenceSamples",
    "dro_jax.training.before.value_fit": "ValueFitConfig",
    "optax": f"{_OPTAX_SCHEDULES} {_OPTAX_TRANSFORMS}",
    "seqio": _SEQIO,
    # T5X's own run and model files name these, its trainer and writers aside.
    "t5x.adafactor": "Adafactor standard_logical_factor_rules",
    "t5x.examples.t5.network": "T5Config Transformer",
    "t5x.models": "DecoderOnlyModel EncoderDecoderModel",
    "t5x.optimizers": "OptaxWrapper",
    "t5x.partitioning": "PjitPartitioner standard_logical_axis_rules",
    "t5x.utils": (
        "CheckpointConfig DatasetConfig RestoreCheckpointConfig SaveCheckpointConfig "
        "create_learning_rate_scheduler"
    ),
}
# Files set what these take; only the command itself calls them.
_SETTINGS_ONLY = {"dro_jax.training.train": "train"}


def all_names(*, called: bool = False) -> Iterator[str]:
    """Every listed name in full; `called`, those alone that a value may call."""
    for table in (_NAMES,) if called else (_NAMES, _SETTINGS_ONLY):
        for module, names in table.items():
            yield from (f"{module}.{name}" for name in names.split())
    yield from _objectives()


def _objectives() -> Iterator[str]:
    """Every objective that is exported: their arguments are numbers and words."""
    # Imported late: jax takes a second or two, which early errors do not wait for.
    from dro_jax.objectives import registry

    for kind in registry.kinds().values():
        yield f"dro_jax.objectives.{kind.__name__}"


def is_listed(thing: Any, *, called: bool) -> bool:
    """Whether a function or class is one of these, by whatever path it was reached.

    Args:
      thing: the object itself.
      called: whether a value calls it or refers to it, beside setting what it takes.
    """
    return any(found is thing for found in _things(called=called))


def _things(*, called: bool) -> Iterator[Any]:
    for name in all_names(called=called):
        module, _, attribute = name.rpartition(".")
        found = getattr(sys.modules.get(module), attribute, None)
        if found is not None:
            yield found
