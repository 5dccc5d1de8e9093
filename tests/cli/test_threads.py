"""How the threads of the command wait for each other, seen from the process that it starts."""

import os
import subprocess
import sys

import pytest

# The import of torch is what ends the process, and says what torch would have read.
SCRIPT = """
import os, sys
from napari_dip_fusion import cli

class End:
    def find_spec(name, *_):
        if name == "torch":
            sys.exit(f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY')}")

sys.meta_path.insert(0, End)
cli.main(["info"])
"""


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")]
)
def test_threads_wait_without_spinning_unless_the_user_says_so(given, expected) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr.strip()) == (1, f"OMP_WAIT_POLICY={expected}")
