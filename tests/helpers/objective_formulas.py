"""Every loss's formula as a float64 loop, one trajectory i at a time.

`live` marks the arguments through which gradients flow; in the slow formulas `a` holds
them as they vary and `s` as they stood, which is what a stop-gradient sees.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy import clip, exp, log

from dro_jax import objectives

N, T, K = 5, 4, 3
LENGTHS = [4, 3, 1, 2, 4]
RANKED = [3, 2, 1, 3, 2]
LOW, HIGH = 0.1, 1.9


def sigmoid(x):
    return 1 / (1 + exp(-x))


def ratio(i, a, s):
    return a.policy_logprobs[i] - s.reference_logprobs[i]


def weight(i, s):
    return clip(exp(ratio(i, s, s)), LOW, HIGH)


def tokens(i, term):
    return sum(term(i, t) for t in range(LENGTHS[i]))


def signed(i, s):
    return 1 if s.desirable[i] else -1


def margin(i, a, s):
    chosen = a.chosen_policy_logprobs[i] - s.chosen_reference_logprobs[i]
    return chosen - (a.rejected_policy_logprobs[i] - s.rejected_reference_logprobs[i])


def residual(i, a, s, values):
    return a.rewards[i] - values[i] - 0.7 * ratio(i, a, s)


def dro_p(i, a, s):
    differences = [a.rewards[j] - 0.7 * ratio(j, a, s) for j in range(N)]
    return 0.5 * (differences[i] - sum(differences) / N) ** 2


def a_lol_seq(i, a, s):
    def term(i, t):
        token_ratio = s.token_logprobs[i, t] - s.reference_token_logprobs[i, t]
        return clip(exp(token_ratio), LOW, HIGH) * a.token_logprobs[i, t]

    return -max(s.advantages[i], 0) * tokens(i, term)


def r_gold(i, a, s):
    return -s.rewards[i] * tokens(
        i,
        lambda i, t: max(exp(s.token_logprobs[i, t]), 0.3) * a.token_logprobs[i, t],
    )


def tbrm(i, a, s):
    """Bellman residuals by token, of a policy whose logits are Q, all but the sum's
    first value drawn at random: they cancel."""
    drawn = np.random.default_rng(i).normal(size=LENGTHS[i])
    own = np.append(a.values[i], drawn[1:])  # V(s_t) = logsumexp of the logits there
    after = np.append(drawn[1:], 0.0)  # V(s_{t+1}), 0 behind the last token
    # A share of log π(y|x) a token; Q(s_t, y_t) = log π(y_t|s_t) + V(s_t).
    q = a.policy_logprobs[i] / LENGTHS[i] + own
    modified = s.reference_logprobs[i] / LENGTHS[i] * np.ones(LENGTHS[i])
    modified[-1] += s.rewards[i] / 0.7
    return sum(q - modified - after) ** 2


def oreo_log_ratios(i, x, s, since):
    pairs = zip(x.token_logprobs[i], s.reference_token_logprobs[i], strict=True)
    return sum(own - reference for own, reference in [*pairs][since : LENGTHS[i]])


def oreo_policy(i, a, s):
    def term(i, t):
        own = a.token_logprobs[i, t] - s.reference_token_logprobs[i, t]
        later = oreo_log_ratios(i, s, s, t + 1)
        residual = s.token_values[i, t] - s.rewards[i] + 0.7 * (own + later)
        return residual**2 + 0.3 * (exp(-own) + own - 1)

    return tokens(i, term) / LENGTHS[i]


def oreo_value(i, a, s):
    def term(i, t):
        paid = 0.7 * oreo_log_ratios(i, s, s, t)
        return (a.token_values[i, t] - s.rewards[i] + paid) ** 2

    return tokens(i, term) / LENGTHS[i]


def topr(i, a, s):
    taper = 1 if s.rewards[i] > 0 else min(exp(ratio(i, s, s)), 1)
    return -taper * s.rewards[i] * a.policy_logprobs[i]


def pmpo(i, a, s):
    # As three means over the batch of five, of which this is the i-th's share.
    if s.desirable[i]:
        gain = -0.3 * a.policy_logprobs[i] / sum(s.desirable)
    else:
        gain = 0.7 * a.policy_logprobs[i] / sum(~s.desirable)
    return N * gain - 0.5 * ratio(i, a, s)


def pro(i, a, s):
    total = 0.0
    for k in range(RANKED[i] - 1):
        gaps = [s.list_rewards[i, k] - s.list_rewards[i, j] for j in range(RANKED[i])]
        own = a.mean_logprobs[i, k] * max(gaps[k + 1 :])
        others = [a.mean_logprobs[i, j] * gaps[j] for j in range(k + 1, RANKED[i])]
        total += log(exp(own) + sum(exp(x) for x in others)) - own
    return total + 0.05 * (RANKED[i] - 1) ** 2 * a.best_nll[i]


def list_ratio(i, k, a, s):
    return a.list_logprobs[i, k] - s.list_reference_logprobs[i, k]


def dro_group(value):
    def formula(i, a, s):
        if RANKED[i] == 1:
            return 0.0
        total = 0.0
        for k in range(RANKED[i]):
            advantage = s.list_rewards[i, k] - value(i, s)
            total += 0.5 * (advantage - 0.7 * list_ratio(i, k, a, s)) ** 2
        return total / RANKED[i]

    return formula


def mean_residual(i, s):
    shown = range(RANKED[i])
    total = sum(s.list_rewards[i, k] - 0.7 * list_ratio(i, k, s, s) for k in shown)
    return total / RANKED[i]


def value_of_rewards(i, s):
    shown = range(RANKED[i])
    return 0.7 * log(sum(exp(s.list_rewards[i, k] / 0.7) for k in shown) / RANKED[i])


def nca(i, a, s):
    shown = range(RANKED[i])
    masses = [exp(s.list_rewards[i, k] / 0.7) for k in shown]
    total = 0.0
    for k in shown:
        implicit = 0.3 * list_ratio(i, k, a, s)
        total -= masses[k] / sum(masses) * log(sigmoid(implicit))
        total -= log(sigmoid(-implicit)) / len(shown)
    return total if len(shown) > 1 else 0.0


def log_odds(mean_logprob):
    return log(exp(mean_logprob) / (1 - exp(mean_logprob)))


def ppo_clip(i, a, s):
    def term(i, t):
        rho = exp(a.token_logprobs[i, t] - s.reference_token_logprobs[i, t])
        gain = s.token_advantages[i, t]
        return -min(gain * rho, gain * clip(rho, 0.8, 1.2))

    return tokens(i, term)


def ppo_value(i, a, s):
    def term(i, t):
        old, target = s.old_values[i, t], s.returns[i, t]
        near = clip(a.token_values[i, t], old - 0.2, old + 0.2)
        return max((a.token_values[i, t] - target) ** 2, (near - target) ** 2)

    return 0.05 * tokens(i, term)


def ppo_policy(i, a, s):
    def term(i, t):
        rho = exp(a.token_logprobs[i, t] - s.old_token_logprobs[i, t])
        gain = s.token_advantages[i, t]
        return -min(gain * rho, gain * clip(rho, 0.9, 1.1))

    return tokens(i, term)


def ppo_of_value(i, a, s):
    def term(i, t):
        old, target = s.old_token_values[i, t], s.token_returns[i, t]
        near = clip(a.token_values[i, t], old - 0.3, old + 0.3)
        return max((a.token_values[i, t] - target) ** 2, (near - target) ** 2)

    return 0.5 * 0.7 * tokens(i, term)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    arguments: str
    live: str
    slow: Callable
    hyper: dict = dataclasses.field(default_factory=dict)
    keywords: tuple[str, ...] = ()
    part: int | None = None  # of several losses

    def __call__(self, *arrays):
        positional = len(arrays) - len(self.keywords)
        keywords = dict(zip(self.keywords, arrays[positional:], strict=True))
        function = getattr(objectives, self.name)
        losses = function(*arrays[:positional], **keywords, **self.hyper)
        return losses if self.part is None else losses[self.part]

    @property
    def names(self):
        return self.arguments.split()


POLICY = "policy_logprobs"
BOTH = "policy_logprobs reference_logprobs"
FOUR = (
    "chosen_policy_logprobs rejected_policy_logprobs "
    "chosen_reference_logprobs rejected_reference_logprobs"
)
PAIR = "chosen_policy_logprobs rejected_policy_logprobs"
LISTS = "list_logprobs list_reference_logprobs list_rewards list_weights"
MEANS = "chosen_mean_logprobs rejected_mean_logprobs"
TOKENS = "token_logprobs reference_token_logprobs token_weights"
PPO = (
    "token_logprobs old_token_logprobs token_weights token_advantages "
    "token_values old_token_values token_returns"
)
PPO_HYPER = {"clip": 0.1, "value_clip": 0.3, "value_coefficient": 0.7}
CASES = [
    Case("nll", POLICY, POLICY, lambda i, a, s: -a.policy_logprobs[i]),
    Case(
        "dro",
        f"{BOTH} rewards values",
        f"{POLICY} rewards values",
        lambda i, a, s: 0.5 * residual(i, a, s, a.values) ** 2,
        {"tau": 0.7},
    ),
    Case(
        "dro_v",
        f"{BOTH} rewards values",
        f"{POLICY} rewards",
        lambda i, a, s: residual(i, a, s, s.values) ** 2 / 1.4,
        {"tau": 0.7},
        part=0,
    ),
    Case(
        "dro_v",
        f"{BOTH} rewards values",
        "rewards values",
        lambda i, a, s: (a.rewards[i] - a.values[i] - 0.7 * ratio(i, s, s)) ** 2 / 2,
        {"tau": 0.7},
        part=1,
    ),
    Case("dro_p", f"{BOTH} rewards", f"{POLICY} rewards", dro_p, {"tau": 0.7}),
    Case(
        "dro_group",
        LISTS,
        "list_logprobs",
        dro_group(mean_residual),
        {"tau": 0.7, "group_value": "residuals"},
        keywords=("weights",),
    ),
    Case(
        "dro_group",
        LISTS,
        "list_logprobs",
        dro_group(value_of_rewards),
        {"tau": 0.7, "group_value": "rewards"},
        keywords=("weights",),
    ),
    Case(
        "weighted_bc",
        f"{POLICY} rewards",
        POLICY,
        lambda i, a, s: -s.rewards[i] * a.policy_logprobs[i],
    ),
    Case(
        "r_gold",
        "token_logprobs token_weights rewards",
        "token_logprobs",
        r_gold,
        {"floor": 0.3},
    ),
    Case(
        "awr",
        f"{POLICY} advantages",
        POLICY,
        lambda i, a, s: -min(exp(s.advantages[i] / 0.7), 2) * a.policy_logprobs[i],
        {"beta": 0.7, "max_weight": 2.0},
    ),
    Case(
        "r_lol",
        f"{BOTH} rewards",
        POLICY,
        lambda i, a, s: -s.rewards[i] * weight(i, s) * a.policy_logprobs[i],
        {"clip": 0.9},
    ),
    Case(
        "a_lol",
        f"{BOTH} advantages",
        POLICY,
        lambda i, a, s: -max(s.advantages[i], 0) * weight(i, s) * a.policy_logprobs[i],
        {"clip": 0.9},
    ),
    Case(
        "a_lol_ref_free",
        f"{POLICY} advantages",
        POLICY,
        lambda i, a, s: -max(s.advantages[i], 0) * a.policy_logprobs[i],
    ),
    Case(
        "a_lol_seq",
        f"{TOKENS} advantages",
        "token_logprobs",
        a_lol_seq,
        {"clip": 0.9},
    ),
    Case(
        "a_lol_kl",
        f"{BOTH} advantages",
        POLICY,
        lambda i, a, s: (
            -max(s.advantages[i], 0) * a.policy_logprobs[i] + 0.2 * ratio(i, a, s)
        ),
        {"beta": 0.2},
    ),
    Case(
        "kto",
        f"{BOTH} desirable kl",
        POLICY,
        lambda i, a, s: (
            (1.5 if s.desirable[i] else 0.8)
            * (1 - sigmoid(signed(i, s) * (0.7 * ratio(i, a, s) - 0.7 * s.kl)))
        ),
        {"beta": 0.7, "desirable_weight": 1.5, "undesirable_weight": 0.8},
    ),
    Case(
        "bco",
        f"{BOTH} desirable shift",
        POLICY,
        lambda i, a, s: -log(sigmoid(signed(i, s) * (0.7 * ratio(i, a, s) - s.shift))),
        {"beta": 0.7},
    ),
    Case(
        "una",
        f"{BOTH} rewards",
        POLICY,
        lambda i, a, s: (0.7 * ratio(i, a, s) - s.rewards[i]) ** 2,
        {"beta": 0.7},
    ),
    Case(
        "apo_zero",
        f"{BOTH} desirable",
        POLICY,
        lambda i, a, s: sigmoid(-signed(i, s) * 0.7 * ratio(i, a, s)),
        {"beta": 0.7},
    ),
    Case("topr", f"{BOTH} rewards", POLICY, topr),
    Case(
        "asym_re",
        f"{POLICY} advantages",
        POLICY,
        lambda i, a, s: -(s.advantages[i] + 0.2) * a.policy_logprobs[i],
        {"delta": 0.2},
    ),
    Case("pmpo", f"{BOTH} desirable", POLICY, pmpo, {"alpha": 0.3, "beta": 0.5}),
    Case(
        "rpo",
        f"{BOTH} rewards prompt_values",
        POLICY,
        lambda i, a, s: (
            0.5 * (ratio(i, a, s) - (s.rewards[i] - s.prompt_values[i]) / 0.7) ** 2
        ),
        {"tau": 0.7},
    ),
    Case(
        "a_star_po",
        f"{BOTH} rewards prompt_values",
        POLICY,
        lambda i, a, s: (
            (0.7 * ratio(i, a, s) - (s.rewards[i] - s.prompt_values[i])) ** 2
        ),
        {"tau": 0.7},
    ),
    Case(
        "qrpo",
        f"{BOTH} quantiles",
        POLICY,
        lambda i, a, s: (
            (
                s.quantiles[i]
                - 0.7 * log(0.7 * (exp(1 / 0.7) - 1))
                - 0.7 * ratio(i, a, s)
            )
            ** 2
        ),
        {"beta": 0.7},
    ),
    Case(
        "tbrm",
        f"{BOTH} rewards values",
        f"{POLICY} values",
        tbrm,
        {"beta": 0.7},
    ),
    Case(
        "oreo",
        f"{TOKENS} rewards token_values",
        "token_logprobs",
        oreo_policy,
        {"beta": 0.7, "kl_weight": 0.3},
        part=0,
    ),
    Case(
        "oreo",
        f"{TOKENS} rewards token_values",
        "token_values",
        oreo_value,
        {"beta": 0.7, "kl_weight": 0.3},
        part=1,
    ),
    Case(
        "dpo",
        FOUR,
        PAIR,
        lambda i, a, s: -log(sigmoid(0.7 * margin(i, a, s))),
        {"beta": 0.7},
    ),
    Case(
        "ipo",
        FOUR,
        PAIR,
        lambda i, a, s: (margin(i, a, s) - 1 / 1.4) ** 2,
        {"tau": 0.7},
    ),
    Case(
        "simpo",
        MEANS,
        MEANS,
        lambda i, a, s: (
            -log(
                sigmoid(
                    2.5 * (a.chosen_mean_logprobs[i] - a.rejected_mean_logprobs[i])
                    - 0.5
                )
            )
        ),
        {"beta": 2.5, "gamma": 0.5},
    ),
    Case(
        "orpo",
        MEANS,
        MEANS,
        lambda i, a, s: (
            -a.chosen_mean_logprobs[i]
            - 0.3
            * log(
                sigmoid(
                    log_odds(a.chosen_mean_logprobs[i])
                    - log_odds(a.rejected_mean_logprobs[i])
                )
            )
        ),
        {"odds_weight": 0.3},
    ),
    Case(
        "nca",
        LISTS,
        "list_logprobs",
        nca,
        {"beta": 0.3, "alpha": 0.7},
        keywords=("weights",),
    ),
    Case(
        "reward_regression",
        "scores rewards",
        "scores",
        lambda i, a, s: (a.scores[i] - s.rewards[i]) ** 2,
    ),
    Case(
        "bradley_terry",
        "chosen_scores rejected_scores",
        "chosen_scores rejected_scores",
        lambda i, a, s: -log(sigmoid(a.chosen_scores[i] - a.rejected_scores[i] - 0.5)),
        {"margin": 0.5},
    ),
    Case(
        "pro",
        "mean_logprobs list_rewards best_nll list_weights",
        "mean_logprobs best_nll",
        pro,
        {"sft_weight": 0.05},
        keywords=("weights",),
    ),
    Case("ppo_clip", f"{TOKENS} token_advantages", "token_logprobs", ppo_clip),
    Case(
        "ppo_value",
        "token_values old_values returns token_weights",
        "token_values",
        ppo_value,
        {"clip": 0.2, "coefficient": 0.1},
    ),
    Case("ppo", PPO, "token_logprobs", ppo_policy, PPO_HYPER, part=0),
    Case("ppo", PPO, "token_values", ppo_of_value, PPO_HYPER, part=1),
]
