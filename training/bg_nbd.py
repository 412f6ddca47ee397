"""Expected spend by BG/NBD and Gamma-Gamma of the package `lifetimes`: `python -P training/bg_nbd.py PURCHASES.csv DAYS OUT.csv`.

Run by a Python of its own: the package is not maintained, and nothing that is served needs it. BG/NBD gives the purchase days to come
(Fader, Hardie & Lee, Marketing Science 24, 2005), Gamma-Gamma the money of one (Fader & Hardie, note 25, 2013).
"""

import sys

import numpy as np
import pandas as pd

TOLERANCE = 1e-4  # of the likelihood's slope: the package's own 1e-7 is never reached where nobody drops out and the likelihood is flat


def expected_spend(buyers: pd.DataFrame, days: float) -> np.ndarray:
    """Money of the coming `days`, `(buyers,)`.

    `buyers` has `frequency` (purchase days after the first), `recency` (days from first to last), `T` (days from first to now) and
    `monetary_value` (mean net money of a repeated purchase day; not above 0 is left out of the fit, and counts as the population's mean).
    Raises lifetimes.utils.ConvergenceError where the likelihood has no maximum.
    """
    from lifetimes import BetaGeoFitter, GammaGammaFitter

    frequency, money = buyers["frequency"], buyers["monetary_value"]
    is_priced = (frequency > 0) & (money > 0)
    coming = BetaGeoFitter().fit(frequency, buyers["recency"], buyers["T"], tol=TOLERANCE)
    value = GammaGammaFitter().fit(frequency[is_priced], money[is_priced], tol=TOLERANCE)
    count = coming.conditional_expected_number_of_purchases_up_to_time(days, frequency, buyers["recency"], buyers["T"])
    price = value.conditional_expected_average_profit(frequency.where(is_priced, 0), money.where(is_priced, 0))
    return np.asarray(count) * np.asarray(price)


if __name__ == "__main__":
    purchases, days, out = sys.argv[1:]
    buyers = pd.read_csv(purchases)
    pd.DataFrame({"spend": expected_spend(buyers, float(days))}).to_csv(out, index=False)
