"""ML_MODEL: picks the estimator of scikit-learn that does best on the data, and fits it."""

import json
import pickle
import signal
import threading
import time
import warnings

from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sustainml_py.nodes.MLModelNode import MLModelNode

FOLDS = 3
MODELS = {
    "classification": [
        LogisticRegression(max_iter=200),
        DecisionTreeClassifier(random_state=0),
        GaussianNB(),
        KNeighborsClassifier(),
        RandomForestClassifier(50, random_state=0),
    ],
    "regression": [
        Ridge(),
        DecisionTreeRegressor(max_depth=4, random_state=0),
        KNeighborsRegressor(),
        RandomForestRegressor(50, random_state=0),
    ],
}
DATA = ("wine", "breast_cancer", "digits", "diabetes")
EXPLAINABLE = ("LogisticRegression", "DecisionTreeClassifier", "GaussianNB", "Ridge", "DecisionTreeRegressor")


def name_of(estimator):
    """Return what an estimator is called."""
    return type(estimator).__name__


def candidates(goal, requirements, restrained):
    """Return the estimators that may be chosen."""
    left = [each for each in MODELS.get(goal, []) if name_of(each) not in restrained]
    if "explainable" in requirements:
        left = [each for each in left if name_of(each) in EXPLAINABLE] or left
    return left


def task(metadata, app_requirements, hw_constraints, base_model, base_hardware, base_carbon, node_status, ml_model):
    """Do a task: fill in its last argument."""
    extra = json.loads(bytes(metadata.extra_data()) or b"{}")
    if metadata.ml_model_metadata().empty():
        failed(ml_model, extra.get("error") or "nobody knows the goal")
        return
    goal, data = metadata.ml_model_metadata()[0], metadata.ml_model_metadata()[-1]
    restrained = extra.get("model_restrains") or []
    left = candidates(goal, list(app_requirements.app_requirements()), restrained)
    if extra.get("model_selected"):
        left = [each for each in MODELS.get(goal, []) if name_of(each) == extra["model_selected"]]
    if not left:
        failed(ml_model, f"no model for {goal} is left beside {', '.join(restrained)}")
        return
    if data not in DATA:
        failed(ml_model, f"nobody knows the data {data}; this module has {', '.join(DATA)}")
        return
    table = getattr(datasets, f"load_{data}")()
    scores = {}
    for each in left:
        if node_status.cancelled():
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores[name_of(each)] = cross_val_score(
                make_pipeline(StandardScaler(), each), table.data, table.target, cv=FOLDS
            ).mean()
    best = max(left, key=lambda each: scores[name_of(each)])
    fitted = make_pipeline(StandardScaler(), best).fit(table.data, table.target)
    ml_model.model(name_of(best))
    ml_model.model_path(f"scikit-learn/{type(best).__module__}.{name_of(best)}")
    ml_model.raw_model(pickle.dumps(fitted))
    measure = "accuracy" if goal == "classification" else "R2"
    properties = {"data": data, "samples": len(table.data), "folds": FOLDS, measure: round(scores[name_of(best)], 4)}
    ml_model.model_properties(json.dumps(properties))
    ml_model.input_batch([f"1 x {table.data.shape[1]}"])
    ml_model.extra_data(json.dumps({"scores": {name: round(score, 4) for name, score in scores.items()}}).encode())
    before = f", after {base_model.model()}" if base_model.model() else ""
    print(f"{metadata.task_id()}: {name_of(best)} with {measure} {scores[name_of(best)]:.3f}{before}")


def failed(ml_model, words):
    """Say that there is no model, as front ends know it."""
    ml_model.model("NO_MODEL")
    ml_model.extra_data(json.dumps({"error": words, "error_code": "NO_MODEL"}).encode())


def configuration(req, res):
    """Answer a question to this module."""
    word, _, rest = (part.strip() for part in req.configuration().partition(","))
    if word == "goal":
        res.configuration(json.dumps({"goals": ", ".join(MODELS)}))
    elif word == "model_from_goal" and (goal := rest.partition(",")[0].strip()) in MODELS:
        res.configuration(json.dumps({"models": ", ".join(map(name_of, MODELS[goal]))}))
    else:
        res.configuration(json.dumps({"error": f"Unsupported {req.configuration()}"}))
        res.success(False)


running = False


def on_sigint(number, frame):
    """End the node, and the main loop."""
    MLModelNode.terminate()
    global running
    running = False


def run():
    """Make the node, and do tasks until it is ended."""
    node = MLModelNode(callback=task, service_callback=configuration)
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
