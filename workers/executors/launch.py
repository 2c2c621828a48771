"""Starts the server that forks launchers (see `launcher`), on the socket that is its standard input."""

import sys

if __name__ == "__main__":
    # By Python's options -IS nothing but the standard library is found: no folder where we happen to run, and no
    # package that another installed. Our own modules come after it. They are kept compiled, which this file is not.
    sys.path.append(__file__.rpartition("/workers/")[0])
    from workers.executors.launcher.forkserver import serve

    serve(0)
