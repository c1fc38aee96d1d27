"""One ray: its line integral and the derivatives of it, written once for processors and graphics cards.

The functions below are plain Python that numba compiles: `render_all` for threads, `_cuda_kernel` for a GPU.
Coordinates are those of a packed volume (see `_pack`): voxel centres at integers plus one, because one layer
of empty voxels surrounds the CT, so that what enters or leaves it needs no special case.

Along source + a * direction, 0 <= a <= 1, the integral is I = |ray|_mm * (integral of mu da). With
G = dI/d source and H = dI/d direction, both per |ray|_mm, two identities hold for any mu because mu is
differentiated along the ray itself (integration by parts; mu = 0 outside the volume):

    G . direction = mu(1) - mu(0),        H . direction = mu(1) - (integral of mu da).

So only the two components across the axis along which the loop runs are accumulated; the third follows. The
loop runs over the slabs of the axis along which the ray is steepest in voxels (Joseph, IEEE TMI 1982). In a
slab a ray meets at most one voxel boundary of each other axis; every turn of the loop does the same work
without a branch, so that it vectorises. Index arithmetic is 32 bit throughout: wider indices, and signed
ones, which numba checks, are slower.
"""

from __future__ import annotations

import math

import numpy as np
from numba import config, njit, prange

_F = np.float32
_U = np.uint32
_I = np.int32
_LOW = np.uint32(0xFFFF)
_SHIFT = np.uint32(16)
# Shows the compiler that an index is no larger than a signed 32-bit number, by which processors gather.
_INDEX = np.uint32(0x7FFFFFFF)


def _compiled(**options):
    """Compile with numba; the simulator of a GPU runs plain Python."""
    if config.ENABLE_CUDASIM:
        return lambda function: function
    # error_model: no checks for division by zero, which would keep the loops from vectorising.
    return njit(fastmath=True, error_model="numpy", boundscheck=False, **options)


# A ray this close to parallel with a voxel plane [voxels per ray] never meets it within float32.
_PARALLEL = 1e-9
# Four float32 roundings of at most 2^-24 move a position in the loop by up to 2^-22 of itself; a loop that
# ends twice that short of the last voxel loads nothing from beyond it.
_INSIDE = 1.0 - 2.0**-21


@_compiled()
def end_value(words, strides, size, x, y, z):
    """Stored value of the voxel that holds an end of the ray (edge coordinates); 0 outside the volume."""
    inside = 0.0 <= x < size[0] and 0.0 <= y < size[1] and 0.0 <= z < size[2]
    if not inside:
        return _F(0)
    index = _U(_U(x) * _U(strides[0]) + _U(y) * _U(strides[1]) + _U(z) * _U(strides[2]))
    return _F(_I(words[index & _INDEX] & _LOW))


@_compiled()
def interval(source, direction, lower, upper, start, stop):
    """The part of [start, stop] in which lower <= source + a * direction <= upper; empty if start > stop."""
    if abs(direction) > _PARALLEL:
        first = (lower - source) / direction
        second = (upper - source) / direction
        start = max(start, min(first, second))
        stop = min(stop, max(first, second))
    elif source < lower or source > upper:
        stop = start - 1.0
    return start, stop


@_compiled()
def trilinear_slabs(words, strides, size, source, direction, paired):
    """Joseph's sum along axis 0 of its arguments: trilinear interpolation where the ray meets voxel planes.

    Args:
        words: packed volume [N], uint32.
        strides: the strides of the three axes, loop axis first.
        size: voxels per axis with the empty border, same order.
        source: (3,) voxel coordinates, same order.
        direction: (3,) voxel coordinates, same order.
        paired: whether the last axis is the one along which a word holds two voxels. It is a constant where
            this function is called, so that the loop need not ask.

    Returns:
        (integral, G1, G2, H1, H2, end0, end1): in stored units per |ray|_mm; the ends are mu(0) and mu(1).
    """
    slope1 = direction[1] / direction[0]
    slope2 = direction[2] / direction[0]
    offset1 = source[1] - source[0] * slope1
    offset2 = source[2] - source[0] * slope2
    # In units of the loop axis the ray is (x, offset1 + x * slope1, offset2 + x * slope2).
    end = source[0] + direction[0]
    lower = max(1.0, min(source[0], end))
    upper = min(size[0] - 2.0, max(source[0], end))
    lower, upper = interval(offset1, slope1, 0.0, (size[1] - 1.0) * _INSIDE, lower, upper)
    lower, upper = interval(offset2, slope2, 0.0, (size[2] - 1.0) * _INSIDE, lower, upper)

    total = _F(0)
    g1 = _F(0)
    g2 = _F(0)
    h1 = _F(0)
    h2 = _F(0)
    if upper >= lower:
        first = math.ceil(lower)
        count = _I(math.floor(upper) - first + 1)
        y0 = _F(offset1 + first * slope1)
        z0 = _F(offset2 + first * slope2)
        dy = _F(slope1)
        dz = _F(slope2)
        a0 = _F((first - source[0]) / direction[0])
        da = _F(1.0 / direction[0])
        step = _U(strides[0])
        row = _U(strides[1])
        column = _U(strides[2])
        base = _U(_U(first) * step)
        for k in range(count):
            t = _F(k)
            y = y0 + t * dy
            z = z0 + t * dz
            iy = _I(y)
            iz = _I(z)
            fy = y - _F(iy)
            fz = z - _F(iz)
            index = _U(base + _U(k) * step + _U(iy) * row + _U(iz) * column)
            near = words[index & _INDEX]
            far = words[_U(index + row) & _INDEX]
            c00 = _F(_I(near & _LOW))
            c10 = _F(_I(far & _LOW))
            if paired:
                c01 = _F(_I(near >> _SHIFT))
                c11 = _F(_I(far >> _SHIFT))
            else:
                c01 = _F(_I(words[_U(index + column) & _INDEX] & _LOW))
                c11 = _F(_I(words[_U(index + row + column) & _INDEX] & _LOW))
            near_slope = c01 - c00
            along1 = (c10 - c00) + ((c11 - c10) - near_slope) * fz
            along2 = near_slope + ((c11 - c10) - near_slope) * fy
            a = a0 + t * da
            total += c00 + near_slope * fz + along1 * fy
            g1 += along1
            g2 += along2
            h1 += a * along1
            h2 += a * along2
    thickness = _F(abs(1.0 / direction[0]))
    return total * thickness, g1 * thickness, g2 * thickness, h1 * thickness, h2 * thickness, _F(0), _F(0)


@_compiled()
def siddon_slabs(words, strides, size, source, direction):
    """Siddon's exact integral through piecewise constant voxels (Med. Phys. 12, 252, 1985), slab by slab.

    Within a slab of the loop axis the ray crosses at most one boundary of either other axis, hence at most
    three voxels (rounding must not make it two boundaries where the ray runs at 45 degrees). A boundary of
    axis j crossed at a, where mu jumps by d mu, adds d mu / direction_j to G_j and a times that to H_j.
    Arguments and result as for `trilinear_slabs`, without `paired`.
    """
    slope1 = direction[1] / direction[0]
    slope2 = direction[2] / direction[0]
    # Voxel i is [i, i + 1) here: half a voxel more than in centre coordinates.
    x_source = source[0] + 0.5
    offset1 = source[1] + 0.5 - x_source * slope1
    offset2 = source[2] + 0.5 - x_source * slope2
    end = x_source + direction[0]
    lower = max(1.0, min(x_source, end))
    upper = min(size[0] - 1.0, max(x_source, end))
    lower, upper = interval(offset1, slope1, 0.0, _F(size[1]), lower, upper)
    lower, upper = interval(offset2, slope2, 0.0, _F(size[2]), lower, upper)

    total = _F(0)
    g1 = _F(0)
    g2 = _F(0)
    h1 = _F(0)
    h2 = _F(0)
    at_source = _F(0)
    at_detector = _F(0)
    if upper > lower:
        first = math.floor(lower)
        count = _I(math.ceil(upper) - first)
        y0 = _F(offset1 + first * slope1)
        z0 = _F(offset2 + first * slope2)
        dy = _F(slope1)
        dz = _F(slope2)
        steep1 = abs(direction[1]) > _PARALLEL
        steep2 = abs(direction[2]) > _PARALLEL
        per_y = _F(1.0 / slope1) if steep1 else _F(0)
        per_z = _F(1.0 / slope2) if steep2 else _F(0)
        a0 = _F((first - x_source) / direction[0])
        da = _F(1.0 / direction[0])
        enter = _F(lower - first)
        leave = _F(upper - first)
        last_row = _I(size[1] - 1)
        last_column = _I(size[2] - 1)
        step = _U(strides[0])
        row = _U(strides[1])
        column = _U(strides[2])
        base = _U(_U(first) * step)
        for k in range(count):
            near = max(_F(k), enter)
            far = min(_F(k + 1), leave)
            iy = min(max(_I(y0 + near * dy), _I(0)), last_row)
            jy = min(max(_I(y0 + far * dy), _I(iy - 1), _I(0)), _I(iy + 1), last_row)
            iz = min(max(_I(z0 + near * dz), _I(0)), last_column)
            jz = min(max(_I(z0 + far * dz), _I(iz - 1), _I(0)), _I(iz + 1), last_column)
            cross_y = min(max((_F(max(iy, jy)) - y0) * per_y, near), far) if iy != jy else far
            cross_z = min(max((_F(max(iz, jz)) - z0) * per_z, near), far) if iz != jz else far
            y_first = cross_y <= cross_z
            my = jy if y_first else iy
            mz = iz if y_first else jz
            slab = _U(base + _U(k) * step)
            c0 = _F(_I(words[_U(slab + _U(iy) * row + _U(iz) * column) & _INDEX] & _LOW))
            c1 = _F(_I(words[_U(slab + _U(my) * row + _U(mz) * column) & _INDEX] & _LOW))
            c2 = _F(_I(words[_U(slab + _U(jy) * row + _U(jz) * column) & _INDEX] & _LOW))
            early = min(cross_y, cross_z)
            late = max(cross_y, cross_z)
            total += c0 * (early - near) + c1 * (late - early) + c2 * (far - late)
            jump1 = c1 - c0 if y_first else c2 - c1
            jump2 = c2 - c1 if y_first else c1 - c0
            g1 += jump1
            g2 += jump2
            h1 += jump1 * (a0 + cross_y * da)
            h2 += jump2 * (a0 + cross_z * da)
        # Jumps were taken towards growing x, which is backwards along the ray where direction[0] < 0.
        forward = 1.0 if direction[0] > 0 else -1.0
        across1 = _F(forward / direction[1]) if steep1 else _F(0)
        across2 = _F(forward / direction[2]) if steep2 else _F(0)
        g1 *= across1
        h1 *= across1
        g2 *= across2
        h2 *= across2
        y_source = source[1] + 0.5
        z_source = source[2] + 0.5
        at_source = end_value(words, strides, size, x_source, y_source, z_source)
        at_detector = end_value(words, strides, size, end, y_source + direction[1], z_source + direction[2])
    return total * _F(abs(1.0 / direction[0])), g1, g2, h1, h2, at_source, at_detector


@_compiled()
def line_integral(words, strides, size, source, direction, exact):
    """Integral along one ray and its derivatives, in stored units per |ray|_mm.

    Args:
        words: packed volume [N], uint32.
        strides: (3,) words per step along each axis.
        size: (3,) voxels per axis with the empty border.
        source: (3,) float64 voxel coordinates.
        direction: (3,) float64, detector pixel minus source, voxel coordinates.
        exact: Siddon's method when true, else trilinear interpolation.

    Returns:
        (integral, G_0, G_1, G_2, H_0, H_1, H_2), float32.
    """
    d0, d1, d2 = direction
    s0, s1, s2 = source
    # Steepest axis first, and the paired axis (2) last whenever it is not the steepest.
    if abs(d0) >= abs(d1) and abs(d0) >= abs(d2):
        axis = 0
    elif abs(d1) >= abs(d2):
        axis = 1
        s0, s1, d0, d1 = s1, s0, d1, d0
        strides = (strides[1], strides[0], strides[2])
        size = (size[1], size[0], size[2])
    else:
        axis = 2
        s0, s1, s2, d0, d1, d2 = s2, s0, s1, d2, d0, d1
        strides = (strides[2], strides[0], strides[1])
        size = (size[2], size[0], size[1])
    if exact:
        total, g1, g2, h1, h2, at_source, at_detector = siddon_slabs(
            words, strides, size, (s0, s1, s2), (d0, d1, d2)
        )
    elif axis == 2:
        total, g1, g2, h1, h2, at_source, at_detector = trilinear_slabs(
            words, strides, size, (s0, s1, s2), (d0, d1, d2), False
        )
    else:
        total, g1, g2, h1, h2, at_source, at_detector = trilinear_slabs(
            words, strides, size, (s0, s1, s2), (d0, d1, d2), True
        )
    per_d0 = _F(1.0 / d0)
    g0 = (at_detector - at_source - _F(d1) * g1 - _F(d2) * g2) * per_d0
    h0 = (at_detector - total - _F(d1) * h1 - _F(d2) * h2) * per_d0
    if axis == 0:
        return total, g0, g1, g2, h0, h1, h2
    if axis == 1:
        return total, g1, g0, g2, h1, h0, h2
    return total, g1, g2, g0, h1, h2, h0


@_compiled()
def render_pixel(words, layout, detector, rays, tangents, exact, image, jacobian, item, u, v):
    """Integral and derivatives of pixel (u, v) of one pose, written to image[item] and jacobian[item].

    Args:
        words: packed volume [N], uint32.
        layout: [2, 3], uint32: strides, and voxels per axis with the empty border.
        detector: [3, 3]: (u, v, 1) to the ray's vector [mm] times 1/mm per stored unit.
        rays: [B, 3, 4]: direction (columns of u, v, 1) and source (last column), voxel coordinates, float64.
        tangents: [B, P, 3, 4]: change of `rays` with each parameter, float32.
        exact: Siddon's method when true.
        image: [B, H, W], written.
        jacobian: [B, P, H, W], written.
        item: index of the pose.
        u: column [px].
        v: row [px].
    """
    ray = rays[item]
    direction = (
        ray[0, 0] * u + ray[0, 1] * v + ray[0, 2],
        ray[1, 0] * u + ray[1, 1] * v + ray[1, 2],
        ray[2, 0] * u + ray[2, 1] * v + ray[2, 2],
    )
    source = (ray[0, 3], ray[1, 3], ray[2, 3])
    x = detector[0, 0] * u + detector[0, 2]
    y = detector[1, 1] * v + detector[1, 2]
    length = math.sqrt(x * x + y * y + detector[2, 2] * detector[2, 2])
    strides = (layout[0, 0], layout[0, 1], layout[0, 2])
    size = (layout[1, 0], layout[1, 1], layout[1, 2])
    total, g0, g1, g2, h0, h1, h2 = line_integral(words, strides, size, source, direction, exact)
    image[item, v, u] = total * length
    for p in range(jacobian.shape[1]):
        t = tangents[item, p]
        change = g0 * t[0, 3] + g1 * t[1, 3] + g2 * t[2, 3]
        change += h0 * (t[0, 0] * u + t[0, 1] * v + t[0, 2])
        change += h1 * (t[1, 0] * u + t[1, 1] * v + t[1, 2])
        change += h2 * (t[2, 0] * u + t[2, 1] * v + t[2, 2])
        jacobian[item, p, v, u] = change * length


@_compiled(parallel=True, cache=True)
def render_all(words, layout, detector, rays, tangents, exact, down_first, image, jacobian):
    """`render_pixel` for all pixels of all poses, on threads; along columns of the image when `down_first`.

    It stands here because numba's cache on disk notices changes of the compiled function's own file only.
    """
    batch, height, width = image.shape
    for ray in prange(batch * height * width):
        item = ray // (height * width)
        pixel = ray % (height * width)
        if down_first:
            u = pixel // height
            v = pixel % height
        else:
            u = pixel % width
            v = pixel // width
        render_pixel(words, layout, detector, rays, tangents, exact, image, jacobian, item, u, v)
