"""The vendors' systems that the tests deliver to; as a program, the packages that they need. Each is a class:

    NAME                              the word for it in the tests' arguments
    KEYED                             class A: takes an order of one key once, so that no person is ever asked
    SPEED                             how many times as fast the clock of `orders` may run, so that what the channel
                                      waits for the server's sake is still longer than its work takes
    MANY, SOME                        whether it takes 300 bookings within a minute; how many it takes in half of one
    DEADLINE                          a `timeout` for the channel that it keeps to when nothing is wrong, in seconds
    start() → self, stop()            the real server, as processes of its own in the folder it was made with
    origin                            http://127.0.0.1:PORT
    config(channel, origin=None, …)   TOML of [channel.CHANNEL]; by another way, such as a proxy; with more keys
    keys() → Counter                  how many objects there are of each booking
    objects(key) → list               those of one booking
    prepare_fast()                    makes it take what is signed by a clock that runs fast
    FAULTS, misbehave(**faults)       those that it can be told to have: `slow`: seconds that its work takes; `lag`: seconds until a search finds what is
                                      there; `filter`: searches find "nothing", or "everything"
    prepare_naive()                   makes it take what a careless client sends, if it would not
    naive(origin, key)                opens a booking with nothing in it that tells a repeat; raises without an answer
"""

import importlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

# Name → file, class, and the Debian packages that it needs.
VENDORS = {
    "webhook": ("webhook", "Vendor", ""),
    "radicale": ("adapters", "Radicale", "radicale xandikos apache2-utils"),
    "xandikos": ("adapters", "Xandikos", "radicale xandikos apache2-utils"),
    "rt": ("adapters", "RequestTracker", "request-tracker5 rt5-db-sqlite rt5-standalone starlet"),
}


def vendor(name, folder):
    """The vendor of this name, not yet started."""
    file, kind, _ = VENDORS[name]
    return getattr(importlib.import_module(file), kind)(folder)


if __name__ == "__main__":
    print(*sorted({package for _, _, packages in VENDORS.values() for package in packages.split()}))
