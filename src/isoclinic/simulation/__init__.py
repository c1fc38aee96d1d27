"""X-rays as a detector would see them, made from a CT: what registration is tried on and trained with."""

from .xray import SimulationConfig, Spectrum, simulate_xray, tube_spectrum

__all__ = ["SimulationConfig", "Spectrum", "simulate_xray", "tube_spectrum"]
