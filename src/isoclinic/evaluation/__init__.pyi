from .config import EvaluationConfig, StatisticsConfig
from .measurement import Measurement
from .methods import Method, MethodResult, method_named
from .plan import Plan, chosen_samples
from .published import PublishedTable, published_table
from .records import read_evaluation
from .report import ReportConfig, write_report
from .runner import Evaluation, evaluate

__all__ = [
    "Evaluation",
    "EvaluationConfig",
    "Measurement",
    "Method",
    "MethodResult",
    "Plan",
    "PublishedTable",
    "ReportConfig",
    "StatisticsConfig",
    "chosen_samples",
    "evaluate",
    "method_named",
    "published_table",
    "read_evaluation",
    "write_report",
]
