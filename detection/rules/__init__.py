"""Rules: what needs no learning, because a catalogue, physics or an operator says what is wrong.

Every class here is one detector whose opinions carry the detector name `rules`; policy is data in
`detection/data`, never code.
"""

NAME = "rules"
"""The detector name of all rules in findings."""
