"""``python -m infomax``."""

import sys

from infomax.command_line.main import main

sys.exit(main())
