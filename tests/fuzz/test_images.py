"""What registries and archives send, and people type: manifests, indexes, configurations, names of images."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pycontainer.errors import ImageError, ImageNotFound, InvalidArgument
from pycontainer.image import mediatypes as types
from pycontainer.image.config import CONFIG_KEYS, ImageConfig
from pycontainer.image.descriptor import Descriptor
from pycontainer.image.digest import digest_of
from pycontainer.image.document import Document, History, parse_document
from pycontainer.image.manifest import Index, Manifest, make_index, make_manifest, parse_manifest
from pycontainer.image.platform import Platform
from pycontainer.image.reference import Reference
from tests.fuzz import wild
from tests.fuzz.guard import guarded

DIGESTS = st.sampled_from("0123456789abcdef").map(lambda digit: f"sha256:{digit * 64}")
MEDIA_TYPES = st.sampled_from(
    [
        *sorted(types.MANIFESTS | types.INDEXES | types.CONFIGS),
        types.OCI_LAYER,
        f"{types.DOCKER_LAYER}.gzip",
        types.OCI_EMPTY,
    ]
)
SENT = st.one_of(st.none(), MEDIA_TYPES, st.sampled_from(sorted(types.SCHEMA_1)), wild.TEXT)
PLATFORMS = st.fixed_dictionaries(
    {
        "os": st.sampled_from(["linux", "windows", "unknown"]),
        "architecture": st.sampled_from(["amd64", "arm64", "arm", "unknown", "x86_64"]),
    },
    optional={
        "variant": st.sampled_from(["v6", "v7", "v8", "v8.2", "3", "", "armv6l", "x"]),
        "os.version": st.text(max_size=3),
    },
)
ANNOTATIONS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)
DESCRIPTORS = st.fixed_dictionaries(
    {"mediaType": MEDIA_TYPES, "digest": DIGESTS, "size": st.integers(0, 3)},
    optional={"platform": PLATFORMS, "annotations": ANNOTATIONS, "artifactType": st.text(max_size=3), "urls": st.just(["https://x"])},
)  # fmt: skip
FURTHER: Any = {
    "annotations": ANNOTATIONS,
    "subject": DESCRIPTORS,
    "artifactType": st.text(max_size=4),
    "new": st.just({"a": [1, None]}),
}
MANIFESTS = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "config": DESCRIPTORS, "layers": st.lists(DESCRIPTORS, max_size=3)},
    optional={"mediaType": st.sampled_from(sorted(types.MANIFESTS)), **FURTHER},
)
INDEXES = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "manifests": st.lists(DESCRIPTORS, max_size=4)},
    optional={"mediaType": st.sampled_from(sorted(types.INDEXES)), **FURTHER},
)
WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4), max_size=3
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "Env": WORDS, "Cmd": WORDS, "Entrypoint": WORDS, "User": st.just("a"), "Labels": st.just({"a": "b"}),
        "ExposedPorts": st.just({"80/tcp": {}}), "Healthcheck": st.just({"Test": ["NONE"]}), "Shell": WORDS,
    },
)  # fmt: skip
STEPS = st.fixed_dictionaries(
    {}, optional={"created": st.text(max_size=4), "created_by": st.text(max_size=4), "empty_layer": st.booleans(), "x": st.integers()}
)  # fmt: skip
DOCUMENTS = st.fixed_dictionaries(
    {
        "os": st.just("linux"),
        "architecture": st.sampled_from(["amd64", ""]),
        "rootfs": st.fixed_dictionaries({"type": st.just("layers"), "diff_ids": st.lists(DIGESTS, max_size=3)}),
    },
    optional={
        "config": SETTINGS, "history": st.lists(STEPS, max_size=3), "created": st.text(max_size=3), "container": st.just("x"),
        "author": st.text(max_size=3), "variant": st.just("v7"), "new": st.just([1.5]), "os.version": st.just("1"),
    },
)  # fmt: skip

NAMES = (
    "schemaVersion mediaType config layers manifests annotations subject artifactType fsLayers digest size platform os architecture"
    " variant rootfs diff_ids type history created created_by author comment empty_layer container LAYERS mediatype Manifests"
).split()
KEYS = st.one_of(st.sampled_from([*NAMES, *CONFIG_KEYS]), wild.TEXT)
LEAVES = st.one_of(
    DIGESTS,
    MEDIA_TYPES,
    st.sampled_from(
        ["sha256:../../x", "sha512:" + "0" * 128, 1, 2, -1, 1 << 40, 1 << 41, True, 2.0, "linux", "unknown"]
    ),
)
VALUES = wild.json(KEYS, LEAVES)


@st.composite
def changed(draw: st.DrawFn, good: st.SearchStrategy[Any]) -> Any:
    """A value with up to three of its parts gone, replaced, doubled, or under another name."""
    value: Any = json.loads(json.dumps(draw(good)))
    for _ in range(draw(st.integers(0, 3))):
        here = value
        while True:
            places: list[Any] = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(here[place], (dict, list)) and draw(st.booleans()):
                here = here[place]
                continue
            how = draw(st.sampled_from(["drop", "replace", "null", "rename", "double"]))
            if how == "drop":
                del here[place]
            elif how == "replace":
                here[place] = draw(VALUES)
            elif how == "null":
                here[place] = None
            elif isinstance(here, list):
                here.append(here[place])
            else:
                new = draw(KEYS) if how == "rename" else draw(st.sampled_from([place.upper(), place.title()]))
                here[new] = here.pop(place) if how == "rename" else here[place]
            break
    return value


def written(value: Any) -> bytes:
    return json.dumps(value, skipkeys=True, default=str).encode()


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """Some bytes changed, doubled, or cut off."""
    data = bytearray(draw(good))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        new = draw(
            st.one_of(
                st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"\\ud800", b"NaN", b"1e999", b"\xed\xa0\x80", b"\0", b"-", b"9" * 400, b'"layers":[],', b'"size":1,']),
                st.binary(max_size=3),
            )
        )  # fmt: skip
        data[place : place + draw(st.sampled_from([0, 0, 1, 2, 5, 1 << 20]))] = new
    return bytes(data)


def texts(good: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.one_of(
        good.map(written),
        changed(good).map(written),
        changed(good).map(written),
        damaged(good.map(written)),
        VALUES.map(written),
        VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, default=str).encode(errors="surrogatepass")),
        st.binary(max_size=60),
        st.tuples(st.sampled_from([b'{"layers":', b'{"rootfs":', b'{"new":', b""]), st.integers(10, 1 << 18), st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b"[[],", b"1]"), (b"[", b"")]))
        .map(lambda told: told[0] + told[2][0] * told[1] + b"1" + told[2][1] * told[1] + b"}" * (told[0] != b"")),
    )  # fmt: skip


def looked_at(found: Manifest | Index) -> None:
    """All that may be done with what was taken."""
    assert found.digest == digest_of(found.raw)
    assert parse_manifest(found.raw, found.media_type, "it") == found
    assert hash(found) == hash(found)
    assert repr(found)
    further: Any = {
        "annotations": found.annotations,
        "subject": found.subject,
        "artifact_type": found.artifact_type,
    }
    if isinstance(found, Index):
        assert found.media_type in types.INDEXES
        for platform in (
            None,
            Platform(architecture="arm", variant="v7"),
            Platform(architecture="amd64", variant="v3"),
        ):
            try:
                chosen = found.choose(platform)
            except ImageNotFound as error:
                assert str(error).isprintable()
            else:
                assert chosen in found.manifests
                assert chosen.platform is None or "unknown" not in {
                    chosen.platform.os,
                    chosen.platform.architecture,
                }
        again: Manifest | Index = make_index(found.manifests, **further)
        assert isinstance(again, Index)
        assert again.manifests == found.manifests
    else:
        assert found.media_type in types.MANIFESTS
        again = make_manifest(found.config, found.layers, **further)
        assert (again.config, again.layers) == (found.config, found.layers)
        for part, one in zip([found.config, *found.layers], [again.config, *again.layers], strict=True):
            assert dict(part.more) == dict(one.more)
            assert re.fullmatch("[0-9a-f]{64}", part.hex)
    assert (again.annotations, again.subject, again.artifact_type) == tuple(further.values())
    assert again.media_type in types.MANIFESTS | types.INDEXES


@given(raw=texts(st.one_of(MANIFESTS, INDEXES)), sent=SENT)
@example(raw=b'{"schemaVersion":2,"manifests":[],"layers":[]}', sent=None)
@example(raw=b'{"schemaVersion":2,"mediaType":[],"layers":[]}', sent=None)
@example(raw=b'{"schemaVersion":[],"layers":{}}', sent="\ud800")
def test_manifests_and_indexes(raw: bytes, sent: str | None) -> None:
    with guarded(ImageError):
        looked_at(parse_manifest(raw, sent, "the image"))


@given(raw=texts(DOCUMENTS), diff_id=DIGESTS)
@example(raw=b'{"rootfs":{"type":{},"diff_ids":[]}}', diff_id="sha256:" + "0" * 64)
@example(raw=b'{"rootfs":{"diff_ids":[]},"config":{"Cmd":{}}}', diff_id="sha256:" + "0" * 64)
def test_documents(raw: bytes, diff_id: str) -> None:
    with guarded(ImageError):
        found = parse_document(raw, "the configuration")
        assert found.digest == digest_of(raw)
        assert parse_document(raw, "it") == found
        assert hash(found) == hash(found)
        longer = found.extended(diff_id, History(created_by="x"))
        assert longer.diff_ids == (*found.diff_ids, diff_id)
        assert longer.history[:-1] == found.history
        assert (longer.config, longer.platform) == (found.config, found.platform)
        assert dict(longer.more) == {key: each for key, each in found.more if not key.startswith("container")}
        other = found.extended(None, History(empty_layer=True), found.config)
        assert ImageConfig.from_json(json.loads(other.raw)["config"]) == found.config
        made = Document.make(
            platform=found.platform, config=found.config, diff_ids=found.diff_ids, history=found.history,
            created=found.created, author=found.author, more=found.more,
        )  # fmt: skip
        assert (made.config, made.diff_ids, made.history, made.created) == (found.config, found.diff_ids, found.history, found.created)  # fmt: skip


@given(good=st.one_of(MANIFESTS, INDEXES))
def test_good_ones_are_taken(good: Any) -> None:
    sizes: dict[str, int] = {}
    parts = [good[name] for name in ("config",) if name in good]
    for part in [*parts, *good.get("layers", ()), *good.get("manifests", ())]:
        part["size"] = sizes.setdefault(part["digest"], part["size"])
    found = parse_manifest(written(good), good.get("mediaType"), "the image")
    looked_at(found)
    listed = found.layers if isinstance(found, Manifest) else found.manifests
    assert [each.to_json() for each in listed] == [
        Descriptor.from_json(each, "x").to_json() for each in good.get("layers", good.get("manifests"))
    ]


@given(good=DOCUMENTS)
def test_good_documents_are_taken(good: Any) -> None:
    found = parse_document(written(good), "the configuration")
    assert list(found.diff_ids) == good["rootfs"]["diff_ids"]
    longer = json.loads(found.extended("sha256:" + "0" * 64, History()).raw)
    longer["rootfs"]["diff_ids"].pop()
    assert longer.pop("history").pop() == {}
    good.pop("container", None)
    good.pop("history", None)
    assert longer == json.loads(json.dumps(good))


#: Docker's grammar in one expression, as its documentation has it, for what is in the full form.
_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
GRAMMAR = re.compile(
    rf"((?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?)/({_PART}(?:/{_PART})*)"
    r"(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?"
)
PIECES = st.sampled_from(
    ["a", "b1", "A", "library", "localhost", "docker.io", "index.docker.io", "[::1]", "/", "/", ":", ":", "@", ".", "_", "__", "-", "--", "5000", "latest", "é", "\n", "%", "..", "sha256", "sha256:" + "0" * 64, "0" * 64, "f" * 63]
)  # fmt: skip
REFERENCES = st.one_of(
    st.from_regex(GRAMMAR, fullmatch=True, alphabet=st.characters(codec="ascii")),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(
            ["", "a.b/", "h:5000/", "localhost/", "[::1]:5000/", "A/", "index.docker.io/", "a_b.c/"]
        ),
        st.sampled_from(
            ["debian", "a/b", "a__b/c-d", "library/x", "a/b/c", "localhost/x", "a.b/c", "0" * 64, "a" * 250]
        ),
        st.sampled_from(["", ":1", ":A_.-", ":-", ":" + "t" * 129]),
        st.sampled_from(["", "", "@sha256:" + "a" * 64, "@sha256:" + "A" * 64, "@"]),
    ),
    st.lists(st.one_of(PIECES, st.text(max_size=2)), max_size=8).map("".join),
    wild.TEXT,
    st.integers(1, 1 << 12).map(lambda count: "a-" * count + "a"),
)


@given(text=wild.mostly(REFERENCES))
@example(text="a" * 255)
@example(text="[0]/0")
@example(text="[0]/0")
@example(text="docker.io/docker.io/x")
def test_references(text: Any) -> None:
    taken = False
    with guarded(InvalidArgument):
        found = Reference.parse(text)
        taken = True
        assert Reference.parse(str(found)) == Reference.parse(found.familiar) == found
        match = GRAMMAR.fullmatch(str(found))
        assert match is not None
        assert match.groups() == (found.registry, found.repository, found.tag, found.digest)
        assert len(found.repository) <= 255
        assert not {"..", ""} & set(found.repository.split("/"))
    if not taken and isinstance(text, str):
        # It is no name in its full form, either.
        match = GRAMMAR.fullmatch(text)
        first = text.split("/", maxsplit=1)[0]
        host = set(first) & {".", ":"} or first.lower() != first or first == "localhost"
        assert match is None or len(match[2]) > 247 or not host


SYSTEMS = st.one_of(
    st.from_regex(
        r"([a-z0-9_]{1,5}/){0,2}[a-z0-9_.-]{1,5}", fullmatch=True, alphabet=st.characters(codec="ascii")
    ),
    st.sampled_from(["linux/amd64", "arm", "a/b/c/d", "linux//", "٣/x"]),
    wild.TEXT,
)


@given(text=wild.mostly(SYSTEMS))
def test_platforms(text: Any) -> None:
    with guarded(InvalidArgument):
        found = Platform.parse(text)
        assert Platform.parse(str(found)) == found
        assert found.runs(found) or "unknown" in {found.os, found.architecture}
