"""Members agree on whose a key is, have about as many each, and keep what they can."""

from hypothesis import given
from hypothesis import strategies as st

from notify.runtime.shares import share_of

KEYS = range(1, 4001)
names = st.text(min_size=1, max_size=30)
groups = st.sets(names, min_size=1, max_size=8).map(sorted)
some_keys = st.sets(st.integers(0, 2**63 - 1), max_size=40)


@given(some_keys, groups)
def test_every_key_is_one_member_s(keys, members):
    shares = [share_of(keys, member, members) for member in members]
    assert sum(map(len, shares)) == len(keys)
    assert frozenset().union(*shares) == keys


@given(some_keys, groups, st.randoms())
def test_the_order_of_keys_and_members_does_not_matter(keys, members, random):
    shuffled = random.sample(members, len(members))
    for member in members:
        assert share_of(sorted(keys), member, members) == share_of(keys, member, shuffled)


@given(some_keys, groups, names)
def test_who_comes_takes_from_others_and_moves_nothing_else(keys, members, newcomer):
    more = sorted({*members, newcomer})
    for member in set(members) - {newcomer}:
        before, after = share_of(keys, member, members), share_of(keys, member, more)
        assert after <= before
        assert before - after <= share_of(keys, newcomer, more)


@given(groups)
def test_members_have_about_as_many_each(members):
    fair = len(KEYS) / len(members)
    for member in members:
        # Six standard deviations of keys that are thrown at random: 27 % of 500.
        assert abs(len(share_of(KEYS, member, members)) - fair) <= 6 * fair**0.5


def test_it_is_the_same_in_every_process_and_release():
    """Members of two releases share a group while one is rolled out."""
    assert sorted(share_of(range(20), "a", ["a", "b", "c"])) == [0, 3, 4, 6, 7, 8, 10, 19]


def test_a_stranger_has_nothing():
    assert share_of([1, 2, 3], "x", ["a", "b"]) == frozenset()
    assert share_of([], "a", ["a", "b"]) == frozenset()
