"""`python -m wiretask` is the command `wiretask`."""

import sys

from wiretask.command_line import main

if __name__ == "__main__":
    sys.exit(main())
