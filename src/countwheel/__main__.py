"""`python -m countwheel` is `countwheel`."""

from countwheel.cli.app import main

main()
