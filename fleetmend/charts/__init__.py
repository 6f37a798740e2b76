"""Evidence charts: what the signals named by an incident did, kept with it in the store.

So an old incident still shows its evidence when the log has forgotten the samples. Runs beside the
stages as a service of the pipeline; it decides nothing.
"""

from fleetmend.charts.service import EvidenceCharts

__all__ = ["EvidenceCharts"]
