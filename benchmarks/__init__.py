"""`make bench`: this package against its peers, side by side in one run; writes benchmarks/results.md."""
