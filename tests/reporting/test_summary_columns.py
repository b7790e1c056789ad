from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

from mas_ray.evaluation.left_right import HANDLINGS
from mas_ray.evaluation.summary import Summary
from mas_ray.reporting.summary_columns import HANDLING_NAMES, SUMMARY_COLUMNS


def test_every_figure_and_every_handling_has_its_heading():
    assert list(SUMMARY_COLUMNS) == [field.name for field in fields(Summary)]
    assert list(HANDLING_NAMES) == list(HANDLINGS)


def test_a_verb_that_only_explains_itself_loads_no_torch():
    code = "import mas_ray.cli.learn, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
