"""Rewards: (prompt, response) to a score with named parts.

Each is usable alone, and in gin files by its name here::

    from dro_jax import rewards
    scores = rewards.Length(target=40)(prompts, responses)
"""

from dro_jax.rewards.cached import CachedReward as CachedReward
from dro_jax.rewards.cached import GradualReward as GradualReward
from dro_jax.rewards.classifier import Classifier as Classifier
from dro_jax.rewards.distinctness import Distinctness as Distinctness
from dro_jax.rewards.http_client import HttpClient as HttpClient
from dro_jax.rewards.http_scorer import HttpScorer as HttpScorer
from dro_jax.rewards.interface import Reward as Reward
from dro_jax.rewards.interface import Scores as Scores
from dro_jax.rewards.programs import Format as Format
from dro_jax.rewards.programs import Length as Length
from dro_jax.rewards.programs import Pattern as Pattern
from dro_jax.rewards.rewritten_prompts import RewrittenPrompts as RewrittenPrompts
from dro_jax.rewards.task_reward import FunctionReward as FunctionReward
from dro_jax.rewards.task_reward import TaskReward as TaskReward
from dro_jax.rewards.weighted_sum import WeightedSum as WeightedSum
