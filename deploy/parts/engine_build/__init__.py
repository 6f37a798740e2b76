"""What the environment of a real vLLM on the CPU is built from: see `deploy.parts.engine`."""
