"""The read model: what is complete, what is missing and why, computed once for every command that shows it."""
