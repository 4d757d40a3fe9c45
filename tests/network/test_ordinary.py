"""An ordinary user, who may make no link of the host's, is told so; nothing is left of the attempt."""

from __future__ import annotations

import pytest

import pycontainer as pc

pytestmark = pytest.mark.needs("user", "userns")


@pytest.mark.parametrize("network", ["bridge", pc.Network.egress([])])
def test_what_cannot_be_had_is_named(network: object) -> None:
    with pytest.raises(pc.NotSupported, match="unshare"):
        pc.run("host:", ["true"], network=network)
    for each in pc.default_engine().networks.list():
        assert each.inspect()["containers"] == []
        each.remove()
    pc.default_engine().networks.close()
