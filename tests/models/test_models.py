"""The networks that come along: there, small, of nobody in particular, and described."""

from __future__ import annotations

import re

import isoclinic
from isoclinic import models
from isoclinic.errors import InputError
from isoclinic.models import DEFAULT_MODEL, default_model
from isoclinic.networks import CanonicalNetwork, Checkpoint
from raising import raises


def test_the_default_model_is_what_registration_needs():
    model = default_model()
    assert isinstance(model, Checkpoint) and default_model() is model
    assert isoclinic.default_model is default_model
    assert isinstance(model.networks["canonical"], CanonicalNetwork)
    assert not any(network.training for network in model.networks.values())


def test_it_is_of_any_patient_and_small():
    assert default_model().record.volume_sha256 is None
    assert DEFAULT_MODEL.stat().st_size < 8e6


def test_its_card_says_what_it_holds():
    card = DEFAULT_MODEL.with_suffix(".md").read_text(encoding="utf-8")
    for kind, curve in default_model().record.curves.items():
        assert f"| {kind.replace('_', ' ')} | {curve['images'][-1]:,.0f} |" in card, kind
    assert "not for clinical use" in card.lower()
    size_mb = float(re.search(r"([\d.]+) MB", card)[1])
    assert abs(size_mb - DEFAULT_MODEL.stat().st_size / 1e6) < 0.1


def test_a_damaged_file_says_how_to_get_it_back(monkeypatch, tmp_path):
    file = tmp_path / "any-patient.safetensors"
    file.write_bytes(DEFAULT_MODEL.read_bytes()[:1000])
    monkeypatch.setattr(models, "DEFAULT_MODEL", file)
    default_model.cache_clear()
    try:
        with raises(InputError, "installation.model-missing"):
            default_model()
    finally:
        default_model.cache_clear()
