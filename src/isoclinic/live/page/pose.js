// Rigid motions as rows of numbers [4][4], as docs/conventions.md has them: world in RAS mm, camera axes to the
// right, down and away from the source.

export const identity = () => [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]];

export function times(a, b) {
  return a.map((row) => [0, 1, 2, 3].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j] + row[3] * b[3][j]));
}

export function inverse(pose) {
  const out = identity();
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) out[i][j] = pose[j][i];
    out[i][3] = -(pose[0][i] * pose[0][3] + pose[1][i] * pose[1][3] + pose[2][i] * pose[2][3]);
  }
  return out;
}

export function moved(pose, point) {
  return [0, 1, 2].map((i) => pose[i][0] * point[0] + pose[i][1] * point[1] + pose[i][2] * point[2] + pose[i][3]);
}

// The rotation by a rotation vector [rad] (Rodrigues).
export function rotation([x, y, z]) {
  const angle = Math.hypot(x, y, z), out = identity();
  if (!angle) return out;
  const [a, b, c] = [x / angle, y / angle, z / angle], s = Math.sin(angle), t = 1 - Math.cos(angle);
  const k = [[0, -c, b], [c, 0, -a], [-b, a, 0]];
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) {
      const square = k[i][0] * k[0][j] + k[i][1] * k[1][j] + k[i][2] * k[2][j];
      out[i][j] += s * k[i][j] + t * square;
    }
  }
  return out;
}

// The rotation vector [rad] of a rotation, by its quaternion, which is exact for all angles.
export function rotationVector(r) {
  const trace = r[0][0] + r[1][1] + r[2][2];
  const q = [
    1 + trace, 1 + r[0][0] - r[1][1] - r[2][2], 1 - r[0][0] + r[1][1] - r[2][2], 1 - r[0][0] - r[1][1] + r[2][2],
  ];
  const most = q.indexOf(Math.max(...q)), s = 2 * Math.sqrt(Math.max(q[most], 0));
  const off = [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]];
  let w, v;
  if (most === 0) {
    w = s / 4;
    v = off.map((each) => each / s);
  } else {
    const i = most - 1, j = (i + 1) % 3, k = (i + 2) % 3;
    v = [0, 0, 0];
    v[i] = s / 4;
    v[j] = (r[j][i] + r[i][j]) / s;
    v[k] = (r[k][i] + r[i][k]) / s;
    w = off[i] / s;
  }
  if (w < 0) { w = -w; v = v.map((each) => -each); }
  const sine = Math.hypot(...v), angle = 2 * Math.atan2(sine, w);
  return sine < 1e-12 ? v.map((each) => 2 * each) : v.map((each) => each * angle / sine);
}

// The tangent (rotation vector [rad], translation [mm]) about the isocentre, in camera axes: "Perturbing a pose".
// One of the two is zero wherever this is used.
export function perturbed(pose, turn, shift, isocentre) {
  const centre = moved(pose, isocentre), r = rotation(turn), out = times(r, pose);
  const after = moved(out, isocentre);
  for (let i = 0; i < 3; i++) out[i][3] += centre[i] - after[i] + shift[i];
  return out;
}

// The same of the first X-ray's pose, where the axes are those of another X-ray.
export function perturbedIn(view, pose, turn, shift, isocentre) {
  const own = perturbed(times(view.view_from_first, pose), turn, shift, isocentre);
  return times(inverse(view.view_from_first), own);
}

// Where a picture shows a point of its camera; null behind the source.
export function projected(view, point) {
  return point[2] > 0 ? [view.fx * point[0] / point[2] + view.cx, view.fy * point[1] / point[2] + view.cy] : null;
}

export const poseIn = (view, pose) => times(view.view_from_first, pose);

export function affine(m, [u, v]) {
  return [m[0][0] * u + m[0][1] * v + m[0][2], m[1][0] * u + m[1][1] * v + m[1][2]];
}

export function inverseAffine(m) {
  const [[a, b, c], [d, e, f]] = m, det = a * e - b * d;
  return [[e / det, -b / det, (b * f - c * e) / det], [-d / det, a / det, (c * d - a * f) / det]];
}
