"""Where the voxels of a NIfTI file lie: what its header says, and how far that can be believed."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.io.anatomy import NIFTI_TO_WORLD
from napari_dip_fusion.io.nifti.fields import read_units

__all__ = ["Place", "find_place", "is_invertible"]

Matrix = NDArray[np.float64]

_AXES = ("x", "y", "z")
# Codes of spaces in nifti1.h; later ones were added by nifti2.h.
_MOST_CODE = 5
# Steps whose directions have a smaller volume than this, of 1, lie nearly in one plane.
_SMALLEST_VOLUME = 1e-4
# Fields are written with more and with fewer digits: this much of a voxel is rounding.
_ROUNDING = 0.01
# b, c and d of a quaternion are float32, of which 1 - b^2 - c^2 - d^2 is off by about this.
_QUATERNION_ROUNDING = 5e-7


@dataclass(frozen=True)
class Place:
    """Where voxels lie.

    Attributes
    ----------
    affine : ndarray of shape (4, 4)
        From (z, y, x) indices of voxels to the world of sources, in the file's unit.
    guess : str
        Why that is only a guess; empty where the file says it.
    """

    affine: Matrix
    guess: str


def find_place(path: Path, header: Any, shape: tuple[int, ...]) -> Place:
    """Return where the voxels of a file lie.

    Parameters
    ----------
    path : Path
        The file, for warnings.
    header : nibabel.Nifti1Header
        The header, with its fields as they are stored.
    shape : tuple of int
        Sizes in the order of NIfTI, x first.

    Returns
    -------
    Place
        By the sform where sform_code is set, else by the qform where qform_code is set,
        else a guess.

    Notes
    -----
    nibabel prefers the sform, always, and ITK in most cases, and so does this function: the
    sform is what programs set that align an image with another. Where both forms can be
    used and disagree by more than rounding, a warning says by how much. A form that cannot
    be inverted is passed over, as in ITK; nibabel takes it. A code above those that are
    known is taken for one, as in ITK, since the matrix beside it is there; nibabel sets
    the code to 0. A quaternion that is longer than 1 is shortened, as in ITK; nibabel
    refuses the file.

    Without any code the standard gives lengths only. ITK then puts the first voxel at 0 and
    lets x grow to the left, nibabel puts the center at 0 and lets x grow to the right,
    stored from right to left. nibabel is followed: images of one head meet center on center.
    """
    steps, oddities = _read_steps(header, shape)
    forms = {"sform": _read_sform(header, shape), "qform": _read_qform(header, steps)}
    set_forms = {name: form for name, form in forms.items() if int(header[f"{name}_code"]) > 0}
    usable = {name: form for name, form in set_forms.items() if _can_be_used(form)}
    broken = " and ".join(name for name in set_forms if name not in usable)
    if not usable:
        return _make_up_place(broken, shape, steps, oddities)
    used, affine = next(iter(usable.items()))
    if broken:
        warnings.warn(f"{path}: the {broken} cannot be inverted; the {used} is used", stacklevel=3)
    if int(header[f"{used}_code"]) > _MOST_CODE:
        code = int(header[f"{used}_code"])
        warnings.warn(f"{path}: {used}_code {code} is unknown; the {used} is used", stacklevel=3)
    if used == "sform":
        _compare(path, header, shape, usable)
    else:
        _check_quaternion(path, header)
    return Place(_to_world(affine), "; ".join(oddities) if used == "qform" else "")


def _make_up_place(
    broken: str, shape: tuple[int, ...], steps: Matrix, oddities: list[str]
) -> Place:
    """Return a place from lengths alone, and the reasons why it is only a guess."""
    unset = "neither sform_code nor qform_code is set"
    reason = f"the {broken} cannot be inverted" if broken else unset
    made_up = "it is made up from pixdim, around the center, and left and right are not known"
    centered = nib.volumeutils.shape_zoom_affine(shape[:3], steps, True)
    return Place(_to_world(centered), "; ".join([reason, made_up, *oddities]))


def _read_steps(header: Any, shape: tuple[int, ...]) -> tuple[Matrix, list[str]]:
    """Return the lengths in pixdim, and a phrase for each that had to be made up."""
    stored = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    steps = np.abs(stored)
    oddities = []
    for n in range(3):
        if not (np.isfinite(steps[n]) and steps[n] > 0):
            steps[n] = 1.0
            # The third length of a plane is 0 in many files, and says nothing.
            if shape[n] > 1:
                oddities.append(f"pixdim of {_AXES[n]} is {stored[n]:g}, 1 is taken")
        elif stored[n] < 0:
            oddities.append(f"pixdim of {_AXES[n]} is {stored[n]:g}, its sign is dropped")
    return steps, oddities


def _read_sform(header: Any, shape: tuple[int, ...]) -> Matrix:
    """Return the matrix of the sform, in which a plane has a third step."""
    affine = np.eye(4)
    affine[:3] = [header[name] for name in ("srow_x", "srow_y", "srow_z")]
    steps = affine[:3, :3]
    missing = [n for n in range(3) if not steps[:, n].any()]
    if len(missing) == 1 and shape[missing[0]] == 1 and np.isfinite(steps).all():
        n = missing[0]
        normal = np.cross(steps[:, (n + 1) % 3], steps[:, (n + 2) % 3])
        length = np.linalg.norm(normal)
        steps[:, n] = normal / length if length > 0 else 0
    return affine


def _read_qform(header: Any, steps: Matrix) -> Matrix:
    """Return the matrix of the qform (method 2 in nifti1.h)."""
    b, c, d = (float(header[f"quatern_{name}"]) for name in "bcd")
    affine = np.eye(4)
    # quat2mat() takes quaternions of any length.
    a = np.sqrt(max(1.0 - (b * b + c * c + d * d), 0.0))
    quaternions: Any = nib.quaternions  # without types
    turn = quaternions.quat2mat((a, b, c, d))
    # pixdim[0] says whether z is flipped; what is neither 1 nor -1 counts as 1.
    flip = -1.0 if float(header["pixdim"][0]) == -1 else 1.0
    affine[:3, :3] = turn @ np.diag([*steps[:2], steps[2] * flip])
    affine[:3, 3] = [header[f"qoffset_{name}"] for name in _AXES]
    return affine


def _check_quaternion(path: Path, header: Any) -> None:
    """Warn of a quaternion that turns by no angle, in the qform that is used."""
    length = np.linalg.norm([float(header[f"quatern_{name}"]) for name in "bcd"])
    if length > 1 + _ROUNDING:
        warnings.warn(
            f"{path}: the qform's quaternion is {length:.3g} long, not 1; it is shortened",
            stacklevel=4,
        )


def _can_be_used(form: Matrix) -> bool:
    return is_invertible(form[:3, :3]) and bool(np.isfinite(form).all())


def is_invertible(steps: Matrix) -> bool:
    """Tell whether the axes of an image lead in as many directions as there are axes.

    Parameters
    ----------
    steps : ndarray of shape (D, D)
        The affine without its translation.

    Returns
    -------
    bool
        False also where a number is not finite.
    """
    lengths = np.linalg.norm(steps, axis=0)
    if not (np.isfinite(steps).all() and (lengths > 0).all()):
        return False
    return bool(abs(np.linalg.det(steps / lengths)) > _SMALLEST_VOLUME)


def _compare(path: Path, header: Any, shape: tuple[int, ...], usable: dict[str, Matrix]) -> None:
    """Warn where the qform or pixdim contradicts the sform, which is used."""
    sform = usable["sform"]
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    extent = np.array(shape[:3]) - 1
    if "qform" in usable:
        corners = np.array([[*extent * corner, 1] for corner in np.ndindex(2, 2, 2)])
        apart = np.linalg.norm(((sform - usable["qform"]) @ corners.T)[:3], axis=0).max()
        angle = 2 * _estimate_rounding(header)
        if apart > _ROUNDING * lengths.min() + angle * np.linalg.norm(extent * lengths):
            unit = read_units(header).length
            warnings.warn(
                f"{path}: sform and qform put its voxels up to {apart:.3g} {unit} apart; the sform "
                "is used",
                stacklevel=4,
            )
        return
    stored = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    odd = [
        f"{lengths[n]:.4g} long along {_AXES[n]} by the sform but {stored[n]:.4g} by pixdim"
        for n in range(3)
        if shape[n] > 1 and stored[n] > 0 and abs(stored[n] / lengths[n] - 1) > _ROUNDING
    ]
    if odd:
        warnings.warn(f"{path}: the voxels are {', '.join(odd)}; the sform is used", stacklevel=4)


def _estimate_rounding(header: Any) -> float:
    """Return how much the first part of the quaternion may be off, which is not stored."""
    squares = sum(float(header[f"quatern_{name}"]) ** 2 for name in "bcd")
    first = np.sqrt(max(1.0 - squares, 0.0))
    limit = float(np.sqrt(_QUATERNION_ROUNDING))
    return min(_QUATERNION_ROUNDING / (2 * first), limit) if first > 0 else limit


def _to_world(affine: Any) -> Matrix:
    """Return an affine of NIfTI's order and world (x first) in those of sources."""
    world = np.eye(4)
    world[:3, :3] = (NIFTI_TO_WORLD @ affine[:3, :3])[:, ::-1]
    world[:3, 3] = NIFTI_TO_WORLD @ affine[:3, 3]
    return world
