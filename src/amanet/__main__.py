"""``python -m amanet`` is ``amanet``, with the Python that it names."""

import sys

from amanet.cli import main

code = main()
# After `-m` Python kills itself if a KeyboardInterrupt has once left text that was executed, as when a dataclass is made, though it was
# caught. Other text makes it forget.
exec("")
sys.exit(code)
