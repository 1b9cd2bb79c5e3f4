"""``python -m tlpot.cli``, for launchers such as ``torchrun -m``."""

import sys

from tlpot.cli.main import main

sys.exit(main())
