"""Runs one command and sees to it that nothing of it survives; a program of its own, with the standard library.

It stands between the worker and the function for two reasons. Limits and process groups must be set after the
fork, and Python code between fork and exec (`preexec_fn`) can deadlock in a worker that has gRPC's threads: here
they are set in a fresh process with one thread, and inherited. And when the worker is killed with -9, something
must be left to end the function: this program has a socket to the worker, and its end is the
order to end everything, given by the worker or by the worker's death.

It also keeps the function within its lease, whatever becomes of the worker's other processes: as soon as the lease is
over, another node may run the task, and the function is paused until the lease is renewed. One that is to end then is
killed at once, since it may not run on to hear of it.

What the command says comes through a pipe to the log, our standard error: to its limit, the rest is counted.

Each is forked from a server that has imported what it needs, and ends with its command, or takes the next one after it
(see `forkserver`).
"""
