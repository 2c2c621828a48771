"""HW_CONSTRAINTS: on which hardware the model must run, and how much memory it may take."""

import json
import signal
import threading
import time

from sustainml_py.nodes.HardwareConstraintsNode import HardwareConstraintsNode


def task(user_input, node_status, hw_constraints):
    """Do a task: fill in its last argument."""
    extra = json.loads(bytes(user_input.extra_data()) or b"{}")
    hw_constraints.hardware_required([extra.get("hardware_required") or "this machine"])
    hw_constraints.max_memory_footprint(int(extra.get("max_memory_footprint") or 100))
    # Whoever measures may need the access token of a model hub.
    hw_constraints.extra_data(json.dumps({"hf_token": extra.get("hf_token")}).encode())


def configuration(req, res):
    """Answer a question to this module."""
    res.configuration(json.dumps({"error": f"Unsupported {req.configuration()}"}))
    res.success(False)


running = False


def on_sigint(number, frame):
    """End the node, and the main loop."""
    HardwareConstraintsNode.terminate()
    global running
    running = False


def run():
    """Make the node, and do tasks until it is ended."""
    node = HardwareConstraintsNode(callback=task, service_callback=configuration)
    global running
    running = True
    node.spin()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, on_sigint)
    runner = threading.Thread(target=run)
    runner.start()
    while running:
        time.sleep(1)
    runner.join()
