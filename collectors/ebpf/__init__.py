"""Kernel-side counts of what processes do with their GPUs, by one committed CO-RE object."""
