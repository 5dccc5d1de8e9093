import numpy as np
import pytest
import zarr

UM = "micrometer"


def describe(*, names="zyx", unit=UM, **fields):
    """Return the entry "multiscales" of one level at "0", with other fields on demand."""
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": n, "type": kinds.get(n, "space"), "unit": unit} for n in names]
    steps = [{"type": "scale", "scale": [1.0] * len(names)}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    entry = {"version": "0.4", "name": "img", "axes": axes, "datasets": datasets, **fields}
    return {key: value for key, value in entry.items() if value != "left out"}


@pytest.fixture
def make_zarr(tmp_path):
    """Return a function that writes arrays and attributes as they are given."""

    def make(arrays, scales, *, name="a.ome.zarr", zarr_format=2, options=None, **attributes):
        path = tmp_path / name
        group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
        for key, data in arrays.items():
            write_array(group, key, data, zarr_format, options or {})
        multiscales = [scales] if isinstance(scales, dict) else scales
        ome = {"multiscales": multiscales, **attributes}
        if multiscales is None:
            ome.pop("multiscales")
        group.attrs.update(ome if zarr_format == 2 else {"ome": ome})
        return path

    return make


def write_array(group, key, data, zarr_format, options):
    nested = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if zarr_format == 2 else {}
    array = group.create_array(
        key, shape=data.shape, dtype=data.dtype, **{"chunks": data.shape, **nested, **options}
    )
    array[...] = data


@pytest.fixture(name="describe")
def describe_fixture():
    return describe


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(1, 999, (4, 6, 8), np.uint16)
