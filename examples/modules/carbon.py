"""CARBON_FOOTPRINT: energy and carbon of a million predictions, estimated from the processor's time."""

import json
import pickle
import signal
import threading
import time

from sklearn import datasets
from sustainml_py.nodes.CarbonFootprintNode import CarbonFootprintNode

PREDICTIONS = 1_000_000
TRIED = 200
# Grams of CO2 a kWh: round numbers for an example, no source to be quoted.
INTENSITIES = {"Spain": 150, "France": 60, "Germany": 350, "Europe": 250, "": 450}
METHOD = "processor time of predictions, one by one, times the power of a busy core"


def intensity(user_input):
    """Return the grams of CO2 a kWh where the user is."""
    for place in (user_input.geo_location_region(), user_input.geo_location_continent()):
        if place in INTENSITIES:
            return float(INTENSITIES[place])
    return float(INTENSITIES[""])


def task(ml_model, user_input, hw, node_status, co2):
    """Do a task: fill in its last argument."""
    extra = json.loads(bytes(user_input.extra_data()) or b"{}")
    handed_on = {
        "num_outputs": extra.get("num_outputs", 1),
        # The next iteration is to choose another one.
        "model_restrains": [*(extra.get("model_restrains") or []), ml_model.model()],
        "grid_ci_source": "the example's table of round numbers",
    }
    if ml_model.raw_model().empty():
        co2.extra_data(json.dumps({**handed_on, "mode": "no_model", "num_outputs": 1}).encode())
        return
    # Made by a module of the same deployment: pickles of strangers are not read.
    model = pickle.loads(bytes(ml_model.raw_model()))  # noqa: S301
    sample = getattr(datasets, f"load_{json.loads(ml_model.model_properties())['data']}")().data[:1]
    began = time.thread_time()
    for _ in range(TRIED):
        model.predict(sample)
    seconds = (time.thread_time() - began) / TRIED * PREDICTIONS
    co2.energy_consumption(seconds * hw.power_consumption() / 3.6e6)
    co2.carbon_intensity(intensity(user_input))
    co2.carbon_footprint(co2.energy_consumption() * co2.carbon_intensity())
    co2.extra_data(json.dumps({**handed_on, "mode": "tracker", "method": METHOD}).encode())
    print(f"{user_input.task_id()}: {co2.carbon_footprint():.3f} g for {PREDICTIONS:,} predictions")


def configuration(req, res):
    """Answer a question to this module."""
    res.configuration(json.dumps({"error": f"Unsupported {req.configuration()}"}))
    res.success(False)


running = False


def on_sigint(number, frame):
    """End the node, and the main loop."""
    CarbonFootprintNode.terminate()
    global running
    running = False


def run():
    """Make the node, and do tasks until it is ended."""
    node = CarbonFootprintNode(callback=task, service_callback=configuration)
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
