"""How long banks take to report, and what an order without a report is worth as an honest one.

At the time T of training a fraud of delay d is seen only where d <= T - placed_at, so the delays at hand are right-truncated: young orders
show none but short ones. The product-limit estimator for truncated data undoes that (Lynden-Bell 1971; Woodroofe 1985): going down from the
longest delay, `F(s-) = F(s) (1 - reports of delay s / reports with delay <= s that could have shown s)`.

The share F(age) of the reports of an order's age that would have come by T is its *maturity*. An order without a report teaches as an
honest one with its maturity as weight, a reported one with weight 1: the odds learned are then p F / (F (1 - p F)) = p / (1 - p F), which
is the true p / (1 - p) but for a factor (1 - p) / (1 - p F) above 1 - p; without the weights it would be but for the factor F. Fraud is
rare, so that is nothing; and orders that nobody could have reported yet, of maturity 0, teach nothing. (Chapelle, KDD 2014, models the
same delays by likelihood.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Delays:
    """The estimated distribution of delays: `days` `(reports,)` rising, and the share of reports that take no longer, `(reports,)`."""

    days: np.ndarray
    share: np.ndarray

    def maturity(self, age_days: np.ndarray) -> np.ndarray:
        """The share of reports that would have come at each age; 0 where no delay is known."""
        if not len(self.days):
            return np.zeros(len(age_days))
        return np.append(0.0, self.share)[np.searchsorted(self.days, age_days, side="right")]

    def wait(self, share: float) -> float:
        """Days until `share` of the reports have come; NaN where no delay is known."""
        return float(self.days[np.searchsorted(self.share, share)]) if len(self.days) else float("nan")


def estimate_delays(delay_days: np.ndarray, seen_days: np.ndarray) -> Delays:
    """From the banks' reports seen, `(reports,)`: the delay of each, and the age of its order at the time of training, a longer time.

    What takes longer than the oldest order's age leaves no trace: all shares are of reports within that age.
    """
    days, counts = np.unique(delay_days, return_counts=True)
    could = np.array([((delay_days <= day) & (seen_days >= day)).sum() for day in days])
    factors = 1 - counts / np.maximum(could, counts)
    above = np.append(np.cumprod(factors[::-1])[::-1], 1.0)[1:]  # the product over all longer delays
    return Delays(days, above)
