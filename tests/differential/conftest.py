"""Where these tests find the cases of `tests/http`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "http"))
