"""A peer in a process of its own, for one that needs its own mount namespace: ``peer_program NAME ARGV...``."""

from __future__ import annotations

import os
import sys

from benchmarks.contender import Peer


def main() -> None:
    """Answer each line with the nanoseconds that the peer took."""
    peer = Peer(sys.argv[1], sys.argv[2:])
    os.write(1, b"ready\n")
    for _ in sys.stdin:
        os.write(1, b"%d\n" % round(peer.once() * 1e9))


if __name__ == "__main__":
    main()
