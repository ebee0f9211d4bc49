"""A provider that counts its requests. Arguments: the file of the counts, the nodes' addresses separated by commas, and
those of ``layer2.provider.process``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from layer2.provider import process
from whole_swaps.counting import RequestCounts

if __name__ == "__main__":
    file, addresses = sys.argv.pop(1), sys.argv.pop(1)
    RequestCounts(Path(file), addresses.split(",")).install()
    process.main()
