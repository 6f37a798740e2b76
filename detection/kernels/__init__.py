"""Loops over all cells or rows, compiled to machine code: what numpy would take dozens of passes
over memory for is one here. Each says which numpy expression it equals, and a test compares.
"""
