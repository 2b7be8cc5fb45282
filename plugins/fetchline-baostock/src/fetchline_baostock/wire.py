"""One connection to baostock's server: a question, its whole answer, within a time limit, or an error.

A question is ``header + body + "\\1" + crc32 + "\\n"``, an answer ``header + body + "<![CDATA[]]>\\n"``. The header
is 21 characters, ``version "\\1" type "\\1" length``; the bodies of some types are compressed. Nothing in an answer
says which question it is to, so a connection on which anything went wrong is closed: what might still arrive on it
would be taken for the answer to the next question.
"""

from __future__ import annotations

import os
import socket
import time
import zlib

from fetchline.errors import AttemptTimeout, WrongAnswer

__all__ = ["HEADER", "SPLIT", "Wire"]

HEADER = 21
SPLIT = "\1"
END = b"<![CDATA[]]>\n"
_ERROR = "04"
_CHUNK = 1 << 16


class Wire:
    """An open connection, for one question at a time.

    Args:
        host: the server's name or address.
        port: its port.
        connect_timeout: seconds until there is a connection.
        timeout: seconds from a question to the last byte of its answer.
        compressed: types of answers whose body is compressed.

    Raises:
        OSError: there is no connection.
    """

    def __init__(
        self, host: str, port: int, *, connect_timeout: float, timeout: float, compressed: frozenset[str]
    ) -> None:
        self.timeout = timeout
        self._where = f"{host}:{port}"
        self._compressed = compressed
        self._pid = os.getpid()
        self._socket: socket.socket | None = socket.create_connection((host, port), connect_timeout)

    def close(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()

    def usable(self) -> bool:
        """Whether a question may be asked: the connection stands, and nothing that was not asked for has arrived."""
        if self._socket is None:
            return False
        if self._pid != os.getpid():
            self.close()  # this process's copy of it; whose it is goes on
            return False
        self._socket.setblocking(False)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass  # it broke while nobody looked
        self.close()
        return False

    def ask(self, question: str) -> str:
        """Send a question, and give its answer as baostock's own ``send_msg`` does.

        Raises:
            AttemptTimeout: the answer was not there in time.
            ConnectionError: the connection ended before the answer did.
            WrongAnswer: what came is no answer to this.
        """
        opened, began = self._socket, time.monotonic()
        if opened is None:
            raise ConnectionResetError(f"the connection to {self._where} is closed")
        try:
            opened.settimeout(self.timeout)
            opened.sendall(f"{question}\n".encode())
            answer = self._receive(opened, began + self.timeout)
            return self._read(answer, question.split(SPLIT, 2)[1])
        except TimeoutError as error:
            self.close()
            raise AttemptTimeout(f"{self._where} did not answer within {self.timeout:g} s") from error
        except BaseException:
            self.close()
            raise

    def _receive(self, opened: socket.socket, deadline: float) -> bytearray:
        answer = bytearray()
        while not self._is_whole(answer):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            opened.settimeout(left)
            chunk = opened.recv(_CHUNK)
            if not chunk:
                raise ConnectionResetError(
                    f"{self._where} closed the connection after {len(answer)} bytes of an answer"
                )
            answer += chunk
        return answer

    def _is_whole(self, answer: bytearray) -> bool:
        if not answer.endswith(END):
            return False
        # Compressed bytes may look like the end by chance.
        length = self._compressed_length(answer)
        return length is None or len(answer) >= HEADER + length + len(END)

    def _compressed_length(self, answer: bytearray) -> int | None:
        """Bytes of the compressed body; None if it is not compressed."""
        _, kind, length = _header(answer)
        return int(length) if kind in self._compressed else None

    def _read(self, answer: bytearray, asked: str) -> str:
        _, kind, _ = _header(answer)
        length = self._compressed_length(answer)
        if END in answer[HEADER + (length or 0) : -len(END)]:
            raise WrongAnswer(f"{self._where} sent two answers to one question")
        if length is None:
            text = answer.decode()
        else:
            try:
                body = zlib.decompress(answer[HEADER : HEADER + length])
            except zlib.error as error:
                raise WrongAnswer(f"{self._where} sent a body that does not unpack: {error}") from error
            text = (answer[:HEADER] + body).decode()
        if kind != _answering(asked) and (kind != _ERROR or text[HEADER:].startswith(f"0{SPLIT}")):
            raise WrongAnswer(
                f"{self._where} sent an answer of type {kind} to a question of type {asked}: another's"
            )
        return text


def _header(answer: bytearray) -> tuple[str, str, str]:
    parts = answer[:HEADER].decode(errors="replace").split(SPLIT)
    if len(parts) != 3 or not parts[2].isdecimal():
        raise WrongAnswer(f"what came is no answer of baostock's: it begins with {bytes(answer[:HEADER])!r}")
    return parts[0], parts[1], parts[2]


def _answering(asked: str) -> str:
    """The type that answers a type; it is the next one.

    >>> _answering("29"), _answering("9A")
    ('30', '9B')
    """
    return f"{int(asked) + 1:02}" if asked.isdecimal() else asked[0] + chr(ord(asked[1]) + 1)
