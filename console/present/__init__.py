"""From what the store holds to what a page says: pure builders, no HTTP, no database."""
