"""Pages for people: HTML, complete without scripts."""
