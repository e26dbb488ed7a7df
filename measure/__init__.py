"""What GGA and EgoX cost on this machine: kernels, whole steps, memory, runs; for the command `gpu` and benchmarks."""
