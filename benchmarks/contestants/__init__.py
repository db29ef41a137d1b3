"""One way of doing the work a file, each a command: `python -m benchmarks.contestants.<name>`."""
