"""The contracts: what travels between rooms. Plain frozen dataclasses; JSON only at the edges.

Event time is Unix seconds as a float and its name ends in `_at_s`, `at_s` or `time_s`.
"""
