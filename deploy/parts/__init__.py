"""The real parts, obtained from package registries and started on loopback: for tests and the demo.

Nothing here is installed with fleetmend. Each part is built or fetched once into a cache folder
keyed by version; each process is stopped by its own pid.
"""
