from ._calibration import Calibration, calibration, calibration_figure, calibration_text
from ._summaries import Row, RowKey, rows, summaries
from .comparison import PairedComparison, paired_comparisons
from .config import EvaluationConfig, StatisticsConfig
from .figures import paired_figure, summary_figure, time_figure
from .measurement import METRICS, Measurement, errors_of, landmarks_digest
from .methods import METHODS, Method, MethodResult, Pipeline, method_named
from .metrics import Summary, success_rate, summary
from .published import PUBLISHED_TABLES, PublishedTable, published_table
from .records import EvaluationRecord, Origin, case_folder, check_comparable, combined, read_evaluation
from .report import ReportConfig, summary_document, write_report
from .runner import Evaluation, Failure, Plan, chosen_samples, evaluate, failures_text
from .starts import PUBLISHED, PublishedStart, start_of
from .statistics import Interval, bootstrap_intervals, success_interval, wilson_interval
from .tables import Column, Estimate, Table, comparison_table, summary_columns, summary_table

__all__ = [
    "METHODS",
    "METRICS",
    "PUBLISHED",
    "PUBLISHED_TABLES",
    "Calibration",
    "Column",
    "Estimate",
    "Evaluation",
    "EvaluationConfig",
    "EvaluationRecord",
    "Failure",
    "Interval",
    "Measurement",
    "Method",
    "MethodResult",
    "Origin",
    "PairedComparison",
    "Pipeline",
    "Plan",
    "PublishedStart",
    "PublishedTable",
    "ReportConfig",
    "Row",
    "RowKey",
    "StatisticsConfig",
    "Summary",
    "Table",
    "bootstrap_intervals",
    "calibration",
    "calibration_figure",
    "calibration_text",
    "case_folder",
    "check_comparable",
    "chosen_samples",
    "combined",
    "comparison_table",
    "errors_of",
    "evaluate",
    "failures_text",
    "landmarks_digest",
    "method_named",
    "paired_comparisons",
    "paired_figure",
    "published_table",
    "read_evaluation",
    "rows",
    "start_of",
    "success_interval",
    "success_rate",
    "summaries",
    "summary",
    "summary_columns",
    "summary_document",
    "summary_figure",
    "summary_table",
    "time_figure",
    "wilson_interval",
    "write_report",
]
