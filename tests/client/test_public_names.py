"""What ``import gradvitals`` offers, and what it does not load."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import pytest

import gradvitals


def test_all_names_every_public_name_and_no_other():
    for name in gradvitals.__all__:
        getattr(gradvitals, name)
    public = {
        name
        for name, value in vars(gradvitals).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    public -= {"TYPE_CHECKING", "annotations"}
    assert set(gradvitals.__all__) == public | {"__version__"}


def test_every_public_name_says_what_it_is():
    for name in set(gradvitals.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(gradvitals, name)), name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        gradvitals.no_such_name  # noqa: B018


@pytest.mark.parametrize("code", ["import gradvitals", "import gradvitals; gradvitals.init", "import gradvitals.cli"])
def test_torch_is_not_imported(code):
    check = f"{code}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=60).returncode == 0


def test_watching_without_torch_says_so_plainly(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    code = """if True:
        import gradvitals
        run = gradvitals.init(mode="disabled")
        try:
            run.watch(None, None)
        except gradvitals.ConfigurationError as error:
            assert "watch needs torch" in str(error), error
        else:
            raise SystemExit("no error")
    """
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
