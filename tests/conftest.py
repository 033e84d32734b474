"""Hypothesis profiles: `quick` by default; `thorough` and `long` with HYPOTHESIS_PROFILE=thorough or =long.

`long` is for the laws of the consumers only: so many examples for each as tests/laws/conftest.py says.
"""

import os

from hypothesis import Phase, settings

settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=5000, deadline=None)
# Without the database of examples, which would take more time than the examples.
settings.register_profile(
    "long", settings.get_profile("thorough"), database=None, phases=[Phase.explicit, Phase.generate, Phase.shrink]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
