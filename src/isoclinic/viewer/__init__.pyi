from .comparison import write_comparison
from .convergence import ConvergenceStage, convergence_figure, write_convergence
from .overlay import checkerboard, edge_overlay, write_overlay, write_overview
from .report import write_report
from .report_data import (
    CheckRow,
    ErrorRow,
    GeometryRow,
    Report,
    ReportLandmarks,
    ReportView,
    StructureRow,
    mask_contours,
)
from .training import training_figure, write_training_curves

__all__ = [
    "CheckRow",
    "ConvergenceStage",
    "ErrorRow",
    "GeometryRow",
    "Report",
    "ReportLandmarks",
    "ReportView",
    "StructureRow",
    "checkerboard",
    "convergence_figure",
    "edge_overlay",
    "mask_contours",
    "training_figure",
    "write_comparison",
    "write_convergence",
    "write_overlay",
    "write_overview",
    "write_report",
    "write_training_curves",
]
