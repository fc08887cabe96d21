"""Messages of the kubelet's interfaces, beside bytes that kubelet's own library writes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.kubelet import deviceplugin, podresources
from quorate.kubelet.podresources import Container, ContainerDevices, Holder, ListResponse, Pod

TEXTS = st.text(max_size=200)


def test_known_bytes():
    """A message has the bytes that the published encoding gives it, field by field."""
    request = deviceplugin.RegisterRequest("v1beta1", "a.sock", "x/gpu", deviceplugin.Options(pre_start_required=True))
    assert request.encode() == b"\x0a\x07v1beta1\x12\x06a.sock\x1a\x05x/gpu\x22\x02\x08\x01"
    answer = deviceplugin.ContainerResponse({"B": "2", "A": "1"})
    assert answer.encode() == b"\x0a\x06\x0a\x01A\x12\x011\x0a\x06\x0a\x01B\x12\x012"
    assert deviceplugin.Empty().encode() == b""


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5), st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_round_trip(devices: list[tuple[str, str]], environment: dict[str, str]):
    """What is written is read back."""
    listed = deviceplugin.Devices(tuple(deviceplugin.Device(*each) for each in devices))
    assert deviceplugin.Devices.decode(listed.encode()) == listed
    answer = deviceplugin.AllocateResponse((deviceplugin.ContainerResponse(environment),))
    assert deviceplugin.AllocateResponse.decode(answer.encode()) == answer


def test_unknown_fields_are_passed_over():
    """A newer kubelet's fields of any wire type do not disturb."""
    known = deviceplugin.Device("GPU-1", "Healthy").encode()
    unknown = b"\x1a\x04\x0a\x02\x08\x01" + b"\x20\x96\x01" + b"\x2d\x01\x02\x03\x04" + b"\x31" + bytes(8)
    assert deviceplugin.Device.decode(unknown + known) == deviceplugin.Device("GPU-1", "Healthy")


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0b",
        b"\x02\x00",
        b"\x08\x01",
        b"\x0a\x01\xff",
        b"\xff" * 11,
    ],
    ids=["no length", "short", "group", "field 0", "number for text", "no UTF-8", "endless number"],
)
def test_malformed(data: bytes):
    """Bytes that are no message are refused with one kind of error."""
    with pytest.raises(ValueError, match=r".+"):
        deviceplugin.Device.decode(data)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes):
    """Any bytes are a message or a ValueError, nothing else."""
    with contextlib.suppress(ValueError):
        ListResponse.decode(data)


def test_holders():
    """Each device of the resource has one holder; other resources' are left out."""
    held = (ContainerDevices("nvidia.com/gpu", ("GPU-1", "GPU-2")), ContainerDevices("x/y", ("1",)))
    pod = Pod("p", "ns", (Container("main", held), Container("idle")))
    response = ListResponse.decode(ListResponse((pod, Pod("q", "ns"))).encode())
    assert podresources.holders(response, "nvidia.com/gpu") == {
        "GPU-1": Holder("ns", "p", "main"),
        "GPU-2": Holder("ns", "p", "main"),
    }
