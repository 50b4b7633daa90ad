"""What every service stands on: time, the directory, ids, the service loop, metrics, logs."""
