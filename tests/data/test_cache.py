"""The cache's bound."""

from tlpot.data.arrays import ByteCache


def test_the_least_recently_used_goes_first():
    cache = ByteCache(100)
    loaded = []

    def get(key, n_bytes=40):
        def load():
            loaded.append(key)
            return key.upper(), n_bytes

        return cache.get(key, load)

    assert [get("a"), get("b"), get("a"), get("c")] == ["A", "B", "A", "C"]
    assert loaded == ["a", "b", "c"]
    assert cache.n_bytes == 80
    get("a")
    assert loaded == ["a", "b", "c"]  # a was used after b, so b went
    get("b")
    assert loaded == ["a", "b", "c", "b"]
    assert get("huge", 101) == "HUGE"
    assert cache.n_bytes == 80  # too large to keep, and nothing was evicted for it
