"""Build OpenLineage's own classes; import this module only where the OpenLineage provider is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    InputDatasetFacet,
    RunFacet,
    data_quality_metrics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from airflow_pipeline_provider import __version__

if TYPE_CHECKING:
    from airflow_pipeline_provider.operators.lineage import Lineage

PRODUCER = f"urn:airflow-pipeline-provider:{__version__}"  # OpenLineage requires a URI


@attrs.define
class PipelineWindowRunFacet(RunFacet):
    """Facet of a window: bounds, token and counts; the keys are camel case like OpenLineage's own."""

    pipeline: str
    windowStart: str
    windowEnd: str
    day: str
    token: int
    counts: dict[str, int]


def build(lineage: Lineage) -> OperatorLineage[Any, Any]:
    """Build the input with its row count, the table with statistics, the typed view with columns, and the window."""
    inputs, outputs = [], []
    if lineage.source is not None:
        facets: dict[str, InputDatasetFacet] = {}
        if lineage.source_rows is not None:
            facets["dataQualityMetrics"] = (
                data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
                    columnMetrics={}, rowCount=lineage.source_rows, producer=PRODUCER
                )
            )
        inputs.append(InputDataset(lineage.source.namespace, lineage.source.name, inputFacets=facets))
    if lineage.target is not None:
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=lineage.rows, size=lineage.size_bytes, fileCount=lineage.files, producer=PRODUCER
        )
        outputs.append(
            OutputDataset(
                lineage.target.namespace, lineage.target.name, outputFacets={"outputStatistics": statistics}
            )
        )
    if lineage.view is not None:
        fields = [schema_dataset.SchemaDatasetFacetFields(name, type=kind) for name, kind in lineage.columns]
        schema = schema_dataset.SchemaDatasetFacet(fields=fields, producer=PRODUCER)
        outputs.append(OutputDataset(lineage.view.namespace, lineage.view.name, facets={"schema": schema}))
    window = PipelineWindowRunFacet(
        pipeline=lineage.pipeline,
        windowStart=lineage.window_start,
        windowEnd=lineage.window_end,
        day=lineage.day,
        token=lineage.token,
        counts=lineage.counts,
        producer=PRODUCER,
    )
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={"pipelineWindow": window})
