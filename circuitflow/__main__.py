"""`python -m circuitflow`."""

from circuitflow.cli import main

main()
