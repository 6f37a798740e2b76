"""One module for each format: a pure formatter to bytes, and the notifier that sends them."""
