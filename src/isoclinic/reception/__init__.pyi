from .config import ReceptionConfig
from .listener import Listener
from .registrar import Registrar
from .spool import ReceivedImage, Spool

__all__ = [
    "Listener",
    "ReceivedImage",
    "ReceptionConfig",
    "Registrar",
    "Spool",
]
