"""One file for each action; `catalogue` lists them."""
