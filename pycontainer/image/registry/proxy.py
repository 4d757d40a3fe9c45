"""Proxies, as the environment names them: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``."""

from __future__ import annotations

import ipaddress
import re

from pycontainer.errors import NotSupported
from pycontainer.image.registry.location import Location, is_loopback


def proxy_for(location: Location) -> str | None:
    """Return the address of the proxy for a request, or None to go there directly.

    This machine is never asked through a proxy.  Raises :class:`NotSupported` for a proxy that speaks no HTTP.
    """
    from urllib.request import (  # type: ignore[attr-defined]
        getproxies_environment,
        proxy_bypass_environment,
    )

    if is_loopback(location.host):
        return None
    # It leaves HTTP_PROXY out where it may be a header of a request (CVE-2016-1000110).
    proxies = getproxies_environment()
    proxy = proxies.get(location.scheme) or proxies.get("all")
    if not proxy:
        return None
    excepted = proxies.get("no", "")
    authority = f"{location.host}:{location.port}"
    if proxy_bypass_environment(location.host, proxies) or proxy_bypass_environment(authority, proxies):
        return None
    if any(_is_in(location.host, each.strip()) for each in excepted.split(",")):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not re.match(r"https?://[^/\s]", proxy, re.IGNORECASE):
        raise NotSupported(
            f"the proxy for {location.scheme} in the environment is none of http:// or https://",
            "set HTTPS_PROXY to http://host:port, or NO_PROXY to the registry's host",
        )
    return proxy


def _is_in(host: str, network: str) -> bool:
    """Whether a numeric host is of a network in the form 10.0.0.0/8, which Python's own function does not know."""
    try:
        return "/" in network and ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
