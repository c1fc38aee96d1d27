"""Simulated X-rays of a CT, as a detector would measure them, for tests and training."""

from .xray import SimulationConfig, Spectrum, simulate_xray, tube_spectrum

__all__ = ["SimulationConfig", "Spectrum", "simulate_xray", "tube_spectrum"]
