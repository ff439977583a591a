"""Which addresses are public, in whatever dress, and which URLs are taken."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ConfigError, ErrorCode, ProtocolError
from service.outbound.addresses import address_rule, is_public
from service.outbound.targets import Target, parse_target, redirected

INSIDE = (
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::a9fe:a9fe"),
    *("64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::"),
    "2001:0:a00:1::1",
)
OUTSIDE = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1")


@pytest.mark.parametrize("text", INSIDE)
def test_inside(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OUTSIDE)
def test_outside(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4).filter(lambda address: not is_public(address)))
def test_no_wrapping_makes_an_inner_address_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for wrapped in (number, 0xFFFF << 32 | number, 0x0064FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert not is_public(ipaddress.IPv6Address(wrapped))


def test_named_networks_may_be_reached() -> None:
    rule = address_rule(["10.1.0.0/16", "fd00::/8"])
    for text, allowed in (("10.1.2.3", True), ("10.2.0.1", False), ("fd00::1", True), ("fc00::1", False)):
        assert rule.allows(ipaddress.ip_address(text)) is allowed
    with pytest.raises(ConfigError, match="outbound_networks"):
        address_rule(["10.1.0.0/99"])


WRONG = (
    *("", "pictures", "//pictures.example/a", "/etc/passwd", "../a", "https://", "https:///a", "https://:443/"),
    *("http://pictures.example/", "ftp://pictures.example/", "file:///etc/passwd", "gopher://pictures.example/"),
    *("javascript:alert(1)", "https://user@pictures.example/", "https://user:word@pictures.example/"),
    *("https://pictures.example:0/", "https://pictures.example:99999/", "https://pictures.example:x/"),
    *("https://pictures.example/a b", "https://pictures.example/\n", "https://pictures.example/\x00", "https://a\\b/"),
    *("https://[::1", "https://[fe80::1%25eth0]/", "https://" + "a" * 70 + ".example/", "https://x/" + "a" * 2048),
    *("https://.example/", "https://a..example/"),
)


@pytest.mark.parametrize("url", WRONG, ids=lambda url: url[:40] or "empty")
def test_urls_that_are_not_taken(url: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_target(url, field="webhook_url")
    assert (caught.value.code, caught.value.field) == (ErrorCode.URL_INVALID, "webhook_url")


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://pictures.example", Target("https", "pictures.example", 443, "/"), "pictures.example"),
        ("HTTPS://Pictures.Example.:444/a?b=c#d", Target("https", "pictures.example", 444, "/a?b=c"), None),
        ("https://[2606:4700::1]:8443/ä", Target("https", "2606:4700::1", 8443, "/%C3%A4"), "[2606:4700::1]:8443"),
        ("https://bücher.example/%41", Target("https", "xn--bcher-kva.example", 443, "/%41"), None),
    ],
)
def test_urls_that_are(url: str, target: Target, authority: str | None) -> None:
    found = parse_target(url, field="")
    assert found == target
    assert authority is None or found.authority == authority


def test_redirects_lead_from_https_to_https_only() -> None:
    secure = Target("https", "a.example", 443, "/x/y")
    assert redirected(secure, "../z?q", field="", http_allowed=True) == Target("https", "a.example", 443, "/z?q")
    for location in ("http://a.example/", "file:///etc/passwd", "//user@b.example/"):
        with pytest.raises(ProtocolError):
            redirected(secure, location, field="", http_allowed=True)
    plain = Target("http", "a.example", 80, "/")
    assert redirected(plain, "http://b.example/", field="", http_allowed=True).host == "b.example"
