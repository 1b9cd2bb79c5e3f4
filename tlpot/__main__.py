"""``python -m tlpot``."""

import sys

from tlpot.cli import main

sys.exit(main())
