"""What was looked at and is not shipped; benchmarks/README.md has the commands."""
