"""When the demo is a success, and what it says when it is not."""

from rich.console import Console

from orchestrator.cli.report import Comparison, Facts, fact_table, faults, score_table

ALL_DONE = {"Waiting": 0, "Doing": 0, "Done": 23, "Failed": 0}


def scores(*accuracies: float) -> dict[str, dict[str, float]]:
    return {f"hospital-{n}": {"accuracy": accuracy, "auc": 0.99} for n, accuracy in enumerate(accuracies, 1)}


def comparison(federated: dict[str, dict[str, float]], pooled: dict[str, dict[str, float]]) -> Comparison:
    return Comparison(federated, alone=scores(0.9, 0.9), pooled=pooled)


def text_of(renderable: object) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_all_done_and_as_good_as_pooled_is_a_success():
    assert faults(ALL_DONE, comparison(scores(0.95, 0.97), scores(0.96, 0.97))) == []


def test_the_mean_counts_and_not_each_hospital():
    assert faults(ALL_DONE, comparison(scores(0.90, 0.98), scores(0.94, 0.94))) == []


def test_a_task_that_is_not_done_is_a_fault():
    (fault,) = faults({"Done": 22, "Failed": 1}, comparison(scores(0.95, 0.95), scores(0.95, 0.95)))
    assert fault == "1 of the tasks are Failed, not Done"


def test_an_accuracy_too_low_is_a_fault():
    (fault,) = faults(ALL_DONE, comparison(scores(0.92, 0.92), scores(0.93, 0.93)))
    assert "0.9200, less than 0.93" in fault


def test_an_accuracy_too_far_from_the_pooled_one_is_a_fault_on_either_side():
    for federated, pooled in ((0.95, 0.99), (0.99, 0.95)):
        (fault,) = faults(ALL_DONE, comparison(scores(federated, federated), scores(pooled, pooled)))
        assert "not within 0.02" in fault


def test_a_hospital_without_scores_is_a_fault():
    (fault,) = faults(ALL_DONE, comparison(scores(0.95), scores(0.95, 0.95)))
    assert fault == "the shared model was not tested at hospital-2"


def test_the_score_table_has_every_hospital_and_the_means():
    shown = text_of(score_table(comparison(scores(0.9, 1.0), scores(0.95, 0.95))))
    assert [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│")] == [
        "hospital-1",
        "hospital-2",
        "mean",
    ]
    (means,) = (line for line in shown.splitlines() if "mean" in line)
    assert [cell.strip() for cell in means.split("│")[2:5]] == ["0.9500", "0.9000", "0.9500"]


def test_the_score_table_leaves_open_what_was_not_measured():
    shown = text_of(score_table(comparison({}, scores(0.95, 0.95))))
    assert "mean" not in shown
    (row,) = (line for line in shown.splitlines() if "hospital-1" in line)
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["-", "0.9000", "0.9500"]


def test_the_facts_say_where_flower_is_and_whether_it_stays():
    facts = Facts(tasks=ALL_DONE, attempts=24, messages=26, events=262, seconds=3.04)
    stays, gone = (text_of(fact_table(facts, "http://127.0.0.1:1", stays=stays)) for stays in (True, False))
    assert "23 Done in 3.0 s" in stays
    assert "0 Failed" not in stays
    assert all(number in stays for number in ("24", "26", "262"))
    assert "ends now" not in stays
    assert "ends now" in gone
