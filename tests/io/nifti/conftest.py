import gzip

import nibabel as nib
import numpy as np
import pytest

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -40], [0, 0, 3, -9], [0, 0, 0, 1]])


@pytest.fixture
def make_nifti(tmp_path):
    """Return a function that writes a file field by field, as no library would."""

    def make(
        name="a.nii",
        *,
        data=None,
        kind=nib.Nifti1Header,
        order="<",
        packed=False,
        between=None,
        behind=b"",
        **fields,
    ):
        if data is None:
            data = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
        header = kind(endianness=order)
        header.set_data_dtype(data.dtype)
        header.set_data_shape(data.shape)
        header.set_qform(AFFINE, code=1)
        header.set_sform(AFFINE, code=1)
        size = kind.template_dtype.itemsize + 4
        between = bytes(4) if between is None else between
        header["vox_offset"] = size - 4 + len(between)
        header["xyzt_units"] = 10
        for field, value in fields.items():
            if isinstance(value, dict):
                for index, item in value.items():
                    header[field][index] = item
            else:
                header[field] = value
        pixels = data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")
        content = header.binaryblock + between + pixels + behind
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if packed else content)
        return path

    return make
