"""A finite response space, its optimum in closed form, and ways of logging it."""

import dataclasses
import functools
import itertools

import numpy as np

CONDITIONS = ("on-reference", "off-reference", "noisy rewards")
_NOISE = 1.0  # its standard deviation, as large as the reward's own


@dataclasses.dataclass(frozen=True)
class ResponseSpace:
    """All responses of at most T tokens over a few letters, for P prompts alike.

    A response ends with EOS, or where its length reaches T: nothing is chosen there, so
    such a response has no EOS. Choice 0 is EOS, choice k the k-th letter. A node is a
    prefix after which a token is chosen.

    Attributes:
      num_prompts: P.
      num_letters: letters, beside EOS.
      max_length: T, tokens with EOS.
    """

    num_prompts: int = 3
    num_letters: int = 3
    max_length: int = 3

    @functools.cached_property
    def _strings(self) -> list[tuple[int, ...]]:
        letters = range(1, self.num_letters + 1)
        return [
            string
            for length in range(self.max_length + 1)
            for string in itertools.product(letters, repeat=length)
        ]

    @property
    def num_responses(self) -> int:
        """Y, the responses of a prompt."""
        return len(self._strings)

    @property
    def num_nodes(self) -> int:
        """Prefixes after which a token is chosen."""
        return sum(len(string) < self.max_length for string in self._strings)

    @functools.cached_property
    def choices(self) -> np.ndarray:
        """``[Y, T]`` int32: each response's tokens; 0 (EOS) fills the rest."""
        rows = [s + (0,) * (self.max_length - len(s)) for s in self._strings]
        return np.array(rows, np.int32)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """``[Y]`` int32: tokens of each response, EOS included."""
        lengths = [min(len(s) + 1, self.max_length) for s in self._strings]
        return np.array(lengths, np.int32)

    @functools.cached_property
    def present(self) -> np.ndarray:
        """``[Y, T]`` boolean: which places hold a token."""
        return np.arange(self.max_length)[None, :] < self.lengths[:, None]

    @functools.cached_property
    def nodes(self) -> np.ndarray:
        """``[Y, T]`` int32: the node at which each token is chosen; 0 for the rest."""
        index = {string: i for i, string in enumerate(self._strings)}
        rows = [
            [index[s[:t]] if t <= len(s) else 0 for t in range(self.max_length)]
            for s in self._strings
        ]
        return np.array(rows, np.int32)

    def node_masses(self, masses: np.ndarray) -> np.ndarray:
        """Sums over the responses behind each next token, ``[P, Y] -> [P, nodes, choices]``."""
        sums = np.zeros((len(masses), self.num_nodes, self.num_letters + 1))
        for t in range(self.max_length):
            here = self.present[:, t]
            place = self.nodes[here, t], self.choices[here, t]
            for prompt, row in enumerate(masses):
                np.add.at(sums[prompt], place, row[here])
        return sums

    def node_logits(self, probabilities: np.ndarray) -> np.ndarray:
        """Logarithms of each next token's probability, ``[P, Y] -> [P, nodes, choices]``."""
        masses = self.node_masses(probabilities)
        return np.log(masses) - np.log(masses.sum(-1, keepdims=True))

    def probabilities(self, node_logits: np.ndarray) -> np.ndarray:
        """The responses' probabilities, ``[P, nodes, choices] -> [P, Y]``."""
        normalizers = np.logaddexp.reduce(node_logits, axis=-1, keepdims=True)
        per_token = (node_logits - normalizers)[:, self.nodes, self.choices]
        return np.exp(np.sum(np.where(self.present, per_token, 0.0), axis=-1))


@dataclasses.dataclass(frozen=True)
class FiniteProblem:
    """Maximise ``E[r] − τ KL(π‖π_ref)`` over policies on a finite space.

    The optimum is ``π*(y|x) = π_ref(y|x) exp((r(x, y) − V*(x))/τ)`` with
    ``V*(x) = τ log E_{y∼π_ref}[exp(r/τ)]`` (arXiv 2405.19107).

    Attributes:
      space: its prompts, each as likely as another, and responses.
      reference: ``[P, Y]`` π_ref(y|x).
      rewards: ``[P, Y]``.
      tau: strength of the KL term, reward per nat.
    """

    space: ResponseSpace
    reference: np.ndarray
    rewards: np.ndarray
    tau: float = 1.0

    @property
    def optimal_values(self) -> np.ndarray:
        """``[P]`` V*(x)."""
        return self.values_at(self.tau)

    @property
    def optimal_policy(self) -> np.ndarray:
        """``[P, Y]`` π*(y|x)."""
        return self.optimal_policy_at(self.tau)

    @property
    def reference_values(self) -> np.ndarray:
        """``[P]`` V_ref(x), the mean reward of the reference's responses."""
        return np.sum(self.reference * self.rewards, axis=1)

    @property
    def node_values(self) -> np.ndarray:
        """``[P, nodes]`` V*(x, y_<t), τ log E[exp(r/τ)] of the reference from there on."""
        tilted = self.reference * np.exp(self.rewards / self.tau)
        here, there = (
            self.space.node_masses(masses).sum(axis=-1)
            for masses in (self.reference, tilted)
        )
        return self.tau * (np.log(there) - np.log(here))

    def values_at(self, tau: float) -> np.ndarray:
        """``[P]`` V* at another τ."""
        exponents = np.log(self.reference) + self.rewards / tau
        return tau * np.logaddexp.reduce(exponents, axis=1)

    def optimal_policy_at(self, tau: float) -> np.ndarray:
        """``[P, Y]`` π* at another τ."""
        exponents = (self.rewards - self.values_at(tau)[:, None]) / tau
        return self.reference * np.exp(exponents)

    def mean_reward(self, policy: np.ndarray) -> float:
        """The expected reward of a policy ``[P, Y]``."""
        return float(np.mean(np.sum(policy * self.rewards, axis=1)))


@dataclasses.dataclass(frozen=True)
class Condition:
    """What is logged of a problem, in expectation: what objectives call `Logged`.

    Attributes:
      name: one of `CONDITIONS`.
      problem: what it logs.
      logging: ``[P, Y]`` μ(y|x), positive.
      rewards: ``[P, Y, C]`` the logged rewards, C equally likely copies a response whose
        mean is the response's reward.
    """

    name: str
    problem: FiniteProblem
    logging: np.ndarray
    rewards: np.ndarray

    @property
    def reference(self) -> np.ndarray:
        """``[P, Y]`` π_ref(y|x)."""
        return self.problem.reference

    @property
    def optimum(self) -> np.ndarray:
        """``[P, Y]`` π*(y|x)."""
        return self.problem.optimal_policy

    @property
    def noisy(self) -> bool:
        """Whether the copies of a response differ."""
        return bool(np.any(np.ptp(self.rewards, axis=-1) > 0))

    @property
    def advantages(self) -> np.ndarray:
        """``[P, Y, C]`` r − V_ref(x)."""
        return self.rewards - self.problem.reference_values[:, None, None]

    @functools.cached_property
    def quantiles(self) -> np.ndarray:
        """``[P, Y, C]`` P(r' ≤ r), r' the logged reward of the reference's responses."""
        prompts, _, copies = self.rewards.shape
        masses = np.repeat(self.problem.reference[..., None] / copies, copies, axis=-1)
        flat = self.rewards.reshape(prompts, -1)
        at_most = [
            (flat[p][None, :] <= flat[p][:, None]) @ masses[p].reshape(-1)
            for p in range(prompts)
        ]
        return np.clip(np.reshape(at_most, self.rewards.shape), 0.0, 1.0)

    @functools.cached_property
    def wins(self) -> np.ndarray:
        """``[P, Y, Y]`` the probability that one response's reward beats another's."""
        mine, yours = self.rewards[:, :, None, :, None], self.rewards[:, None, :, None]
        wins = np.mean(mine > yours, axis=(-2, -1))
        wins[:, range(wins.shape[1]), range(wins.shape[1])] = 0.5
        return wins


def make_problem(seed: int = 0, tau: float = 1.0) -> FiniteProblem:
    """A problem with random reference and rewards.

    Rewards differ in their mean from prompt to prompt, so that V* does, and have mean 0
    and variance 1 under the reference, as the DRO paper normalises them.

    Args:
      seed: of both.
      tau: strength of the KL term, reward per nat.
    """
    space = ResponseSpace()
    rng = np.random.default_rng(seed)
    shape = (space.num_prompts, space.num_nodes, space.num_letters + 1)
    reference = space.probabilities(rng.normal(size=shape))
    rewards = rng.normal(size=reference.shape)
    rewards += np.linspace(-1, 1, space.num_prompts)[:, None]
    mean = np.mean(np.sum(reference * rewards, axis=1))
    variance = np.mean(np.sum(reference * (rewards - mean) ** 2, axis=1))
    return FiniteProblem(space, reference, (rewards - mean) / np.sqrt(variance), tau)


def conditions(problem: FiniteProblem, seed: int = 0) -> list[Condition]:
    """The three ways of logging, in the order of `CONDITIONS`.

    Off-reference, ``μ ∝ √π_ref exp(−r)``: flatter than the reference, and the worse the
    response, the oftener it is logged. Noise of variance 1 comes in pairs ±ε, so that its
    mean is 0 at every response.

    Args:
      problem: what is logged.
      seed: of the noise.
    """
    worse = np.sqrt(problem.reference) * np.exp(-problem.rewards)
    worse /= worse.sum(axis=1, keepdims=True)
    rng = np.random.default_rng((seed, 1))
    half = _NOISE * rng.normal(size=(*problem.rewards.shape, 2))
    noise = np.concatenate([half, -half], axis=-1)
    clean = np.repeat(problem.rewards[..., None], noise.shape[-1], axis=-1)
    on, off, noisy = CONDITIONS
    return [
        Condition(on, problem, problem.reference, clean),
        Condition(off, problem, worse, clean),
        Condition(noisy, problem, problem.reference, clean + noise),
    ]


def mean_kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p‖q) in nats, the mean over prompts, ``[P, Y]`` each; 0 log 0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)
    return float(np.mean(np.sum(terms, axis=1)))
