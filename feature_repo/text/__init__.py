"""Item texts to vectors: `update` publishes the feature view `item_vectors`."""

from feature_repo.text.publish import TextReport, update

__all__ = ["TextReport", "update"]
