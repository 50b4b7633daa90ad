"""Plain data, the rules of delivery, errors and ports. Imports no adapter and does no I/O."""
