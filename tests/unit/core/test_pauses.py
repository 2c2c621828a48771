from orchestrator.core.pauses import Pauses


def test_pauses_double_up_to_half_a_minute():
    pauses = Pauses()
    assert [pauses.after(1.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_pauses_begin_again_after_a_calm_minute():
    pauses = Pauses()
    assert [pauses.after(seconds) for seconds in (1.0, 1.0, 59.0, 60.0, 1.0)] == [0.5, 1, 2, 0.5, 1]
