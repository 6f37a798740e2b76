"""A simulated GPU inference fleet that behaves: for the demonstration, tests and closed loops."""
