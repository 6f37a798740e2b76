"""Events found and false episodes, by hand."""

import numpy as np

from fleetmend.scoring.alarms import hindsight, judged

LABELS = np.zeros(400, int)
LABELS[100:110] = 1
LABELS[300:305] = 1


def _alarm(*rows: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    alarm = np.zeros(400, bool)
    alarm[list(rows)] = True
    return alarm


def test_an_alarm_inside_finds_an_event_and_the_delay_is_counted_from_its_start() -> None:
    told = judged(_alarm(103, 108), LABELS, rows_a_day=200.0)

    assert (told.recall, told.delays_rows, told.false_a_day) == (0.5, (3,), 0.0)


def test_false_rows_within_thirty_rows_are_one_episode_and_those_behind_an_event_count() -> None:
    told = judged(_alarm(10, 40, 71, 111), LABELS, rows_a_day=200.0)

    assert (told.found, told.false_episodes, told.false_a_day) == (0, 3, 1.5)
    assert told.false_time_share == 4 / 385


def test_hindsight_goes_down_until_one_false_episode_too_many() -> None:
    scores = np.zeros(400)
    scores[[20, 102, 200, 302]] = [5.0, 4.0, 3.0, 2.0]

    edge = hindsight(scores, LABELS, false_max=1)

    assert judged(scores > edge, LABELS, rows_a_day=400.0).found == 1
    assert judged(scores > edge, LABELS, rows_a_day=400.0).false_episodes == 1
