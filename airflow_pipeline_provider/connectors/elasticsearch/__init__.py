"""Read windows of documents from Elasticsearch and OpenSearch."""

from typing import TYPE_CHECKING

from airflow_pipeline_provider.lazy_exports import lazy_exports

__all__ = ["ElasticsearchSource"]

if TYPE_CHECKING:
    from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
else:
    __getattr__, __dir__ = lazy_exports(
        __name__, {"connectors.elasticsearch.source": ["ElasticsearchSource"]}
    )
