"""`python -m noiseprompt`: the command line where the script is not on the path."""

from noiseprompt.cli import main

raise SystemExit(main())
