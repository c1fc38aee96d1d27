"""What lies in the beam and is not in the CT: implants, table, cables, an arm, contrast agent, gas.

Everything is made of rods: straight, wavy or of no length, tapered or not, of a round, flat or smooth
profile. They are added to line integrals before the acquisition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._draws import places, sometimes, uniform
from ._ranges import Range
from .hospital_config import ObjectsConfig

# Of a rod, in this order.
_NUMBERS = 10
# Of profiles; a flat one is above 0, since nothing to the power of 0 is something.
_FLAT, _ROUND, _SMOOTH = 0.02, 0.5, 1.5
# From this line integral on, preprocessing may take a pixel for metal.
_OPAQUE = 2.0
_METAL_PARTS = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectParameters:
    """What lies in the beam of each image. Lengths and places are in widths of the image, from its centre.

    A rod is ten numbers: (x, y, direction [rad], length, radius at its beginning, radius at its end,
    amplitude and number of its waves, exponent of its profile, attenuation). It begins at (x, y), its ends
    are half discs, and at a distance d from the middle line it attenuates by (1 - d^2 / radius^2) to the
    exponent: nearly 0 is flat, 1/2 is a cylinder. An attenuation of 0 is no rod, a negative one takes tissue
    away.

    Attributes:
        soft: [B, S, 10], rods that are added to soft tissue.
        hard: [B, H, 10], rods that are added to bone.
        metal: [B, 12, 10], rods of implants.
        metal_masked: [B], whether the pixels of opaque metal do not count.
    """

    soft: Tensor
    hard: Tensor
    metal: Tensor
    metal_masked: Tensor

    def applied(self, index: int) -> list[str]:
        """Names of what lies in the beam of one image, for people to read."""
        said = []
        metal = self.metal[index, :, -1].count_nonzero()
        if metal:
            masked = ", masked" if self.metal_masked[index] else ""
            said.append(f"implant of {_counted(metal, 'part')}{masked}")
        shadows = (self.hard[index, :, -1] != 0).sum() + (self.soft[index, :, -1] > 0).sum()
        if shadows:
            said.append(_counted(shadows, "shadow"))
        gas = (self.soft[index, :, -1] < 0).sum()
        if gas:
            said.append(f"gas x {int(gas)}")
        return said


def _counted(number: Tensor, what: str) -> str:
    return f"{int(number)} {what}" if number == 1 else f"{int(number)} {what}s"


def draw_objects(config: ObjectsConfig, generator: torch.Generator, batch: int) -> ObjectParameters:
    """Parameters for that many images, on the CPU."""
    draw = _Draw(generator, batch)
    arm, arm_bone = _arm(config, draw)
    body, body_bones = _surroundings(config, draw)
    soft = [_table(config, draw), arm, body, _gas(config, draw)]
    hard = [arm_bone, body_bones, _leads(config, draw), _vessels(config, draw)]
    return ObjectParameters(
        soft=torch.cat(soft, dim=1),
        hard=torch.cat(hard, dim=1),
        metal=_metal(config, draw),
        metal_masked=torch.rand(batch, generator=generator) < config.metal_masked,
    )


def add_objects(materials: Tensor, parameters: ObjectParameters) -> tuple[Tensor, Tensor]:
    """Line integrals of tissue and all that lies in the beam besides.

    Args:
        materials: [B, 2, H, W], line integrals of soft tissue and bone.
        parameters: of B images.

    Returns:
        (line integrals [B, 2, H, W], shown [B, H, W]): shown is 0 where metal is masked, else 1.
    """
    height, width = materials.shape[2:]
    metal = rod_attenuation(parameters.metal, height, width)
    soft, hard = (rod_attenuation(each, height, width) for each in (parameters.soft, parameters.hard))
    added = torch.stack([(materials[:, 0] + soft).clamp(min=0), materials[:, 1] + hard + metal], dim=1)
    hidden = parameters.metal_masked[:, None, None] & (metal > _OPAQUE)
    return added, (~hidden).to(materials.dtype)


def rod_attenuation(rods: Tensor, height: int, width: int) -> Tensor:
    """Line integrals [B, H, W] of rods [B, N, 10]; see `ObjectParameters`."""
    attenuation = rods.new_zeros(len(rods), height, width)
    image, number = (rods[..., -1] != 0).nonzero(as_tuple=True)
    if not len(image):
        return attenuation
    x, y = places(height, width, rods)
    column, row, direction, length, radius, end, wave, waves, power, peak = rods[image, number][
        ..., None, None
    ].unbind(1)
    right, down = x - column, y - row
    along = right * direction.cos() + down * direction.sin()
    across = down * direction.cos() - right * direction.sin()
    share = (along / length.clamp(min=1e-6)).clamp(0, 1)
    beyond = along - share * length
    across = across - wave * torch.sin(2 * math.pi * waves * share)
    radius = (radius + (end - radius) * share).clamp(min=1e-6)
    depth = 1 - (beyond.square() + across.square()) / radius.square()
    return attenuation.index_add_(0, image, peak * depth.clamp(min=0) ** power)


class _Draw:
    """Draws for a batch: how many, and with which generator."""

    def __init__(self, generator: torch.Generator, batch: int) -> None:
        self.generator = generator
        self.batch = batch

    def between(self, low: float, high: float, count: int = 1) -> Tensor:
        """Uniform [B, count]."""
        return uniform((low, high), self.batch, count, generator=self.generator)

    def within(self, bounds: Range, count: int = 1) -> Tensor:
        """Uniform within bounds [B, count]."""
        return self.between(*bounds, count)

    def some(self, most: int) -> Tensor:
        """Which [B, most] of so many there are: at least one, the first ones."""
        count = torch.randint(1, most + 1, (self.batch, 1), generator=self.generator)
        return (torch.arange(most) < count).float()

    def present(self, probability: float, rods: Tensor) -> Tensor:
        """The rods [B, N, 10] of a share of the images, those of the others made none."""
        peak = sometimes(probability, rods[..., -1], 0.0, generator=self.generator)
        return torch.cat([rods[..., :-1], peak[..., None]], dim=-1)


def _rods(*numbers: Tensor | float) -> Tensor:
    """Rods [B, N, 10] of the ten numbers, each [B, N], [B, 1] or the same for all."""
    assert len(numbers) == _NUMBERS
    return torch.stack(torch.broadcast_tensors(*map(torch.as_tensor, numbers)), dim=-1).float()


def _table(config: ObjectsConfig, draw: _Draw) -> Tensor:
    # One or two of its edges are in the image; it goes on beyond it along them.
    direction = math.pi / 2 * draw.between(0, 4).floor() + draw.between(-0.1, 0.1)
    aside, half = draw.between(-0.7, 0.7), draw.between(0.2, 0.8)
    x, y = -direction.cos() - aside * direction.sin(), -direction.sin() + aside * direction.cos()
    rods = _rods(x, y, direction, 2.0, half, half, 0.0, 0.0, _FLAT, draw.within(config.table_attenuation))
    return draw.present(config.table_probability, rods)


def _arm(config: ObjectsConfig, draw: _Draw) -> tuple[Tensor, Tensor]:
    x, y, direction = draw.between(-0.6, 0.6), draw.between(-0.6, 0.6), draw.between(-math.pi, math.pi)
    length, radius = draw.between(0.4, 1.2), draw.between(0.06, 0.16)
    share = draw.between(0.2, 0.4)
    soft, bone = (draw.within(config.arm_attenuation) for _ in range(2))
    arms = torch.cat(
        [
            _rods(x, y, direction, length, width, width, 0.0, 0.0, _ROUND, peak)
            for width, peak in ((radius, soft), (share * radius, bone))
        ],
        dim=1,
    )
    return draw.present(config.arm_probability, arms).split(1, dim=1)


def _surroundings(config: ObjectsConfig, draw: _Draw) -> tuple[Tensor, Tensor]:
    """More of the body along the image's rim, and two bones in it."""
    towards = draw.between(-math.pi, math.pi)
    half = draw.between(0.15, 0.4)
    distance = 0.5 + half * draw.between(-0.3, 0.9)

    def beginning(aside: Tensor) -> tuple[Tensor, Tensor]:
        x = distance * towards.cos() - aside * towards.sin()
        return x, distance * towards.sin() + aside * towards.cos()

    along = towards + math.pi / 2
    peak = draw.within(config.surroundings_attenuation)
    body = _rods(*beginning(torch.tensor(-1.0)), along, 2.0, half, half, 0.0, 0.0, _ROUND, peak)
    x, y = beginning(draw.between(-0.6, 0.6, 2))
    turned = along + draw.between(-1.5, 1.5, 2)
    width, strength = draw.between(0.02, 0.06, 2), draw.between(0.2, 0.6, 2)
    bones = _rods(x, y, turned, draw.between(0.1, 0.5, 2), width, width, 0.0, 0.0, _ROUND, strength * peak)
    both = draw.present(config.surroundings_probability, torch.cat([body, bones], dim=1))
    return both[:, :1], both[:, 1:]


def _leads(config: ObjectsConfig, draw: _Draw) -> Tensor:
    most = config.leads
    radius = draw.between(0.002, 0.006, most)
    rods = _wavy(draw, most, (0.3, 1.3), radius, draw.within(config.leads_attenuation, most))
    return draw.present(config.leads_probability, rods)


def _vessels(config: ObjectsConfig, draw: _Draw) -> Tensor:
    most = config.vessels
    radius = draw.between(0.006, 0.025, most)
    rods = _wavy(draw, most, (0.2, 1.2), radius, draw.within(config.vessels_attenuation, most))
    return draw.present(config.vessels_probability, rods)


def _gas(config: ObjectsConfig, draw: _Draw) -> Tensor:
    most = config.gas
    radius = draw.between(0.02, 0.07, most)
    peak = -draw.within(config.gas_attenuation, most)
    return draw.present(config.gas_probability, _wavy(draw, most, (0.0, 0.5), radius, peak, _SMOOTH))


def _wavy(
    draw: _Draw, most: int, length: Range, radius: Tensor, peak: Tensor, power: float = _ROUND
) -> Tensor:
    """One to so many rods [B, most, 10] anywhere."""
    return _rods(
        draw.between(-0.6, 0.6, most),
        draw.between(-0.6, 0.6, most),
        draw.between(-math.pi, math.pi, most),
        draw.within(length, most),
        radius,
        radius * draw.between(0.4, 1.0, most),
        draw.between(-0.08, 0.08, most),
        draw.between(0.3, 2.0, most),
        power,
        peak * draw.some(most),
    )


def _metal(config: ObjectsConfig, draw: _Draw) -> Tensor:
    peak = draw.within(config.metal_attenuation)
    kinds = torch.stack(
        [each(config, draw, peak) for each in (_prosthesis, _plate, _pair_of_rods, _screws)], dim=1
    )
    kind = torch.randint(kinds.shape[1], (draw.batch,), generator=draw.generator)
    return draw.present(config.metal_probability, kinds[torch.arange(draw.batch), kind])


def _prosthesis(config: ObjectsConfig, draw: _Draw, peak: Tensor) -> Tensor:
    x, y, direction = draw.between(-0.35, 0.35), draw.between(-0.35, 0.35), draw.between(-math.pi, math.pi)
    radius, length = draw.within(config.head_radius), draw.within(config.stem_length)
    head = _rods(x, y, direction, 0.0, radius, radius, 0.0, 0.0, _ROUND, peak)
    # A neck leads from the head to the stem, which bends away from it and tapers.
    bend = direction + draw.between(0.2, 0.8)
    neck = _rods(x, y, direction, 1.5 * radius, 0.4 * radius, 0.5 * radius, 0.0, 0.0, _FLAT, peak)
    x, y = x + 1.5 * radius * direction.cos(), y + 1.5 * radius * direction.sin()
    stem = _rods(x, y, bend, length, 0.5 * radius, 0.15 * radius, 0.0, 0.0, _FLAT, peak)
    return _filled(torch.cat([head, neck, stem], dim=1))


def _plate(config: ObjectsConfig, draw: _Draw, peak: Tensor) -> Tensor:
    x, y, direction = draw.between(-0.4, 0.4), draw.between(-0.4, 0.4), draw.between(-math.pi, math.pi)
    length, radius = draw.within(config.plate_length), draw.within(config.screw_radius)
    plate = _rods(x, y, direction, length, 3 * radius, 3 * radius, 0.0, 0.0, _FLAT, 0.7 * peak)
    count = _METAL_PARTS - 1
    place = length * torch.linspace(0.03, 0.97, count)
    screws = _rods(
        x + place * direction.cos(),
        y + place * direction.sin(),
        direction + math.pi / 2 + draw.between(-0.3, 0.3, count),
        draw.within(config.screw_length, count),
        radius,
        radius,
        0.0,
        0.0,
        _ROUND,
        # About every other hole is empty.
        peak * (draw.between(0, 1, count) < 0.5),
    )
    return torch.cat([plate, screws], dim=1)


def _pair_of_rods(config: ObjectsConfig, draw: _Draw, peak: Tensor) -> Tensor:
    x, y, direction = draw.between(-0.4, 0.4), draw.between(-0.4, 0.4), draw.between(-math.pi, math.pi)
    length, radius = draw.within(config.plate_length), draw.within(config.screw_radius)
    apart, pairs = draw.between(0.06, 0.2), _METAL_PARTS // 2 - 1
    wave = draw.between(-0.03, 0.03)
    parts = []
    for side in (-0.5, 0.5):
        start = x - side * apart * direction.sin(), y + side * apart * direction.cos()
        parts.append(_rods(*start, direction, length, 2 * radius, 2 * radius, wave, 0.5, _ROUND, peak))
        place = length * torch.linspace(0.05, 0.95, pairs)
        parts.append(
            _rods(
                start[0] + place * direction.cos(),
                start[1] + place * direction.sin(),
                direction - math.copysign(math.pi / 2, side) + draw.between(-0.3, 0.3, pairs),
                draw.within(config.screw_length, pairs),
                radius,
                radius,
                0.0,
                0.0,
                _ROUND,
                peak,
            )
        )
    return torch.cat(parts, dim=1)


def _screws(config: ObjectsConfig, draw: _Draw, peak: Tensor) -> Tensor:
    count = _METAL_PARTS
    radius = draw.within(config.screw_radius, count)
    return _rods(
        draw.between(-0.45, 0.45, count),
        draw.between(-0.45, 0.45, count),
        draw.between(-math.pi, math.pi, count),
        draw.within(config.screw_length, count),
        radius,
        radius,
        0.0,
        0.0,
        _ROUND,
        peak * draw.some(count),
    )


def _filled(rods: Tensor) -> Tensor:
    """Rods [B, 12, 10] of which the last ones are none."""
    return torch.cat([rods, rods.new_zeros(len(rods), _METAL_PARTS - rods.shape[1], _NUMBERS)], dim=1)
