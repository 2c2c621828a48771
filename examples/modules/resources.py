"""HW_RESOURCES: what the model takes on this machine, measured."""

import json
import os
import pickle
import platform
import signal
import statistics
import threading
import time

import numpy as np
import psutil
from sklearn import datasets
from sustainml_py.nodes.HardwareResourcesNode import HardwareResourcesNode

SECONDS = float(os.environ.get("MEASURE_SECONDS", "0.3"))
# Nothing here measures power: what a core of a server takes when it is busy, roughly.
WATTS = 10.0
METHOD = f"latency and memory measured; power estimated as {WATTS:g} W for one busy core"


def task(ml_model, app_requirements, hw_constraints, node_status, hw):
    """Do a task: fill in its last argument."""
    if ml_model.raw_model().empty():
        hw.hw_description("Error")
        hw.extra_data(json.dumps({"error": f"there is no model to measure: {ml_model.model()}"}).encode())
        return
    # Made by the module beside, of the same deployment: pickles of strangers are not read.
    model = pickle.loads(bytes(ml_model.raw_model()))  # noqa: S301
    properties = json.loads(ml_model.model_properties())
    sample = getattr(datasets, f"load_{properties['data']}")().data[:1]
    times = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not node_status.cancelled():
        began = time.perf_counter()
        model.predict(np.asarray(sample))
        times.append(time.perf_counter() - began)
    hw.hw_description(f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total >> 30} GiB")
    hw.latency(statistics.median(times) * 1000)
    hw.power_consumption(WATTS)
    hw.memory_footprint_of_ml_model(ml_model.raw_model().size() / 1e6)
    hw.max_hw_memory_footprint(psutil.Process().memory_info().rss / 1e6)
    hw.extra_data(json.dumps({"method": METHOD, "predictions": len(times)}).encode())
    print(f"{ml_model.task_id()}: {hw.latency():.2f} ms for a prediction")


def configuration(req, res):
    """Answer a question to this module."""
    if req.configuration() == "hardwares":
        res.configuration(json.dumps({"hardwares": "this machine"}))
        res.success(True)
    else:
        res.configuration(json.dumps({"error": f"Unsupported {req.configuration()}"}))
        res.success(False)


running = False


def on_sigint(number, frame):
    """End the node, and the main loop."""
    HardwareResourcesNode.terminate()
    global running
    running = False


def run():
    """Make the node, and do tasks until it is ended."""
    node = HardwareResourcesNode(callback=task, service_callback=configuration)
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
