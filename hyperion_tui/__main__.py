"""`python -m hyperion_tui` is the same program as `hyperion-tui`."""

import sys

from hyperion_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
