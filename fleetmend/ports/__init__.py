"""Protocols of the outside world. The real adapters and the simulator implement the same ones."""
