"""Manifests and indexes: what is taken, what is refused and why, and which of an index is for whom."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument
from pycontainer.image import mediatypes as types
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of
from pycontainer.image.manifest import Index, Manifest, make_index, make_manifest, parse_manifest
from pycontainer.image.platform import Platform

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")


def part(
    media_type: str = types.OCI_LAYER, digest: str = A, size: Any = 10, **further: Any
) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size, **further}


MANIFEST = {
    "schemaVersion": 2,
    "mediaType": types.OCI_MANIFEST,
    "config": part(types.OCI_CONFIG, C),
    "layers": [part(f"{types.OCI_LAYER}+gzip"), part(f"{types.OCI_LAYER}+zstd", B)],
}
DOCKER = {
    "schemaVersion": 2,
    "mediaType": types.DOCKER_MANIFEST,
    "config": part(types.DOCKER_CONFIG, C),
    "layers": [part(f"{types.DOCKER_LAYER}.gzip")],
}
INDEX = {
    "schemaVersion": 2,
    "mediaType": types.OCI_INDEX,
    "manifests": [part(types.OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"})],
}
LIST = {**INDEX, "mediaType": types.DOCKER_INDEX, "manifests": [part(types.DOCKER_MANIFEST, platform={"os": "linux", "architecture": "s390x"})]}  # fmt: skip


def read(value: Any, media_type: str | None = None) -> Manifest | Index:
    return parse_manifest(json.dumps(value).encode(), media_type, "the image")


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in names}


#: Value, what it was sent as, and what it is.
TAKEN: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "oci": (MANIFEST, types.OCI_MANIFEST, types.OCI_MANIFEST),
    "docker": (DOCKER, types.DOCKER_MANIFEST, types.DOCKER_MANIFEST),
    "index": (INDEX, types.OCI_INDEX, types.OCI_INDEX),
    "list": (LIST, types.DOCKER_INDEX, types.DOCKER_INDEX),
    "type unknown to the caller": (DOCKER, None, types.DOCKER_MANIFEST),
    "type with parameters": (MANIFEST, f"{types.OCI_MANIFEST}; charset=utf-8", types.OCI_MANIFEST),
    "type in upper case": (MANIFEST, types.OCI_MANIFEST.upper(), types.OCI_MANIFEST),
    "sent as any json": (DOCKER, "application/json", types.DOCKER_MANIFEST),
    "sent as bytes": (INDEX, "application/octet-stream", types.OCI_INDEX),
    "sent as text": (INDEX, "text/plain; charset=utf-8", types.OCI_INDEX),
    "oci without type": (without(MANIFEST, "mediaType"), types.OCI_MANIFEST, types.OCI_MANIFEST),
    "oci without any type": (without(MANIFEST, "mediaType"), None, types.OCI_MANIFEST),
    "index without any type": (without(INDEX, "mediaType"), None, types.OCI_INDEX),
    "docker without type": (without(DOCKER, "mediaType"), types.DOCKER_MANIFEST, types.DOCKER_MANIFEST),
    "empty type": ({**MANIFEST, "mediaType": ""}, None, types.OCI_MANIFEST),
    "null type": ({**MANIFEST, "mediaType": None}, None, types.OCI_MANIFEST),
    "no layers": ({**MANIFEST, "layers": []}, None, types.OCI_MANIFEST),
    "null layers": ({**MANIFEST, "layers": None}, None, types.OCI_MANIFEST),
    "the other list is null": ({**MANIFEST, "manifests": None}, None, types.OCI_MANIFEST),
    "an empty index": ({**INDEX, "manifests": []}, None, types.OCI_INDEX),
    "layers of the other kind": ({**MANIFEST, "layers": DOCKER["layers"]}, None, types.OCI_MANIFEST),
    "a layer twice": ({**MANIFEST, "layers": [part(), part()]}, None, types.OCI_MANIFEST),
    "a layer of no bytes": ({**MANIFEST, "layers": [part(size=0)]}, None, types.OCI_MANIFEST),
    "foreign layers": (
        {**DOCKER, "layers": [part("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls=["https://x/y"])]},
        None,
        types.DOCKER_MANIFEST,
    ),
    "an artifact": (
        {**MANIFEST, "config": part(types.OCI_EMPTY, C, 2, data="e30="), "layers": [part("text/x-sbom")], "artifactType": "text/x-sbom", "subject": part(types.OCI_MANIFEST, B)},
        None,
        types.OCI_MANIFEST,
    ),
    "names in other letters": ({**without(MANIFEST, "layers"), "LAYERS": []}, None, types.OCI_MANIFEST),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_odd_and_usual_ones_are_taken(name: str) -> None:
    value, sent, kind = TAKEN[name]
    raw = json.dumps(value, indent=3).encode()
    found = parse_manifest(raw, sent, "the image")
    assert found.media_type == kind
    assert found.raw is raw
    assert found.digest == digest_of(raw)
    assert isinstance(found, Index if kind in types.INDEXES else Manifest)


def test_a_manifest_is_read_whole() -> None:
    value = {
        **MANIFEST,
        "annotations": {"b": "2", "a": "1"},
        "subject": part(types.OCI_MANIFEST, B),
        "artifactType": "text/x-thing",
        "new": {"in": [1.2]},
    }
    found = read(value)
    assert isinstance(found, Manifest)
    assert (found.config.digest, [layer.digest for layer in found.layers]) == (C, [A, B])
    assert found.annotations == (("a", "1"), ("b", "2"))
    assert found.subject is not None
    assert found.subject.digest == B
    assert found.artifact_type == "text/x-thing"
    assert found.more == (("new", {"in": [1.2]}),)
    assert found.is_image
    assert {found: 1}[attrs.evolve(found)] == 1
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("config", "image"),
    [
        (types.OCI_CONFIG, True),
        (types.DOCKER_CONFIG, True),
        ("application/octet-stream", True),
        (types.OCI_EMPTY, False),
        ("application/vnd.cncf.helm.config.v1+json", False),
        ("application/vnd.docker.plugin.v1+json", False),
    ],
)
def test_an_artifact_is_no_image(config: str, image: bool) -> None:
    found = read({**MANIFEST, "config": part(config, C)})
    assert isinstance(found, Manifest)
    assert found.is_image is image


#: Value, what it was sent as, and words of the message.
REFUSED: dict[str, tuple[Any, str | None, str]] = {
    "list": ([], None, "no JSON object"),
    "text": ("manifest", None, "no JSON object"),
    "null": (None, None, "no JSON object"),
    "empty": ({}, None, "schema version None: 2"),
    "version 3": ({**MANIFEST, "schemaVersion": 3}, None, "schema version 3"),
    "version true": ({**MANIFEST, "schemaVersion": True}, None, "schema version True"),
    "version 2.0": ({**MANIFEST, "schemaVersion": 2.0}, None, "schema version 2.0"),
    "version in text": ({**MANIFEST, "schemaVersion": "2"}, None, "schema version '2'"),
    "schema 1": ({"schemaVersion": 1, "name": "x", "fsLayers": []}, None, "schema 1, in which"),
    "schema 1 by its type": (MANIFEST, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1, in"),
    "schema 1 by its own word": ({**MANIFEST, "mediaType": sorted(types.SCHEMA_1)[0]}, None, "schema 1, in which"),
    "layers of schema 1": ({**MANIFEST, "fsLayers": []}, None, "'fsLayers': it cannot be both"),
    "a manifest with manifests": ({**MANIFEST, "manifests": []}, None, "'manifests': it cannot be both"),
    "an index with layers": ({**INDEX, "layers": []}, None, "'layers': it cannot be both"),
    "an index with a configuration": ({**INDEX, "config": part()}, None, "'config': it cannot be both"),
    "both, of no type": ({**without(MANIFEST, "mediaType"), "manifests": []}, None, "it cannot be both"),
    "both in other letters": ({**MANIFEST, "Manifests": []}, None, "it cannot be both"),
    "layers twice": ({**MANIFEST, "Layers": []}, None, "'layers' twice"),
    "layers twice, in a long s": ({**MANIFEST, "layer\u017f": []}, None, "'layers' twice"),
    "an index sent as a manifest": (INDEX, types.OCI_MANIFEST, "was sent as"),
    "a manifest sent as an index": (MANIFEST, types.OCI_INDEX, "was sent as"),
    "docker's sent as oci's": (DOCKER, types.OCI_MANIFEST, "was sent as"),
    "untyped index as a manifest": (without(INDEX, "mediaType"), types.OCI_MANIFEST, "'manifests': it cannot be"),
    "untyped manifest as an index": (without(MANIFEST, "mediaType"), types.OCI_INDEX, "it cannot be both"),
    "html": (MANIFEST, "text/html", "'text/html': no manifest"),
    "a removed type": ({**MANIFEST, "mediaType": "application/vnd.oci.artifact.manifest.v1+json"}, None, "no index"),
    "a type that is no text": ({**MANIFEST, "mediaType": 5}, None, "no text"),
    "no layers": (without(MANIFEST, "layers"), None, "without 'layers'"),
    "no manifests": (without(INDEX, "manifests"), None, "without 'manifests'"),
    "no configuration": (without(MANIFEST, "config"), None, "the configuration of the image is no descriptor"),
    "layers that are no list": ({**MANIFEST, "layers": {}}, None, "list of layers that is none"),
    "a layer that is none": ({**MANIFEST, "layers": [part(), "x"]}, None, "layer 2 of the image is no descriptor"),
    "a layer of no type": ({**MANIFEST, "layers": [without(part(), "mediaType")]}, None, "no media type"),
    "a digest that is a path": ({**MANIFEST, "layers": [part(digest="sha256:../x")]}, None, "layer 1 of the image has"),
    "a digest in upper case": ({**MANIFEST, "layers": [part(digest=A.upper())]}, None, "digest"),
    "a negative size": ({**MANIFEST, "layers": [part(size=-1)]}, None, "no possible size"),
    "no size": ({**MANIFEST, "layers": [without(part(), "size")]}, None, "no possible size"),
    "a size of text": ({**MANIFEST, "layers": [part(size="10")]}, None, "no possible size"),
    "a size of half a byte": ({**MANIFEST, "layers": [part(size=1.5)]}, None, "no possible size"),
    "a size of true": ({**MANIFEST, "layers": [part(size=True)]}, None, "no possible size"),
    "a size beyond all disks": ({**MANIFEST, "layers": [part(size=1 << 62)]}, None, "no possible size"),
    "two sizes of one layer": ({**MANIFEST, "layers": [part(), part(size=11)]}, None, "two sizes"),
    "two sizes, in the configuration": ({**MANIFEST, "layers": [part(digest=C, size=11)]}, None, "two sizes"),
    "two sizes in an index": ({**INDEX, "manifests": [part(types.OCI_MANIFEST), part(types.OCI_MANIFEST, size=1)]}, None, "two sizes"),
    "a size in two spellings": ({**MANIFEST, "layers": [part(Size=11)]}, None, "'size' twice"),
    "a subject that is none": ({**MANIFEST, "subject": "x"}, None, "the subject of the image"),
    "annotations of numbers": ({**MANIFEST, "annotations": {"a": 1}}, None, "annotations"),
    "annotations in a list": ({**MANIFEST, "annotations": ["a"]}, None, "annotations"),
    "an artifact type of numbers": ({**MANIFEST, "artifactType": 7}, None, "artifact type"),
    "a platform that is none": ({**INDEX, "manifests": [part(types.OCI_MANIFEST, platform="linux")]}, None, "platform"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_with_the_reason(name: str) -> None:
    value, sent, words = REFUSED[name]
    with pytest.raises(ImageError, match="the image") as caught:
        read(value, sent)
    assert words in str(caught.value)


GOOD = json.dumps(MANIFEST)[:-1]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no JSON document"),
        (b"{", "brackets do not match"),
        (b"\xef\xbb\xbf{}", "no JSON document"),
        (b"{}{}", "no JSON document: Extra data"),
        (b"\xff", "utf-8"),
        ('{"a": "\xe9"}'.encode("latin-1"), "utf-8"),
        ("{}".encode("utf-16"), "no JSON document"),
        (b'{"a": "\xed\xa0\x80"}', "utf-8"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b'{"\\udfff": 1}', "surrogates not allowed"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e400}', "out of range"),
        (b'{"a": 1' + b"0" * 400 + b".5}", "out of range"),
        (b'{"a": 1' + b"0" * 300 + b"}", "a number has 301 digits"),
        (b'{"a": ' + b"9" * (1 << 20) + b"}", "digits"),
        (b'{"a": 1, "a": 1}', "says 'a' twice"),
        (b'{"a": {"b": 1, "c": 1, "b": 1}}', "says 'b' twice"),
        (b'{"a": "x\ny"}', "control character"),
        (b"[" * (1 << 21) + b"]" * (1 << 21), "nests too deep"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nests too deep"),
        (b"[" * (1 << 21), "brackets do not match"),
        (b'{"a": "' + b'\\"' * (1 << 20), "no JSON document"),
        (b'"' * (1 << 21), "no JSON document"),
        (b'["' + b"[" * 100 + b'"]', "no JSON object"),
        (b" " * (4 << 20) + b"{}", "4194304 are possible"),
        (GOOD.encode() + b', "layers": []}', "says 'layers' twice"),
    ],
)  # fmt: skip
def test_what_is_no_json_for_all_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ImageError, match="the image") as caught:
        parse_manifest(raw, None, "the image")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_brackets_and_quotes_in_text_are_no_nesting() -> None:
    value = {**MANIFEST, "annotations": {"a": "[" * 200, "b": '\\"[{' * 99, "c": "\\", "\\": '"'}}
    assert dict(read(value).annotations) == value["annotations"]
    assert read({**MANIFEST, "annotations": {"smile": "\U0001f600"}}).annotations == (
        ("smile", "\U0001f600"),
    )


def descriptor(
    media_type: str = types.OCI_MANIFEST, digest: str = A, platform: str = "", **further: Any
) -> Descriptor:
    told = None
    if platform:
        os, architecture, variant = (*platform.split("/"), "")[:3]
        told = Platform(os=os, architecture=architecture, variant=variant)
    return Descriptor(media_type=media_type, digest=digest, size=5, platform=told, **further)


def test_what_is_made_is_the_same_each_time() -> None:
    config, layer = descriptor(types.OCI_CONFIG, C), descriptor(types.OCI_LAYER)
    found = make_manifest(config, [layer], annotations={"b": "ä", "a": "<"})
    assert (
        found.raw
        == (
            '{"annotations":{"a":"<","b":"ä"},'
            f'"config":{{"digest":"{C}","mediaType":"{types.OCI_CONFIG}","size":5}},'
            f'"layers":[{{"digest":"{A}","mediaType":"{types.OCI_LAYER}","size":5}}],'
            f'"mediaType":"{types.OCI_MANIFEST}","schemaVersion":2}}'
        ).encode()
    )
    assert found == make_manifest(config, (layer,), annotations=[("a", "<"), ("b", "ä")])
    assert found == parse_manifest(found.raw, found.media_type, "it")


def test_unknown_fields_of_descriptors_are_written_again() -> None:
    layer = Descriptor.from_json(part(urls=["https://x"], data="eA==", new={"a": [None]}), "x")
    found = make_manifest(descriptor(types.OCI_CONFIG, C), [layer])
    assert json.loads(found.raw)["layers"] == [part(urls=["https://x"], data="eA==", new={"a": [None]})]


def test_all_fields_of_what_is_made() -> None:
    subject = descriptor(digest=B)
    manifest = make_manifest(descriptor(types.OCI_EMPTY, C), [], subject=subject, artifact_type="text/x")
    assert (manifest.subject, manifest.artifact_type, manifest.layers) == (subject, "text/x", ())
    entry = descriptor(platform="linux/arm/v7", annotations=(("a", "b"),))
    index = make_index([entry], subject=subject, artifact_type="text/x", annotations={"c": "d"})
    assert (index.manifests, index.subject, index.artifact_type) == ((entry,), subject, "text/x")
    assert index.annotations == (("c", "d"),)
    assert index == parse_manifest(index.raw, types.OCI_INDEX, "it")


def test_docker_is_made_of_dockers_parts() -> None:
    config, layer = descriptor(types.DOCKER_CONFIG, C), descriptor(f"{types.DOCKER_LAYER}.gzip")
    assert make_manifest(config, [layer], docker=True).media_type == types.DOCKER_MANIFEST
    assert make_index([descriptor(types.DOCKER_MANIFEST)], docker=True).media_type == types.DOCKER_INDEX
    with pytest.raises(InvalidArgument, match="schema 2 has no"):
        make_manifest(config, [layer, descriptor(types.OCI_LAYER)], docker=True)
    with pytest.raises(InvalidArgument, match="schema 2 has no"):
        make_index([descriptor()], docker=True)
    for further in ({"annotations": {"a": "b"}}, {"subject": descriptor()}, {"artifact_type": "text/x"}):
        with pytest.raises(InvalidArgument, match="only an OCI manifest"):
            make_manifest(config, [layer], docker=True, **further)  # type: ignore[arg-type]


def test_nothing_is_made_that_would_not_be_taken() -> None:
    with pytest.raises(ImageError, match="two sizes"):
        make_manifest(
            descriptor(types.OCI_CONFIG, C), [descriptor(types.OCI_LAYER), attrs.evolve(descriptor(), size=6)]
        )
    with pytest.raises(ImageError, match="size"):
        make_manifest(descriptor(types.OCI_CONFIG, C), [attrs.evolve(descriptor(), size=-1)])
    with pytest.raises(InvalidArgument, match="JSON"):
        make_manifest(descriptor(types.OCI_CONFIG, C), [], annotations={"a": "\ud800"})
    with pytest.raises(ImageError, match="annotations"):
        make_manifest(descriptor(types.OCI_CONFIG, C), [], annotations={"a": 1})  # type: ignore[dict-item]


#: What there is, what is wanted, and which it is (``None``: none of them).
CHOICES: list[tuple[list[str], str, int | None]] = [
    (["linux/amd64", "linux/arm64/v8"], "linux/amd64", 0),
    (["linux/amd64", "linux/arm64/v8"], "linux/arm64", 1),
    (["linux/amd64", "linux/arm64"], "linux/arm64/v8", 1),
    (["linux/amd64", "linux/amd64"], "linux/amd64", 0),
    (["windows/amd64", "linux/amd64"], "linux/amd64", 1),
    (["linux/386", "linux/arm/v7"], "linux/amd64", None),
    (["linux/arm/v7"], "linux/arm64", None),
    (["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", 2),
    (["linux/arm/v5", "linux/arm/v6", "linux/arm64/v8"], "linux/arm/v7", 1),
    (["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm", 2),
    (["linux/arm/v7"], "linux/arm/v6", None),
    (["linux/arm"], "linux/arm/v6", None),
    (["linux/arm"], "linux/arm/v7", 0),
    (["linux/arm/armv6l", "linux/arm/7"], "linux/arm/v6", 0),
    (["linux/arm/armv6l", "linux/arm/7"], "linux/arm/v7", 1),
    (["linux/amd64/v4", "linux/amd64/v3", "linux/amd64"], "linux/amd64", 2),
    (["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4"], "linux/amd64/v3", 2),
    (["linux/arm64/v8", "linux/arm64/v9"], "linux/arm64/v9.2", 1),
    (["linux/arm64/v9"], "linux/arm64", None),
    (["linux/x86_64"], "linux/amd64", 0),
    (["Linux/AMD64"], "linux/amd64", 0),
    (["/amd64"], "linux/amd64", 0),
    (["linux/"], "linux/amd64", None),
    (["linux/aarch64"], "linux/arm64", 0),
    (["linux/riscv64/rva23u64"], "linux/riscv64", None),
    (["linux/riscv64"], "linux/riscv64/rva23u64", 0),
    (["linux/riscv64", "linux/riscv64/rva23u64"], "linux/riscv64/rva23u64", 1),
    (["unknown/unknown"], "linux/amd64", None),
    (["unknown/unknown"], "unknown/unknown", None),
    (["", "linux/amd64"], "linux/amd64", 1),
    (["linux/s390x", ""], "linux/amd64", 1),
    (["/", "linux/s390x"], "linux/amd64", 0),
    ([], "linux/amd64", None),
]


@pytest.mark.parametrize(("there", "wanted", "number"), CHOICES)
def test_the_nearest_that_runs_is_chosen(there: list[str], wanted: str, number: int | None) -> None:
    index = make_index(
        [descriptor(digest=f"sha256:{place:064x}", platform=platform) for place, platform in enumerate(there)]
    )
    if number is None:
        with pytest.raises(ImageNotFound, match="no image for"):
            index.choose(Platform.parse(wanted))
    else:
        assert index.choose(Platform.parse(wanted)).digest == f"sha256:{number:064x}"


def test_this_machine_is_meant_where_nothing_is_said() -> None:
    index = make_index(
        [descriptor(digest=B, platform="plan9/mips"), descriptor(platform=str(Platform.host()))]
    )
    assert index.choose().digest == A


def test_what_is_no_image_is_not_chosen() -> None:
    attestation = descriptor(
        digest=B, platform="linux/amd64", annotations=(("vnd.docker.reference.type", "attestation-manifest"),)
    )
    entries = [
        attestation,
        descriptor(digest=B, platform="linux/amd64", artifact_type="text/x-sbom"),
        descriptor("application/vnd.oci.artifact.manifest.v1+json", B, "linux/amd64"),
        descriptor(types.OCI_LAYER, B),
        descriptor(digest=B, platform="unknown/unknown"),
    ]
    with pytest.raises(ImageNotFound):
        make_index(entries).choose(Platform.parse("linux/amd64"))
    assert (
        make_index([*entries, descriptor(platform="linux/amd64")]).choose(Platform.parse("amd64")).digest == A
    )


def test_an_index_in_the_index_is_the_second_choice() -> None:
    inner, direct = descriptor(types.OCI_INDEX, B, "linux/amd64"), descriptor(platform="linux/amd64")
    assert make_index([inner, direct]).choose(Platform.parse("amd64")) == direct
    assert make_index([inner]).choose(Platform.parse("amd64")) == inner
    untold = descriptor(types.OCI_INDEX, B)
    assert make_index([untold]).choose(Platform.parse("amd64")) == untold


def test_the_message_names_what_there_is() -> None:
    odd = descriptor(platform="linux/\x1b[31m" + "x" * 500)
    names = ["linux/arm/v7", "linux/arm/v7", "unknown/unknown", "windows/amd64"]
    entries = [descriptor(platform=name) for name in names]
    with pytest.raises(ImageNotFound) as caught:
        make_index([*entries, odd]).choose(Platform.parse("linux/s390x"))
    assert "for linux/s390x in it, only for linux/arm/v7, windows/amd64, 'linux/\\x1b" in str(caught.value)
    assert len(str(caught.value)) < 300
    with pytest.raises(ImageNotFound, match=r", \.\.\.$"):
        make_index([descriptor(platform=f"linux/a{number}") for number in range(30)]).choose(
            Platform.parse("s390x")
        )
    with pytest.raises(ImageNotFound, match="only for none"):
        make_index([]).choose(Platform.parse("s390x"))


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("application/vnd.oci.image.layer.v1.tar", "none"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar", "none"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"),
        ("application/vnd.in-toto+json", None),
        ("application/vnd.oci.image.layer.v1.tar+xz", None),
        ("", None),
    ],
)
def test_the_type_of_a_layer_tells_its_compression(media_type: str, kind: str | None) -> None:
    assert types.layer_compression(media_type) == kind


def test_an_encrypted_layer_is_refused() -> None:
    with pytest.raises(ImageError, match="encrypted"):
        types.layer_compression("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
