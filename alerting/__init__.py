"""Alerting: who is told of an incident, in which format, and what becomes of the message."""
