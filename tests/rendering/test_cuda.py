"""The GPU kernel: in numba's simulator, compiled for a GPU without one, and on one where there is."""

from dataclasses import replace

import pytest
import torch
from numba import config as numba_config
from torch import Tensor

from isoclinic.geometry import Camera, perturb
from isoclinic.rendering import RenderConfig, _cuda, render, render_with_jacobian
from isoclinic.volumes import Volume

from .scenes import CAMERA, METHODS, affine, noise_volume, pose, random_poses

# As in test_parity, whose reasoning holds for the same functions compiled for another machine.
RELATIVE = 5e-5
LEVER_RELATIVE = 100 * 2.0**-24

in_simulator = [
    pytest.mark.cudasim,
    pytest.mark.skipif(
        not numba_config.ENABLE_CUDASIM,
        reason="numba reads the switch when imported: NUMBA_ENABLE_CUDASIM=1 pytest -m cudasim",
    ),
]
on_gpu = pytest.mark.skipif(not _cuda.available(), reason="needs an NVIDIA GPU that torch and numba can use")


def assert_parity(volume: Volume, camera: Camera, poses: Tensor, method: str) -> None:
    config = RenderConfig(method=method, voxel_mm="full")
    image, jacobian = render_with_jacobian(volume, camera, poses, replace(config, backend="cuda"))
    expected, expected_jacobian = render_with_jacobian(
        volume, camera, poses, replace(config, backend="reference")
    )
    assert image.dtype == jacobian.dtype == torch.float32
    assert expected.max() > 0
    assert (image.cpu() - expected).abs().max() <= RELATIVE * expected.max()
    error = (jacobian.cpu() - expected_jacobian).abs().amax(dim=(0, 1, 2))
    largest = max(expected_jacobian[..., 3:].abs().max().item(), float(volume.attenuation().max()))
    assert error[3:].max() <= RELATIVE * largest
    assert error[:3].max() <= LEVER_RELATIVE * camera.sdd_mm * largest


TINY = (4, 5, 6)
TINY_CAMERA = Camera.from_pixel_spacing(width=4, height=3, pixel_spacing_mm=(3.1, 2.7), sdd_mm=300.0)


class TestSimulator:
    pytestmark = in_simulator

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("permutation", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
    def test_parity(self, permutation, method):
        volume = noise_volume(TINY, affine(permutation, (1, -1, 1)))
        assert_parity(volume, TINY_CAMERA, pose(volume), method)

    @pytest.mark.parametrize("method", METHODS)
    def test_source_inside_the_volume(self, method):
        volume = noise_volume(TINY)
        assert_parity(volume, replace(TINY_CAMERA, fx=9.0, fy=9.0), pose(volume, depth_mm=0.5), method)

    @pytest.mark.parametrize("method", METHODS)
    def test_rays_that_miss(self, method):
        volume = noise_volume(TINY)
        image, jacobian = render_with_jacobian(
            volume, TINY_CAMERA, pose(volume, depth_mm=-200.0), RenderConfig(method=method, backend="cuda")
        )
        assert not image.any()
        assert not jacobian.any()

    def test_batch_spans_several_blocks_of_threads(self):
        volume = noise_volume(TINY)
        poses = random_poses(volume, 12)
        assert len(poses) * TINY_CAMERA.width * TINY_CAMERA.height > _cuda._THREADS
        assert_parity(volume, TINY_CAMERA, poses, "trilinear")

    def test_backward(self):
        volume = noise_volume(TINY)
        tangent = torch.zeros(6, dtype=torch.float64, requires_grad=True)
        isocentre = torch.from_numpy(volume.isocentre_world)
        config = RenderConfig(voxel_mm="full", backend="cuda")
        render(volume, TINY_CAMERA, perturb(pose(volume), tangent, isocentre), config).sum().backward()
        _, jacobian = render_with_jacobian(volume, TINY_CAMERA, pose(volume), config)
        atol = LEVER_RELATIVE * TINY_CAMERA.sdd_mm * jacobian.abs().max().item()
        torch.testing.assert_close(tangent.grad.float(), jacobian.sum(dim=(0, 1, 2)), rtol=0, atol=atol)

    def test_the_volume_is_copied_once(self):
        volume = noise_volume(TINY)
        config = RenderConfig(voxel_mm="full", backend="cuda")
        before = len(_cuda._on_device)
        first = render(volume, TINY_CAMERA, pose(volume), config)
        assert len(_cuda._on_device) == before + 1
        assert torch.equal(render(volume, TINY_CAMERA, pose(volume), config), first)
        assert len(_cuda._on_device) == before + 1


@on_gpu
class TestGpu:
    @pytest.mark.parametrize("method", METHODS)
    def test_parity(self, method):
        volume = noise_volume()
        assert_parity(volume, CAMERA, random_poses(volume, 12), method)

    @pytest.mark.parametrize("method", METHODS)
    def test_parity_with_source_inside(self, method):
        volume = noise_volume()
        assert_parity(volume, replace(CAMERA, fx=30.0, fy=30.0), pose(volume, depth_mm=0.5), method)

    def test_result_and_gradient_lie_where_their_inputs_do(self):
        volume = noise_volume()
        leaf = pose(volume).cuda().requires_grad_()
        image = render(volume, CAMERA, leaf, RenderConfig(voxel_mm="full"))
        image.sum().backward()
        assert image.is_cuda
        assert leaf.grad.is_cuda
        on_cpu = pose(volume).requires_grad_()
        render(volume, CAMERA, on_cpu, RenderConfig(voxel_mm="full", backend="cpu")).sum().backward()
        torch.testing.assert_close(leaf.grad.cpu(), on_cpu.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(numba_config.ENABLE_CUDASIM, reason="the simulator cannot compile")
def test_kernel_compiles_for_gpus(monkeypatch):
    """To PTX, for the oldest generation that numba-cuda and CUDA 13 still serve; needs libraries, no GPU."""
    cuda = pytest.importorskip("numba.cuda")
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="needs numba-cuda with NVIDIA's bindings")
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"needs NVIDIA's compiler libraries, numba-cuda[cu13]: {str(error).splitlines()[0]}")
    from numba import types

    from isoclinic.rendering._cuda_kernel import render as kernel

    target = (7, 5)
    if not _cuda.available():
        # numba asks the GPU in use what it is before it compiles the functions that a kernel calls.
        device = type("Device", (), {"compute_capability": target})
        monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: device)

    def array(dtype, dimensions):
        return types.Array(dtype, dimensions, "C")

    signature = (
        array(types.uint32, 1),  # words
        array(types.uint32, 2),  # layout
        array(types.float64, 2),  # detector
        array(types.float64, 3),  # rays
        array(types.float32, 4),  # tangents
        types.boolean,  # exact
        array(types.float32, 3),  # image
        array(types.float32, 4),  # jacobian
    )
    ptx, result = cuda.compile_ptx(kernel.py_func, signature, fastmath=True, cc=target)
    assert result == types.none
    assert ptx.count(".entry") == 1
    assert ".target sm_75" in ptx
    # Everything in registers: memory of a thread's own would mean an array or a call that was not inlined.
    assert ".local" not in ptx
    assert ptx.count("ld.global") > 10
