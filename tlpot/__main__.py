"""``python -m tlpot``."""

import sys

from tlpot.cli.main import main

sys.exit(main())
