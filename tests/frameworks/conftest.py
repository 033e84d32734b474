"""Where the tests of frameworks find what they share with those of servers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "wire"))
