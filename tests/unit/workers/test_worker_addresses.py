"""The rule of where an asset may be fetched from: one URL and no other, read alike by every program."""

import string
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from orchestrator import protos as pb
from workers.assets import addresses
from workers.assets.addresses import Asset, check_store_url

KEY = "12345678-1234-1234-1234-123456789abc"
NAME = f"models/{KEY}"

good_urls = st.builds(
    "https://{}{}{}".format,
    st.sampled_from(("store.example.org", "Store.Example.ORG", "127.0.0.1", "[::1]", "host", "a-b.c_d")),
    st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)),
    st.lists(st.text(string.ascii_letters + string.digits + "._~@+=,-", min_size=1, max_size=8), max_size=3)
    .filter(lambda parts: not {".", ".."} & set(parts))
    .map(lambda parts: "".join(f"/{part}" for part in parts)),
)


def at(address: str) -> Asset:
    return addresses.model(pb.Model(key=KEY, owner="org-1", address=pb.Addressable(storage_address=address)))


@given(good_urls, st.booleans())
def test_what_passes_is_read_alike_by_everyone(store_url: str, slash: bool) -> None:
    plain = check_store_url(store_url + "/" * slash)
    assert plain == store_url
    address = f"{plain}/{NAME}"
    assert at(address).lies_in(plain)
    sent, parts = httpx.URL(address), urlsplit(address)
    assert (sent.scheme, sent.userinfo, sent.query, sent.fragment) == ("https", b"", b"", "")
    # What goes over the wire is what stands there: nothing was escaped, resolved or cut.
    assert sent.raw_path.decode() == parts.path == address.removeprefix("https://").partition("/")[2].join(("/", ""))
    assert sent.host == parts.hostname
    assert sent.port in (parts.port, None)
    assert parts.path.endswith(f"/{NAME}")


@given(st.text(string.printable, max_size=40))
@example("?")
@example("#")
def test_whatever_is_taken_for_a_store_leaves_the_name_at_the_end_of_the_path(rest: str) -> None:
    stated = f"https://store.example.org{rest}"
    try:
        plain = check_store_url(stated)
    except ValueError:
        return
    path = httpx.URL(f"{plain}/{NAME}").raw_path.decode()
    assert path.endswith(f"/{NAME}")
    assert not {"..", ".", ""} & set(path[1:].split("/"))


@given(good_urls, st.text(max_size=60))
def test_an_address_that_is_written_in_any_other_way_is_refused(store_url: str, other: str) -> None:
    assume(other != f"{store_url}/{NAME}")
    assert not at(other).lies_in(store_url)


@pytest.mark.parametrize(
    "address",
    [
        f"https://store.example.org/{NAME}/",
        f"https://store.example.org//{NAME}",
        f"https://store.example.org/./{NAME}",
        f"https://store.example.org/x/../{NAME}",
        f"https://store.example.org/x/%2e%2e/{NAME}",
        f"https://store.example.org/%6dodels/{KEY}",
        f"https://store.example.org/models%2f{KEY}",
        f"https://store.example.org/{NAME.upper()}",
        f"https://store.example.org/{NAME}?x",
        f"https://store.example.org/{NAME}#x",
        f"https://store.example.org:443/{NAME}",
        f"https://user@store.example.org/{NAME}",
        f"https://store.example.org@evil.example/{NAME}",
        f"https://Store.example.org/{NAME}",
        f"https://store.example.org./{NAME}",
        f"HTTPS://store.example.org/{NAME}",
        f"http://store.example.org/{NAME}",
        f"https:/store.example.org/{NAME}",
        f"https://store.example.org\\{NAME}",
        f" https://store.example.org/{NAME}",
        f"https://store.example.org/functions/{KEY}/archive",
        f"https://store.example.org/logs/{KEY}-1",
        f"https://store.example.org/data_samples/{KEY}",
        "https://store.example.org/models/12345678-1234-1234-1234-123456789abd",
        "",
    ],
)
def test_nothing_but_the_very_file_will_do(address: str) -> None:
    assert at(f"https://store.example.org/{NAME}").lies_in("https://store.example.org")
    assert not at(address).lies_in("https://store.example.org")


@pytest.mark.parametrize(
    "store_url",
    [
        "",
        "store.example.org",
        "http://store.example.org",
        "HTTPS://store.example.org",
        "file:///etc",
        "https://",
        "https:///x",
        "https://user@store.example.org",
        "https://user:password@store.example.org",
        f"https://store.example.org/models/{KEY}?",
        f"https://store.example.org/models/{KEY}#",
        "https://store.example.org/a/..",
        "https://store.example.org/../a",
        "https://store.example.org/.",
        "https://store.example.org/a/%2e%2e",
        "https://store.example.org/%2e%2e/a",
        "https://store.example.org//",
        "https://store.example.org/a//b",
        "https://store.example.org/a;b",
        "https://store.example.org\\a",
        "https://store.example.org:0",
        "https://store.example.org:0443",
        "https://store.example.org:65536",
        "https://store.example.org:",
        "https://store.example.org/a b",
        "https://store.example.org/a\n",
        "https://store.example.org\n",
        "https://störe.example.org",
        "https://store.example.org/\u202e",
    ],
)
def test_an_ambiguous_url_of_a_store_is_refused(store_url: str) -> None:
    with pytest.raises(ValueError, match="not a plain https URL"):
        check_store_url(store_url)


def test_each_kind_has_its_own_place() -> None:
    function = pb.Function(key=KEY, owner="org-1")
    manager = pb.DataManager(key=KEY, owner="org-1")
    assert [
        addresses.archive(function).name,
        addresses.description(function).name,
        addresses.opener(manager).name,
        addresses.description(manager).name,
        addresses.model(pb.Model(key=KEY)).name,
    ] == [
        f"functions/{KEY}/archive",
        f"functions/{KEY}/description",
        f"data_managers/{KEY}/opener",
        f"data_managers/{KEY}/description",
        f"models/{KEY}",
    ]
