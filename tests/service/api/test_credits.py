"""Credits: once for each chunk, whoever hears it how often, and what a new worker may send."""

from service.api.credits import Credits


def test_a_chunk_is_credited_once() -> None:
    credits = Credits(4)
    assert [credits.taken(0), credits.taken(0), credits.taken(3), credits.taken(2), credits.taken(4)] == [1, 0, 3, 0, 1]


def test_a_new_worker_may_send_what_is_not_under_way() -> None:
    credits = Credits(4)
    assert credits.free(0) == 4
    credits.taken(1)
    assert [credits.free(2), credits.free(5), credits.free(9)] == [4, 1, 0]


def test_a_session_that_goes_on_begins_with_all() -> None:
    credits = Credits(3, first=7)
    assert (credits.free(7), credits.taken(6), credits.taken(7)) == (3, 0, 1)
