"""`python -m service` is the command `longtake`."""

from service.cli import main

main()
