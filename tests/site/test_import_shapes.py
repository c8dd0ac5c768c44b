"""Files in the shapes of real exports come in right, or are refused with the option that helps."""

import export_clocks  # noqa: F401  # they add cases
import export_meters  # noqa: F401
import export_portals  # noqa: F401
import export_tables  # noqa: F401
import pandas as pd
import pytest
from export_shapes import CASES, Case, imported

import sources


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_shape_is_read_right_or_refused(tmp_path, capsys, case: Case):
    (tmp_path / "config.ini").write_text("")
    out = tmp_path / "out"
    argv = ["--config", tmp_path / "config.ini", "import", case.write(tmp_path), *case.arguments]
    code = sources.main([str(word) for word in [*argv, "--output", out]])
    streams = capsys.readouterr()
    if case.expected is None:
        assert code in (1, 2) and case.refusal in streams.err, streams
        assert len(streams.err.strip().splitlines()) == 1 and not out.exists()
        return
    assert code == 0, streams.err
    found = imported(out)
    for name, values in case.expected.items():
        pd.testing.assert_index_equal(
            found[name].index, values.index, check_names=False, exact=False
        )
        assert found[name].to_numpy() == pytest.approx(values.to_numpy(), rel=5e-4, abs=2e-3)
