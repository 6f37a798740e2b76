"""What is found and named: recordings (`python -m benchmarks.quality`) and public sets
(`python -m benchmarks.quality.public`)."""
