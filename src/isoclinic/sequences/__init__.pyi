from .config import SequenceConfig
from .frames import Frame, Frames
from .ledger import Ledger
from .record import FrameRecord, StructureRecord
from .relative import Joint, RelativeMotion, joints_of, relative_motion
from .report import SEQUENCE_FILES, TrackedSequence, sequence_verdict, write_sequence
from .tracking import SequencePlan, track_sequence

__all__ = [
    "SEQUENCE_FILES",
    "Frame",
    "FrameRecord",
    "Frames",
    "Joint",
    "Ledger",
    "RelativeMotion",
    "SequenceConfig",
    "SequencePlan",
    "StructureRecord",
    "TrackedSequence",
    "joints_of",
    "relative_motion",
    "sequence_verdict",
    "track_sequence",
    "write_sequence",
]
