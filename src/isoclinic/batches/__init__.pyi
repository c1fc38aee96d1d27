from .outcome import Batch, RowOutcome, batch_verdict
from .plan import BatchPlan
from .rows import BatchRow, BatchRows, read_table, rows_in_folder
from .runner import register_batch

__all__ = [
    "Batch",
    "BatchPlan",
    "BatchRow",
    "BatchRows",
    "RowOutcome",
    "batch_verdict",
    "read_table",
    "register_batch",
    "rows_in_folder",
]
