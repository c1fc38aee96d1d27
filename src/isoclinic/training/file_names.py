"""Names of the files in a training's folder."""

from __future__ import annotations

MODEL_FILE, STATE_FILE = "model.safetensors", "state.safetensors"
