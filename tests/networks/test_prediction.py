"""What a regressor is shown: the masked X-ray, and where it wants one, the CT, prepared once."""

from __future__ import annotations

import torch

from isoclinic.geometry import se3
from isoclinic.networks import conditioning_cube, masked, predicted_motion, prediction
from isoclinic.training.phase import network_of
from tiny_training import CAMERA, CT_REGRESSOR, REGRESSOR, space, subject

VOLUME = subject().volume
IMAGES = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
WEIGHT = (torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.2).float()


def test_a_regressor_of_one_patient_sees_the_xray():
    network = network_of(REGRESSOR, seed=0).eval()
    found = predicted_motion(network, IMAGES, WEIGHT, VOLUME, space(), CAMERA)
    assert torch.equal(found, network(masked(IMAGES, WEIGHT)))


def test_a_regressor_of_any_patient_sees_the_ct_too():
    network = network_of(CT_REGRESSOR, seed=0).eval()
    found = predicted_motion(network, IMAGES, WEIGHT, VOLUME, space(), CAMERA)
    voxels = CT_REGRESSOR.network.cube_voxels
    cube = conditioning_cube(VOLUME, space(), CAMERA, voxels)
    assert torch.equal(found, network(masked(IMAGES, WEIGHT), cube[None]))
    other = predicted_motion(network, IMAGES, WEIGHT, subject(1).volume, space(), CAMERA)
    assert not torch.equal(found, other)


def test_a_ct_is_prepared_once_for_each_view(monkeypatch):
    network, volume, asked = network_of(CT_REGRESSOR, seed=0).eval(), subject(2).volume, []

    def counted(*arguments):
        asked.append(arguments)
        return conditioning_cube(*arguments)

    monkeypatch.setattr(prediction, "conditioning_cube", counted)
    turned = torch.tensor([[0.3, 0.0, 0.0, 0.0, 0.0, 0.0]]).double()
    nominal = torch.tensor(space().nominal_camera_from_world).double()
    elsewhere = space().about(
        se3.perturb(nominal[None], turned, space().isocentre)[0], space().isocentre, 100.0
    )
    for where in (space(), space(), elsewhere, space()):
        predicted_motion(network, IMAGES, WEIGHT, volume, where, CAMERA)
    assert [each[1] for each in asked] == [space(), elsewhere]
