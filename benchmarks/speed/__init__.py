"""What detection and root cause cost, each beside a named peer in the same run."""
