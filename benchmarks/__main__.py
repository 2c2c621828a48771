"""`python -m benchmarks`: the command, whose end is told from the first moment on."""

import sys

try:
    from orchestrator.embedded.interruption import ENDING, exit_on

    exit_on(*ENDING)

    from benchmarks.command import main
except (KeyboardInterrupt, SystemExit):
    print("interrupted before anything was measured", file=sys.stderr)
    sys.exit(130)

main()
