"""APP_REQUIREMENTS: what the user's words ask of the application."""

import json
import signal
import threading
import time

from sustainml_py.nodes.AppRequirementsNode import AppRequirementsNode

RULES = {
    "explainable": ("explain", "why", "doctor", "patient"),
    "answers at once": ("real time", "at once", "interactive"),
    "small": ("small", "phone", "sensor", "battery", "edge"),
}


def task(user_input, node_status, app_requirements):
    """Do a task: fill in its last argument."""
    text = f"{user_input.problem_short_description()} {user_input.problem_definition()}".lower()
    requirements = app_requirements.app_requirements()
    requirements.append(f"takes {', '.join(user_input.inputs()) or user_input.modality() or 'anything'}")
    for requirement, words in RULES.items():
        if any(word in text for word in words):
            requirements.append(requirement)


def configuration(req, res):
    """Answer a question to this module."""
    res.configuration(json.dumps({"error": f"Unsupported {req.configuration()}"}))
    res.success(False)


running = False


def on_sigint(number, frame):
    """End the node, and the main loop."""
    AppRequirementsNode.terminate()
    global running
    running = False


def run():
    """Make the node, and do tasks until it is ended."""
    node = AppRequirementsNode(callback=task, service_callback=configuration)
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
