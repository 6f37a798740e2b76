"""Read models fed by topics: plain data that several rooms need. They hold state, never decide."""
