"""`python -m benchmarks`: the command, whose end is told from the first moment on."""

import sys

try:
    from benchmarks.command import main
except KeyboardInterrupt:
    print("interrupted before anything was measured", file=sys.stderr)
    sys.exit(130)

main()
