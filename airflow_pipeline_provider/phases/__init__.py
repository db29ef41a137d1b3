"""Move one window, one function per phase; only the contracts are used, and no Airflow is imported.

generate -> validate -> extract (per slice) -> stage -> load -> audit -> drain; `run.run_window` chains them in one
process.  Each module's docstring describes what a crash at each of its steps leaves behind and why a rerun converges.
"""

from airflow_pipeline_provider.envelope.allocator import choose_arrow_pool

choose_arrow_pool()  # before a connector imports Arrow

__all__: list[str] = []
