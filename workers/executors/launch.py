"""Starts what stands between a worker and what it runs, see `launcher`.

Without an argument it is the server that forks launchers, on the socket that is its standard input; with one, the guard
of the container that this tells.
"""

import sys

if __name__ == "__main__":
    # By Python's options -IS nothing but the standard library is found: no folder where we happen to run, and no
    # package that another installed. Our own modules come after it. They are kept compiled, which this file is not.
    sys.path.append(__file__.rpartition("/workers/")[0])
    if len(sys.argv) > 1:
        from workers.executors.launcher.guard import main

        main(sys.argv[1])
    else:
        from workers.executors.launcher.forkserver import serve

        serve(0)
