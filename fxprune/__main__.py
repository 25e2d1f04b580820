"""`python -m fxprune`: the command line, from the arguments of the process."""

from __future__ import annotations

from fxprune.cli import main

if __name__ == "__main__":
    main()
