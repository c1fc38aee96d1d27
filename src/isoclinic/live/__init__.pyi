from .config import LiveConfig
from .plan import LivePlan
from .server import LivePage, live_page

__all__ = [
    "LiveConfig",
    "LivePage",
    "LivePlan",
    "live_page",
]
