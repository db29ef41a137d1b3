"""Write log lines and metrics, and keep secrets out of both."""

__all__: list[str] = []
