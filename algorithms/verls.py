"""verl's own policy losses and estimators as nodes of a recipe; nothing is computed here.

A test holds `LOSSES` and `ESTIMATORS` against verl's registries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, final, get_args

from leanthink.algorithms.losses import Aggregation, Loss
from leanthink.algorithms.token_advantages import VerlAdvantage
from leanthink.core.errors import ConfigError


class VerlLoss(Loss, ABC):
    """The settings of a policy loss of verl's own.

    Attributes:
        mode: what ``policy_loss.loss_mode`` is set to.
    """

    @property
    @abstractmethod
    def mode(self) -> str:
        """verl's name of the loss."""

    @abstractmethod
    def keys(self) -> Mapping[str, Any]:
        """verl's keys of the actor for these settings, ``loss_mode`` apart."""


def _clip(low: float, high: float, aggregation: str) -> dict[str, Any]:
    return {
        "clip_ratio": low,
        "clip_ratio_low": low,
        "clip_ratio_high": high,
        "loss_agg_mode": aggregation,
    }


def _check(loss: Any, **fine: bool) -> None:
    aggregation = getattr(loss, "aggregation", get_args(Aggregation)[0])
    fine["aggregation"] = aggregation in get_args(Aggregation)
    for name, good in fine.items():
        if not good:
            allowed = " or ".join(get_args(Aggregation)) if name == "aggregation" else "a number above 0"
            raise ConfigError(f"{type(loss).__name__.lower()}: {name} is {getattr(loss, name)!r}; give {allowed}")


@final
@dataclass(frozen=True, kw_only=True)
class Gspo(VerlLoss):
    """Group sequence policy optimization (GSPO, arXiv 2507.18071): one clipped ratio per response, the geometric mean.

    Args:
        low: the ratio is clipped at ``1 - low``; 0.0003 in the paper.
        high: and at ``1 + high``; 0.0004.
        aggregation: verl's ``loss_agg_mode``; the paper's is the mean over responses.

    >>> Gspo().keys()["clip_ratio_high"]
    0.0004
    """

    low: float = 3e-4
    high: float = 4e-4
    aggregation: Aggregation = "seq-mean-token-mean"
    mode = "gspo"

    def __post_init__(self) -> None:
        _check(self, low=self.low > 0, high=self.high > 0)

    def keys(self) -> Mapping[str, Any]:
        """The clip and how tokens are averaged."""
        return _clip(self.low, self.high, self.aggregation)


@final
@dataclass(frozen=True, kw_only=True)
class Sapo(VerlLoss):
    """Soft adaptive policy optimization (SAPO, arXiv 2511.20347): a sigmoid gate in the place of the clip.

    verl averages over responses, whatever else is set.

    Args:
        tau_pos: temperature of the gate for positive advantages.
        tau_neg: for the others; larger, so that these are let through less.

    >>> Sapo().keys()
    {'tau_pos': 1.0, 'tau_neg': 1.05, 'loss_agg_mode': 'seq-mean-token-mean'}
    """

    tau_pos: float = 1.0
    tau_neg: float = 1.05
    mode = "sapo"

    def __post_init__(self) -> None:
        _check(self, tau_pos=self.tau_pos > 0, tau_neg=self.tau_neg > 0)

    def keys(self) -> Mapping[str, Any]:
        """Both temperatures."""
        return {"tau_pos": self.tau_pos, "tau_neg": self.tau_neg, "loss_agg_mode": "seq-mean-token-mean"}


@final
@dataclass(frozen=True, kw_only=True)
class Cispo(VerlLoss):
    """CISPO (MiniMax-M1, arXiv 2506.13585): the ratio itself is clipped and not differentiated; no token is dropped.

    Args:
        low: the ratio is clipped at ``1 - low``; 10 is no bound, as in the paper.
        high: and at ``1 + high``.
        aggregation: verl's ``loss_agg_mode``.

    >>> Cispo().keys()["loss_agg_mode"]
    'token-mean'
    """

    low: float = 10.0
    high: float = 0.2
    aggregation: Aggregation = "token-mean"
    mode = "cispo"

    def __post_init__(self) -> None:
        _check(self, low=self.low > 0, high=self.high > 0)

    def keys(self) -> Mapping[str, Any]:
        """The clip and how tokens are averaged."""
        return _clip(self.low, self.high, self.aggregation)


@final
@dataclass(frozen=True, kw_only=True)
class GeoMean(VerlLoss):
    """Geometric-mean policy optimization (GMPO, arXiv 2507.20673): log-ratios are clipped by token, then averaged.

    Args:
        low: of the logarithm of the ratio; 0.4 in the paper.
        high: 0.4.

    >>> GeoMean().mode
    'geo_mean'
    """

    low: float = 0.4
    high: float = 0.4
    mode = "geo_mean"

    def __post_init__(self) -> None:
        _check(self, low=self.low > 0, high=self.high > 0)

    def keys(self) -> Mapping[str, Any]:
        """The clip; verl averages over the responses of each micro-batch by itself."""
        return _clip(self.low, self.high, "seq-mean-token-mean")


@final
@dataclass(frozen=True, kw_only=True)
class ClipCov(VerlLoss):
    """Clip-Cov (arXiv 2505.22617): tokens whose advantage and log-probability vary together are left out at random.

    Args:
        ratio: share of tokens that is left out.
        lower: least covariance of these.
        upper: greatest.
        low: PPO's clip below.
        high: and above.
        aggregation: verl's ``loss_agg_mode``.

    >>> ClipCov().keys()["policy_loss.clip_cov_ratio"]
    0.0002
    """

    ratio: float = 2e-4
    lower: float = 1.0
    upper: float = 5.0
    low: float = 1.0
    high: float = 1.0
    aggregation: Aggregation = "token-mean"
    mode = "clip_cov"

    def __post_init__(self) -> None:
        _check(self, ratio=self.ratio > 0, upper=self.upper > self.lower, low=self.low > 0, high=self.high > 0)

    def keys(self) -> Mapping[str, Any]:
        """The clip, and which tokens are left out."""
        return {
            **_clip(self.low, self.high, self.aggregation),
            "policy_loss.clip_cov_ratio": self.ratio,
            "policy_loss.clip_cov_lb": self.lower,
            "policy_loss.clip_cov_ub": self.upper,
        }


@final
@dataclass(frozen=True, kw_only=True)
class KlCov(VerlLoss):
    """KL-Cov (arXiv 2505.22617): those tokens pay a KL penalty instead; nothing is clipped.

    Args:
        ratio: share of tokens that pays.
        coefficient: of the penalty; 1 in the paper.
        aggregation: verl's ``loss_agg_mode``.

    >>> KlCov().keys()["policy_loss.ppo_kl_coef"]
    1.0
    """

    ratio: float = 2e-4
    coefficient: float = 1.0
    aggregation: Aggregation = "token-mean"
    mode = "kl_cov"

    def __post_init__(self) -> None:
        _check(self, ratio=self.ratio > 0, coefficient=self.coefficient > 0)

    def keys(self) -> Mapping[str, Any]:
        """Which tokens pay, and how much."""
        return {
            "loss_agg_mode": self.aggregation,
            "policy_loss.kl_cov_ratio": self.ratio,
            "policy_loss.ppo_kl_coef": self.coefficient,
        }


@final
@dataclass(frozen=True, kw_only=True)
class Dppo(VerlLoss):
    """DPPO (arXiv 2602.04879): tokens are masked by how far old and new policy are apart, not by their ratio.

    Args:
        divergence: "tv", total variation, or "kl".
        low: the most it may be where the ratio falls.
        high: and where it rises.
        cap: ratios count up to this.
        aggregation: verl's ``loss_agg_mode``.

    >>> Dppo(divergence="kl").mode
    'dppo_kl'
    """

    divergence: Literal["tv", "kl"] = "tv"
    low: float = 0.2
    high: float = 0.2
    cap: float = 20.0
    aggregation: Aggregation = "token-mean"

    def __post_init__(self) -> None:
        if self.divergence not in ("tv", "kl"):
            raise ConfigError(f"dppo: divergence is {self.divergence!r}; give tv or kl")
        _check(self, low=self.low > 0, high=self.high > 0, cap=self.cap > 0)

    @property
    def mode(self) -> str:
        """By the divergence."""
        return f"dppo_{self.divergence}"

    def keys(self) -> Mapping[str, Any]:
        """The thresholds, the cap, and how tokens are averaged."""
        return {**_clip(self.low, self.high, self.aggregation), "clip_ratio_c": self.cap}


@final
@dataclass(frozen=True, kw_only=True)
class GpgLoss(VerlLoss):
    """The plain policy gradient of GPG (arXiv 2504.02546): no ratio and no clip; for the advantage ``gpg``.

    Args:
        aggregation: verl's ``loss_agg_mode``.

    >>> GpgLoss().keys()
    {'loss_agg_mode': 'token-mean'}
    """

    aggregation: Aggregation = "token-mean"
    mode = "gpg"
    registered_as = "gpg"

    def __post_init__(self) -> None:
        _check(self)

    def keys(self) -> Mapping[str, Any]:
        """How tokens are averaged."""
        return {"loss_agg_mode": self.aggregation}


@final
@dataclass(frozen=True, kw_only=True)
class Dro(VerlLoss):
    """Direct reward optimization (DRO, arXiv 2405.19107) as verl has it: a quadratic penalty of the log-ratio, no clip.

    Args:
        beta: weight of the penalty.
        aggregation: verl's ``loss_agg_mode``.

    >>> Dro(beta=0.1).keys()["policy_loss.dro_beta"]
    0.1
    """

    beta: float
    aggregation: Aggregation = "token-mean"
    mode = "dro"

    def __post_init__(self) -> None:
        _check(self, beta=self.beta > 0)

    def keys(self) -> Mapping[str, Any]:
        """The weight, and how tokens are averaged."""
        return {"loss_agg_mode": self.aggregation, "policy_loss.dro_beta": self.beta}


@final
@dataclass(frozen=True, kw_only=True)
class Opo(VerlAdvantage):
    """The advantage of OPO (arXiv 2505.23585): the group's mean, each response weighed by its length, as the baseline.

    >>> Opo.estimator
    'opo'
    """

    estimator: ClassVar[str] = "opo"
    reads_critic: ClassVar[bool] = False


@final
@dataclass(frozen=True, kw_only=True)
class GpgAdvantage(VerlAdvantage):
    """The advantage of GPG (arXiv 2504.02546): less the group's mean, times responses over those whose reward is not 0.

    >>> GpgAdvantage.estimator
    'gpg'
    """

    estimator: ClassVar[str] = "gpg"
    reads_critic: ClassVar[bool] = False
    registered_as = "gpg"


@final
@dataclass(frozen=True, kw_only=True)
class GrpoPassk(VerlAdvantage):
    """verl's ``grpo_passk`` (arXiv 2503.19595): only the best of a group has an advantage, over the second best.

    Args:
        norm_adv_by_std_in_grpo: whether that is divided by the group's deviation.

    >>> GrpoPassk.estimator
    'grpo_passk'
    """

    norm_adv_by_std_in_grpo: bool = True
    estimator: ClassVar[str] = "grpo_passk"
    reads_critic: ClassVar[bool] = False


LOSSES: Final[Mapping[str, str]] = {
    "vanilla": "ppo_clip",
    "dppo_tv": "dppo",
    "dppo_kl": "dppo",
    "gspo": "gspo",
    "sapo": "sapo",
    "gpg": "gpg",
    "clip_cov": "clip_cov",
    "kl_cov": "kl_cov",
    "geo_mean": "geo_mean",
    "dro": "dro",
    "cispo": "cispo",
}
"""The node of a recipe for each of verl's losses."""

ESTIMATORS: Final[Mapping[str, str]] = {
    "gae": "gae",
    "grpo": "grpo",
    "grpo_vectorized": "grpo",
    "grpo_passk": "grpo_passk",
    "reinforce_plus_plus": "reinforce_pp",
    "reinforce_plus_plus_baseline": "batch_norm",
    "rloo": "rloo",
    "rloo_vectorized": "rloo",
    "opo": "opo",
    "gpg": "gpg",
}
"""The node of a recipe for each of verl's estimators; several are this library's own, in float64."""

_SUM = "verl 0.9's V1 trainer hands its estimators no sum_pi_squared, so that it stops at the first step"

UNAVAILABLE: Final[Mapping[str, str]] = {
    "bypass_mode": "verl sets it by itself where algorithm.rollout_correction.bypass_mode is true: set that key",
    "optimal_token_baseline": _SUM,
    "tir_optimal_token_baseline": _SUM,
    "remax": "verl 0.9's V1 trainer samples no greedy response for its baseline",
    "gdpo": "it is made of parts: recipe gdpo (group_normalize, scale and sum under batch_norm) is verl's gdpo",
}
"""What verl has registered and a recipe cannot name, with the reason."""
