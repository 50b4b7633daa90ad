"""What the Api counts, for /metrics; the registry is handed in, services may share one."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from notify.domain.model import LedgerRow

_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_STATUSES = ("matched", "delivered", "dropped", "queued", "pending")


class Ledger:
    """The account of every subscription as gauges; rows are put here before each scrape."""

    def __init__(self) -> None:
        self.rows: list[LedgerRow] = []

    def collect(self) -> Iterator[Metric]:
        """The gauges (prometheus_client's custom collector)."""
        deliveries = GaugeMetricFamily(
            "notify_subscription_deliveries",
            "Deliveries of a subscription by status; matched counts all of them",
            labels=["subscription", "status"],
        )
        difference = GaugeMetricFamily(
            "notify_subscription_difference",
            "matched - delivered - dropped - queued - pending; anything but 0 is a defect",
            labels=["subscription"],
        )
        for row in self.rows:
            number = str(row.subscription_id)
            for status in _STATUSES:
                deliveries.add_metric([number, status], getattr(row, status))
            difference.add_metric([number], row.difference)
        yield deliveries
        yield difference

    def describe(self) -> Iterable[Metric]:
        """Nothing: keeps the registry from collecting when this is registered."""
        return ()


class Answers:
    """How many requests were answered with which code: counting one is adding to a dict."""

    def __init__(self) -> None:
        self.by_code: dict[int, int] = {}

    def collect(self) -> Iterator[Metric]:
        """The counter (prometheus_client's custom collector)."""
        counter = CounterMetricFamily("notify_api_requests", "Requests answered", labels=["code"])
        for code, count in self.by_code.items():
            counter.add_metric([str(code)], count)
        yield counter

    def describe(self) -> Iterable[Metric]:
        """Nothing: keeps the registry from collecting when this is registered."""
        return ()


class ApiMetrics:
    """The metrics of one Api. A registry holds one Api at most."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.ledger = Ledger()
        registry.register(self.ledger)
        self._answers = Answers()
        registry.register(self._answers)
        self.accepted = Counter(
            "notify_api_messages_accepted",
            "Messages answered with 202, known idempotency keys included",
            registry=registry,
        )
        self.commit_rows = Histogram(
            "notify_api_commit_rows", "Messages of one commit", buckets=_ROWS, registry=registry
        )
        self.commit_seconds = Histogram(
            "notify_api_commit_seconds", "Duration of a commit", buckets=_SECONDS, registry=registry
        )
        self.push_failures = Counter(
            "notify_api_push_failures",
            "Commits whose messages the queue did not take; the Rescuer finds them",
            registry=registry,
        )
        self.in_flight = Gauge(
            "notify_api_requests_in_flight",
            "Requests to accept messages being answered",
            registry=registry,
        )
        self.waiting_rows = Gauge(
            "notify_api_waiting_rows", "Messages that wait for a commit", registry=registry
        )
        self.ledger_up = Gauge(
            "notify_ledger_up", "1 where the last scrape could read the ledger", registry=registry
        )

    def count(self, code: int) -> None:
        """Count one answer."""
        by_code = self._answers.by_code
        by_code[code] = by_code.get(code, 0) + 1
