"""Starts the launcher (see `launcher`): `launch.py OPTIONS COMMAND…`, with `Options` as JSON.

The end of standard input is the order to end, with TERM first; before it, bytes may be told (see `launcher.options`).
Exits with the command's code, 128 + n after signal n, 127 if it cannot be started.
"""

import sys

if __name__ == "__main__":
    # By Python's options -IS nothing but the standard library is found: no folder where we happen to run, and no
    # package that another installed. Our own modules come after it. They are kept compiled, which this file is not.
    sys.path.append(__file__.rpartition("/workers/")[0])
    from workers.executors.launcher.main import main

    sys.exit(main(sys.argv[1:]))
