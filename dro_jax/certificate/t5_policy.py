"""A policy that is a real, small T5, trained through `FeedbackModel`."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.certificate.inputs import Expectation, Inputs
from dro_jax.certificate.problem import FiniteProblem, ResponseSpace
from dro_jax.certificate.table_policy import Outcome
from dro_jax.certificate.training import Training, minimise
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import VALUE, Batch, Params
from dro_jax.models.t5_config import T5Config
from dro_jax.objectives import NLL
from dro_jax.objectives.interface import Trajectories

T5_TRAINING = Training(steps=600, learning_rate=2e-3, warmup=0.1, wait=0.15, b2=0.98)
_EOS, _FIRST_LETTER = 1, 2  # 0 is padding


class T5Policy:
    """A T5 that first learns a problem's reference by NLL, then any objective.

    What it has learnt, renormalised over the space, is the reference that the closed form
    is then taken of, so the optimum stays exact. Its parameters are the policy's start;
    V is a second T5, started at random.

    Args:
      problem: gives the space, the rewards and the distribution to learn.
      training: of the reference.
      seed: of the parameters.
    """

    def __init__(self, problem: FiniteProblem, training: Training, seed: int = 0):
        self._space = problem.space
        self._network = T5Config(
            vocab_size=_FIRST_LETTER + problem.space.num_letters,
            emb_dim=64,
            num_heads=4,
            num_encoder_layers=1,
            num_decoder_layers=1,
            head_dim=16,
            mlp_dim=128,
            mlp_activations=("gelu", "linear"),
            dropout_rate=0.0,
        )
        self._seed = seed
        self._batch = _batch(problem.space)
        self._reference_params, logprobs = self._learn_reference(problem, training)
        shape = problem.reference.shape
        self.reference_logprobs = logprobs["reference_logprobs"].reshape(-1)
        self._batch |= logprobs
        # The problem is posed anew around what was learnt, so that training starts at
        # the reference exactly, as DRO has it.
        masses = np.exp(np.asarray(self.reference_logprobs, np.float64)).reshape(shape)
        totals = masses.sum(axis=1, keepdims=True)
        self.problem = FiniteProblem(
            problem.space, masses / totals, problem.rewards, problem.tau
        )
        self.leaked = float(np.max(1 - totals))

    def _learn_reference(self, problem, training):
        model = FeedbackModel(network=self._network, objective=NLL())
        weights = jnp.asarray(problem.reference, jnp.float32).reshape(-1, 1)

        def loss(params, weights):
            return model.loss(params, self._batch | {"trajectory_weights": weights})[0]

        params = self._init(model)
        training = dataclasses.replace(training, wait=0.0)  # there is no V
        trained, _ = minimise(loss, lambda *_: 0, params, [weights], training)
        trained = jax.tree.map(lambda leaf: leaf[0], trained)
        per_token = jax.jit(model.token_logprobs)(trained, self._batch)
        summed = jnp.sum(per_token, axis=1, keepdims=True)
        return trained, {
            "reference_logprobs": summed,
            "reference_token_logprobs": per_token,
        }

    def _init(self, model: FeedbackModel) -> Params:
        key = jax.random.key(self._seed)
        return jax.jit(lambda key: model.init(key, self._batch)[0])(key)

    def model(self, expectation: Expectation) -> FeedbackModel:
        """The model whose objective is an exact expectation."""
        return FeedbackModel(network=self._network, objective=expectation)

    def loss(self, params: Params, expectation: Expectation) -> jax.Array:
        """The model's loss of the batch that holds every response once."""
        return self.model(expectation).loss(params, self._batch)[0]

    def trajectories(self, params: Params, expectation: Expectation) -> Trajectories:
        """Every response of every prompt, N = P·Y."""
        return self.model(expectation).trajectories(params, self._batch)

    def start(self, expectation: Expectation) -> Params:
        """The reference's parameters and, where the objective needs one, a new V."""
        if not expectation.needs.value or expectation.needs.logits_value:
            return self._reference_params
        value = self._init(self.model(expectation))[VALUE]
        return self._reference_params | {VALUE: value}

    def train(
        self,
        expectation: Callable[[Inputs, jax.Array], Expectation],
        runs: Sequence[tuple[Inputs, jax.Array]],
        training: Training,
    ) -> Outcome:
        """As `TablePolicy.train`."""
        space = self._space
        shape = space.num_prompts, space.num_responses

        # A run is traced, and its objective holds it: so the model is made in the trace.
        def loss(params, run):
            return self.loss(params, expectation(*run))

        def observe(params, run):
            base = self.trajectories(params, expectation(*run))
            values = base.values
            if base.token_values is not None:
                values = base.token_values[:, 0]
            if values is not None:
                values = values.reshape(shape)[:, 0]
            return base.policy_logprobs.reshape(shape), values

        params = self.start(expectation(*runs[0]))
        _, (logprobs, values) = minimise(loss, observe, params, runs, training)
        return Outcome.of(logprobs, values)


def _batch(space: ResponseSpace) -> Batch:
    """Every response of every prompt, one a row; a prompt is two letters and EOS."""
    prompts = np.arange(space.num_prompts)
    digits = np.stack(np.divmod(prompts, space.num_letters), axis=1) + _FIRST_LETTER
    ends = np.full((space.num_prompts, 1), _EOS)
    letters = space.choices + _FIRST_LETTER - 1
    targets = np.where(space.choices > 0, letters, _EOS) * space.present
    targets = np.tile(targets, (space.num_prompts, 1))
    inputs = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    per_trajectory = (len(targets), 1)
    batch = {
        "encoder_input_tokens": np.repeat(
            np.concatenate([digits, ends], axis=1), space.num_responses, axis=0
        ),
        "decoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": targets > 0,
    }
    batch = {name: jnp.asarray(x, jnp.int32) for name, x in batch.items()}
    return batch | {
        "rewards": jnp.zeros(per_trajectory),
        "trajectory_weights": jnp.ones(per_trajectory),
    }
