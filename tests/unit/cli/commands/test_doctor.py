"""`vertice doctor`: what it refuses before it looks at the machine."""

from __future__ import annotations

import pytest

from cli.main import main


def test_a_root_that_does_not_exist_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--root", "/nowhere"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "vertice: doctor: --root: /nowhere: there is no such folder; see `vertice doctor --help`\n",
    )
