"""The category of every warning about a user's data."""


class GeometryWarning(UserWarning):
    """Usable data whose geometry, units or intensities are incomplete or contradict themselves."""
