"""The HTTP API: accepts messages durably, configures and shows everything else."""
