"""`python -m grid` is `decoygrid`."""

from grid.cli import main

main()
