"""What Prometheus reads of the API at `/metrics`: requests, seconds, refusals, and where recommendations came from."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """One registry an app. Labels are templates and names of ours: never an id."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("portrait_api_requests", "Requests answered", ["method", "route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "portrait_api_request_seconds", "How long an answer took", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.in_flight = Gauge("portrait_api_requests_in_flight", "Requests being answered", registry=self.registry)
        self.refused = Counter("portrait_api_refused", "Requests refused before they were answered", ["reason"], registry=self.registry)
        self.recommended = Counter(
            "portrait_api_recommendations", "Lists recommended: by the model, or by popularity", ["source"], registry=self.registry
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self.requests.labels(known, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def as_text(self) -> bytes:
        """These, and what other parts of the process count (memory and time of the process itself among them)."""
        return generate_latest(self.registry) + generate_latest(REGISTRY)
