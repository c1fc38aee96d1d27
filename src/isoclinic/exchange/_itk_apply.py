"""What an ITK transform does, by SimpleITK alone; as a program, in a process that a damaged file may crash.

    python _itk_apply.py FILE

prints what `applied` returns, as JSON. It imports nothing of this package, so that it starts fast.
"""

import json
import sys
from typing import Any

import SimpleITK as sitk

# Points this far from the origin [mm] tell the matrix from its images to rounding.
PROBE_MM = 1000.0
_LARGEST_MEMORY = 4 << 30


def applied(path: str) -> dict[str, Any]:
    """Name and dimension of a transform, whether it is linear, and where it takes the origin and probes.

    Raises:
        RuntimeError, UnicodeDecodeError: it is no transform.
    """
    transform = sitk.ReadTransform(path)
    dimension, linear = transform.GetDimension(), transform.IsLinear()
    points = []
    if dimension == 3 and linear:
        probes = [(0.0, 0.0, 0.0), (PROBE_MM, 0.0, 0.0), (0.0, PROBE_MM, 0.0), (0.0, 0.0, PROBE_MM)]
        points = [list(transform.TransformPoint(probe)) for probe in probes]
    return {"name": transform.GetName(), "dimension": dimension, "linear": linear, "points": points}


def _main() -> None:
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        _, allowed = resource.getrlimit(resource.RLIMIT_AS)
        limit = _LARGEST_MEMORY if allowed == resource.RLIM_INFINITY else min(_LARGEST_MEMORY, allowed)
        resource.setrlimit(resource.RLIMIT_AS, (limit, allowed))
    try:
        print(json.dumps(applied(sys.argv[1])))
    except (RuntimeError, UnicodeDecodeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
