"""Where notifications link to: the console's own address, unless somebody says otherwise."""

import socket
from typing import Any

import pytest

from fleetmend.cli.address import doubt, settled
from fleetmend.errors import PortError
from fleetmend.settings import Settings, load_settings


def settings(**flags: Any) -> Settings:
    return load_settings(flags={k.replace("__", "."): v for k, v in flags.items()}).settings


def test_links_lead_to_the_port_that_the_console_has() -> None:
    made = settled(settings(console__port=8777), listens=False)
    assert made.alerting.console_url == "http://127.0.0.1:8777"


def test_a_free_port_is_chosen_before_alerting_is_made() -> None:
    made = settled(settings(console__port=0), listens=True)
    assert made.console.port > 0
    assert made.alerting.console_url == f"http://127.0.0.1:{made.console.port}"


def test_an_address_that_was_set_stays() -> None:
    made = settled(settings(alerting__console_url="https://fleet.example"), listens=False)
    assert made.alerting.console_url == "https://fleet.example"


def test_a_console_on_all_addresses_is_linked_by_the_name_that_browsers_may_use() -> None:
    hosts = ["127.0.0.1", "fleet.example"]
    made = settled(settings(console__host="0.0.0.0", console__hosts=hosts), listens=False)  # noqa: S104
    assert made.alerting.console_url == "http://fleet.example:8460"


def test_a_taken_port_ends_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=str(port)):
            settled(settings(console__port=port), listens=True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"alerting__console_url": "http://127.0.0.1:8460", "console__port": 8777}, "port 8777"),
        ({"alerting__console_url": "https://fleet.example"}, "refuses the name fleet.example"),
        (
            {
                "alerting__console_url": "https://fleet.example",
                "console__hosts": ["fleet.example"],
            },
            "",
        ),
        ({"console__port": 8777}, ""),
    ],
)
def test_links_that_lead_nowhere_are_said(flags: dict[str, Any], said: str) -> None:
    found = doubt(settled(settings(**flags), listens=False))
    assert (said in found) if said else not found
