"""``python -m amanet`` is ``amanet``, with the Python that it names."""

import sys

from amanet.cli import main

sys.exit(main())
