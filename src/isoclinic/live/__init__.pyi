from .config import LiveConfig
from .plan import LivePlan
from .server import LivePage

__all__ = [
    "LiveConfig",
    "LivePage",
    "LivePlan",
]
