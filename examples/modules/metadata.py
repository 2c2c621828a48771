"""ML_MODEL_METADATA: tells from a user's words what is to be done and on which data, by rules of keywords."""

import json
import re
import signal
import threading
import time

from sustainml_py.nodes.MLModelMetadataNode import MLModelMetadataNode

GOALS = {
    "classification": ("classify", "class", "which", "recognise", "recognize", "tell", "kind", "type", "diagnose"),
    "regression": ("how much", "how many", "predict the amount", "estimate", "progress", "regression"),
}
DATA = {
    "wine": ("wine", "grape", "cultivar", "vineyard"),
    "breast_cancer": ("tumour", "tumor", "cancer", "malignant", "biopsy"),
    "digits": ("digit", "handwriting", "handwritten", "number plate"),
    "diabetes": ("diabetes", "blood", "insulin"),
}


def found(words, text):
    """Return those of some words that a text has."""
    return [word for word in words if re.search(rf"\b{word}", text)]


def task(user_input, node_status, ml_model_metadata):
    """Do a task: fill in its last argument."""
    extra = json.loads(bytes(user_input.extra_data()) or b"{}")
    text = f"{user_input.problem_short_description()} {user_input.problem_definition()}".lower()
    goals = {goal: found(words, text) for goal, words in GOALS.items()}
    data = {name: found(words, text) for name, words in DATA.items()}
    # In a further iteration it is what this module said in the one before.
    goal = (extra.get("goal") or max(goals, key=lambda name: len(goals[name]))).partition(",")[0]
    chosen = max(data, key=lambda name: len(data[name]))
    if goal not in GOALS or not data[chosen]:
        ml_model_metadata.extra_data(json.dumps({"error": f"no data for {goal}: {text[:80]}"}).encode())
        return
    ml_model_metadata.keywords(sorted({*goals[goal], *data[chosen]}))
    ml_model_metadata.ml_model_metadata([goal, chosen])
    known = ("model_restrains", "model_selected", "type")
    handed_on = {name: extra.get(name) for name in known}
    handed_on["problem_short_description"] = user_input.problem_short_description()
    ml_model_metadata.extra_data(json.dumps(handed_on).encode())
    print(f"{user_input.task_id()}: {goal} on {chosen}")


def configuration(req, res):
    """Answer a question to this module."""
    if req.configuration() == "modality":
        res.configuration(json.dumps({"modalities": "tabular", "goals": ", ".join(GOALS)}))
        res.success(True)
    else:
        res.configuration(json.dumps({"error": f"Unsupported {req.configuration()}"}))
        res.success(False)


running = False


def on_sigint(number, frame):
    """End the node, and the main loop."""
    MLModelMetadataNode.terminate()
    global running
    running = False


def run():
    """Make the node, and do tasks until it is ended."""
    node = MLModelMetadataNode(callback=task, service_callback=configuration)
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
