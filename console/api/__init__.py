"""The JSON twins of the pages, under /api/v1."""
