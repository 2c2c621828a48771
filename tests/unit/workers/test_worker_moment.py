"""Moments that another process asks about."""

import time
from dataclasses import replace

from workers.executors.lease import clock
from workers.executors.moment import Moment


def test_here_the_clock_of_leases_counts_whatever_people_set() -> None:
    moment = replace(Moment.now(), clock=clock() - 10, wall=time.time() + 3600)
    assert moment.is_here
    assert 10 <= moment.ago < 20


def test_of_another_machine_only_the_wall_clock_says_anything() -> None:
    moment = replace(Moment.now(), boot="another", clock=clock() + 10**6, wall=time.time() - 10)
    assert not moment.is_here
    assert 10 <= moment.ago < 20


def test_what_seems_to_be_to_come_is_now() -> None:
    assert replace(Moment.now(), boot="", wall=time.time() + 3600).ago == 0.0
