"""Methods by their names."""

import pytest

from isoclinic.errors import UsageError
from isoclinic.evaluation.methods import METHODS, Pipeline, method_named
from isoclinic.evaluation.methods.registry import is_installed
from isoclinic.provenance import InputFile
from isoclinic.registration import RegistrationConfig
from raising import raises

MODEL = InputFile(path="model.safetensors", sha256="0" * 64)


def test_the_published_system_is_its_configuration_whatever_the_options_say():
    config = RegistrationConfig(length_mm=70.0, same_patient=True, backend="cpu")
    method = method_named("paper", config=config, model=MODEL)
    assert isinstance(method, Pipeline) and method.name == "paper" and method.model == MODEL
    published = RegistrationConfig.paper()
    assert (method.config.length_mm, method.config.stages) == (published.length_mm, ())
    assert method.config.learned == published.learned
    assert method.config.same_patient and method.config.backend == "cpu", "whose CT it is and where to render"


@pytest.mark.parametrize("settings", [{}, {"model": MODEL, "last_resort": True}])
def test_it_needs_networks_that_were_trained_for_it(settings):
    with raises(UsageError, "model.missing", "paper"):
        method_named("paper", config=RegistrationConfig(), **settings)


def test_methods_of_this_library_need_no_package():
    assert {"isoclinic", "isoclinic-single", "paper"} <= {name for name in METHODS if is_installed(name)}
    with raises(UsageError, "evaluation.unknown-name", "abacus", "isoclinic-single", "cmaes"):
        method_named("abacus", config=RegistrationConfig())
