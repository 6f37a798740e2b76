"""The live stream: one look at the store for all readers, one encoding for all readers."""
