"""How bytes become text and back: the encoding, the error rule, universal newlines.

The rules are those of ``subprocess``, with one difference: the default encoding is UTF-8
and not the host's locale, which says nothing about what runs in a container.
"""

from __future__ import annotations

import codecs
import io

import attrs

from pycontainer.errors import InvalidArgument


@attrs.frozen
class Text:
    """The text mode of a stream.

    ``errors`` is a handler as for ``bytes.decode``: with ``"strict"`` a program that writes other
    bytes makes the reading fail with ``UnicodeDecodeError``; for a program that is not trusted
    ``"replace"`` or ``"backslashreplace"`` is the better choice.

    >>> Text().decode(b"a\\r\\nb")
    'a\\nb'
    """

    encoding: str = "utf-8"
    errors: str = "strict"

    @classmethod
    def choose(cls, text: bool | None, encoding: str | None, errors: str | None) -> Text | None:
        """Return the mode that arguments in the manner of ``subprocess.run`` ask for; ``None`` is bytes.

        Either of ``encoding`` and ``errors`` turns text mode on. Raises ``InvalidArgument`` for a name
        that Python does not know, and for ``text=False`` beside one of them.
        """
        if encoding is None and errors is None:
            return cls() if text else None
        if text is False:
            raise InvalidArgument("text", text, "encoding and errors are for text")
        mode = cls(encoding or "utf-8", errors or "strict")
        try:
            # As bytes.decode looks: codecs has also those that make bytes of bytes, such as "hex".
            b"".decode(mode.encoding)
            "".encode(mode.encoding)
            codecs.getincrementaldecoder(mode.encoding)(mode.errors).decode(b"")
        except (LookupError, ValueError):
            raise InvalidArgument("encoding", encoding, "Python knows no such encoding of text") from None
        try:
            codecs.lookup_error(mode.errors)(UnicodeDecodeError(mode.encoding, b"\xff", 0, 1, "for a try"))
        except UnicodeDecodeError:
            pass  # "strict", and those that some bytes are too much for
        except (LookupError, ValueError, TypeError):
            raise InvalidArgument(
                "errors", errors, "Python knows no such handler of what is no text"
            ) from None
        return mode

    def decode(self, data: bytes | bytearray, *, cut: bool = False) -> str:
        r"""Decode a whole output; ``\r\n`` and ``\r`` become ``\n``.

        With ``cut`` the data is the head of something longer: a character that the cut has split is
        left out. Raises ``UnicodeDecodeError`` as ``errors`` says.
        """
        if cut:
            text = codecs.getincrementaldecoder(self.encoding)(self.errors).decode(data, final=False)
        else:
            text = data.decode(self.encoding, self.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def encode(self, text: str) -> bytes:
        """Encode what goes to a program; newlines stay as they are."""
        return text.encode(self.encoding, self.errors)

    def decoder(self) -> io.IncrementalNewlineDecoder:
        """Return a decoder for chunks that may split characters and line ends anywhere."""
        return io.IncrementalNewlineDecoder(
            codecs.getincrementaldecoder(self.encoding)(self.errors), translate=True
        )
