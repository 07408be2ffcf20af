from dro_jax.sweeps.work import work


class Store:
    """Two stages; one trial of the first comes back once, as one whose worker died."""

    def __init__(self):
        self.waiting = {"first": ["a", None, "b"], "second": ["c"]}

    def claim(self, stage, keys):
        assert keys == {"first": None, "second": ["k"]}[stage]
        return self.waiting[stage].pop(0) if self.waiting[stage] else None

    def unfinished(self, stage, keys):
        return len(self.waiting[stage])


def test_stages_are_worked_off_in_order_and_others_are_waited_for():
    store, done = Store(), []
    work(store, {"first": None, "second": ["k"]}, done.append, wait_seconds=0.0)
    assert done == ["a", "b", "c"]
