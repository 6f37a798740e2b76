"""What root cause analysis knows about faults, as data: signs (`signs.toml`) and fault classes.

`classes/*.toml` holds one fault class a file; `load.py` reads and checks them; `model.py` is what
the rest of the room sees. Nothing here looks at findings.
"""
