"""Read windows of rows from CSV files below the path of an Airflow connection."""

from csv_source.source import CsvSource

__all__ = ["CsvSource"]
