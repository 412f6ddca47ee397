"""`portrait evaluate`: train from scratch on any source and measure, so that a shop learns what it would get before it commits.

Each function delivers the source into a temporary landing folder, trains, measures, and returns one JSON object: see `training.evaluation`.
Hyper-parameters are the configs' own defaults, what a training run would use, unless an argument says otherwise. Light to import.
"""

from training.evaluate_fraud import evaluate_fraud
from training.evaluate_gan import evaluate_gan
from training.evaluate_intent import evaluate_intent
from training.evaluate_recommender import evaluate_recommender
from training.evaluate_risk import evaluate_risk
from training.evaluate_spend import evaluate_spend
from training.evaluate_traits import evaluate_traits
from training.evaluate_uplift import evaluate_uplift
from training.evaluation import CannotEvaluate

__all__ = [
    "CannotEvaluate",
    "evaluate_fraud",
    "evaluate_gan",
    "evaluate_intent",
    "evaluate_recommender",
    "evaluate_risk",
    "evaluate_spend",
    "evaluate_traits",
    "evaluate_uplift",
]
