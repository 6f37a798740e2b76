"""How replayed recordings are judged: pure functions from labels and openings to figures.

Used by `fleetmend evaluate` and by tests. Knows nothing of logs, stages or files: the caller reads
labels and incidents and hands them over. Each rule stands in the text of the function that carries
it out, and each has a test by its name.
"""
