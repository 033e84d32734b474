"""Hypothesis profiles: `quick` by default; `thorough` and `long` with HYPOTHESIS_PROFILE=thorough or =long.

`long` is for the laws of the consumers only: so many examples for each as tests/laws/conftest.py says.
And the keys that end a program, which a shell has its background jobs ignore: the tests send these signals, to
themselves and to programs that they start.
"""

import os
import signal

from hypothesis import Phase, settings

settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=5000, deadline=None)
# Without the database of examples, which would take more time than the examples.
settings.register_profile(
    "long", settings.get_profile("thorough"), database=None, phases=[Phase.explicit, Phase.generate, Phase.shrink]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

for key, meaning in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(key) is signal.SIG_IGN:
        signal.signal(key, meaning)
