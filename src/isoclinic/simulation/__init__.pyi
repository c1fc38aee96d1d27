from .xray import SimulationConfig, Spectrum, simulate_xray, tube_spectrum

__all__ = ["SimulationConfig", "Spectrum", "simulate_xray", "tube_spectrum"]
