"""Figures that services keep as plain attributes; only a scrape reads them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class Figure(NamedTuple):
    """One metric without labels. counts: it only grows (a counter), otherwise a gauge."""

    name: str
    text: str
    read: Callable[[], float]
    counts: bool = True


class _Figures:
    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now (prometheus_client's custom collector)."""
        for figure in self._figures:
            family = CounterMetricFamily if figure.counts else GaugeMetricFamily
            yield family(figure.name, figure.text, value=figure.read())

    def describe(self) -> Iterable[Metric]:
        """Nothing: keeps the registry from collecting when this is registered."""
        return ()


def export(registry: CollectorRegistry, figures: Sequence[Figure]) -> None:
    """Show figures on /metrics."""
    registry.register(_Figures(figures))
