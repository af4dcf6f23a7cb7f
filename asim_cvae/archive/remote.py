"""Files at an address, as ``s3://BUCKET/FOLDER``: whatever fsspec reads.

Addresses hold no secrets, as they stand in settings, tables and messages: fsspec takes these from the environment.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from asim_cvae.archive.variables import UnusableError
from asim_cvae.base.errors import InputError, did_you_mean, first_line, without_secrets
from asim_cvae.instrument.observation import RejectedFileError

LARGEST_FETCHED = 10**9
"""Most bytes of a file that is fetched; MMIA's largest have some tens of millions."""

_BLOCK = 2**23  # bytes at a time
_UNKNOWN = -1  # size that a listing does not tell
_WEB = ("http", "https")
_REFUSALS = ("AccessDenied", "AllAccessDisabled", "NoSuchKey", "403", "404")  # of S3
_REFUSED = (401, 403, 404, 410)  # of HTTP
_CONTENT = ("ETag", "etag", "generation", "md5Hash", "Content-MD5", "Digest", "sha")
"""Details that tell versions of a file by themselves, in the words of several file systems."""

_CHANGE = ("ino", "created", "Last-Modified")
"""Details that tell versions together with the modification time."""

_MODIFIED = ("mtime", "LastModified", "last_modified", "modified", "updated")
"""Names of the modification time: a time, or seconds since 1970."""


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder at an address.

    Attributes:
        address: without a slash at its end, and without secrets.
    """

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """The last part of the address."""
        return [part for part in self.address.split("/") if part][-1]

    @property
    def protocol(self) -> str:
        """The address's first part, as ``s3``."""
        return self.address.partition("://")[0]

    def system(self) -> Any:
        """Return the file system of fsspec, which keeps no listings.

        Raises:
            ImportError: a package is missing.
            Exception: whatever the file system raises where it cannot be reached.
        """
        import fsspec  # takes a sixth of a second to import

        options = fsspec.get_filesystem_class(self.protocol)._get_kwargs_from_urls(self.address)
        system = fsspec.filesystem(self.protocol, **options)
        if isinstance(system.dircache, fsspec.spec.DirCache):  # millions of files; and it would hide changes
            system.dircache.use_listings_cache = False
        system.invalidate_cache()
        return system

    def path(self, inside: str = "") -> str:
        """Path of a file or folder in it, as the file system calls it."""
        import fsspec

        top = fsspec.get_filesystem_class(self.protocol)._strip_protocol(self.address).rstrip("/")
        return f"{top}/{inside}".rstrip("/") or "/"

    def check(self) -> None:
        """Make sure that it is there, by a request or two.

        Raises:
            InputError: it is not, or cannot be reached.
        """
        try:
            kind = self.system().info(self.path())["type"]
        except ImportError as error:
            advice = "; pip install '.[remote]' in a clone brings it" if self.protocol in ("s3", "s3a") else ""
            raise InputError(f"{self}: a package is missing ({first_line(error)}){advice}") from error
        except FileNotFoundError as error:
            why = f" ({_cause(error)})" if error.__cause__ else ""
            raise InputError(f"{self}: no such folder, or nothing is in it{why}") from error
        except Exception as error:
            raise InputError(f"{self}: cannot be reached ({_cause(error)})") from error
        if kind == "file" and self.protocol not in _WEB:  # which know no folders
            raise InputError(f"{self}: is a file; give the folder that it is in")

    def files(self, unreadable: list[RejectedFileError]) -> Iterator["RemoteFile"]:
        """Yield its files and those of its subfolders, except hidden ones and those in hidden folders.

        A request a folder, or a thousand files, gives their details too. Folders that may not be read are added to
        ``unreadable``.

        Raises:
            InputError: it cannot be listed. A part of the files is no list: others would count as deleted.
        """
        top = f"{self.path().rstrip('/')}/"
        waiting, seen = [""], set()
        while waiting:
            for entry in self._entries(waiting.pop(), unreadable):
                inside = entry["name"].rstrip("/").removeprefix(top)
                file = RemoteFile(self, inside, *_details(entry))
                if not entry["name"].startswith(top) or any(part[:1] in "." for part in file.parts) or inside in seen:
                    continue  # a page links to anything, and a store lists the folder itself
                if entry["type"] == "directory":
                    seen.add(inside)
                    waiting.append(inside)
                else:
                    yield file

    def _entries(self, inside: str, unreadable: list[RejectedFileError]) -> list[Mapping[str, Any]]:
        """Return what is in a subfolder, with details."""
        try:
            return self.system().ls(self.path(inside), detail=True)  # type: ignore[no-any-return]
        except ImportError:
            raise
        except Exception as error:
            if inside and is_refusal(error):
                unreadable.append(unreadable_folder(inside, _cause(error)))
                return []
            raise InputError(f"{self}: cannot be listed ({_cause(error)}); try again") from error


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in such a folder, as it was when it was looked at.

    Attributes:
        folder: the folder.
        inside: its path in the folder, as the file system spells it.
        size: in bytes; -1 if the listing did not tell.
        mtime_ns: modification time in ns, 0 if unknown.
        version: number that tells this version of it from others, from its ETag, checksum or the like; 0 if unknown.
    """

    folder: RemoteFolder
    inside: str
    size: int = _UNKNOWN
    mtime_ns: int = 0
    version: int = 0

    def __str__(self) -> str:
        return f"{self.folder}/{self.inside}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the folders that it is in, and its own."""
        return tuple((unquote(self.inside) if self.folder.protocol in _WEB else self.inside).split("/"))

    @property
    def name(self) -> str:
        """Its name."""
        return self.parts[-1]

    @property
    def is_known(self) -> bool:
        """Whether the listing told what it is and how large."""
        return self.size != _UNKNOWN

    def is_file(self) -> bool:
        """Whether it is known to be a file."""
        return self.is_known

    def looked_up(self) -> "RemoteFile":
        """Return it as it is now.

        Raises:
            RejectedFileError: it cannot be looked at, or is no file.
        """
        try:
            info = self.folder.system().info(self.folder.path(self.inside))
        except ImportError:
            raise
        except Exception as error:
            raise self._not_fetched(_cause(error)) from error
        if info["type"] != "file":
            raise RejectedFileError(self.name, "not a regular file")
        now = RemoteFile(self.folder, self.inside, *_details(info))
        if not now.is_known:
            raise self._not_fetched("its size is not told")
        return now

    @contextmanager
    def fetched(self) -> Iterator[BinaryIO]:
        """Fetch it as a whole into a temporary file without a name, which ends with the block or the process.

        Raises:
            RejectedFileError: it cannot be fetched, which is not its own fault.
            UnusableError: it is too large.
        """
        if self.size > LARGEST_FETCHED:
            raise UnusableError(f"{self.size} bytes, and files beyond {LARGEST_FETCHED // 10**6} MB are not fetched")
        with tempfile.TemporaryFile() as copy:
            try:
                self._fetch(copy)
            except ImportError:
                raise
            except Exception as error:
                raise self._not_fetched(_cause(error)) from error
            if copy.tell() != self.size:
                raise self._not_fetched(f"not the {self.size} bytes of its listing came")
            copy.seek(0)
            yield copy

    def _fetch(self, copy: Any) -> None:
        """Copy it, and a byte at most beyond the size that it has."""
        left = self.size + 1
        with self.folder.system().open(self.folder.path(self.inside), "rb", block_size=_BLOCK) as stream:
            while left and (part := stream.read(min(left, _BLOCK))):
                copy.write(part)
                left -= len(part)

    def _not_fetched(self, why: str) -> RejectedFileError:
        return RejectedFileError(self.name, f"cannot be fetched ({why})", transient=True)


Root = Path | RemoteFolder
"""A folder of files, here or elsewhere."""

Place = Path | RemoteFile
"""A file, here or elsewhere."""


def as_root(text: str) -> Root:
    """Return the folder that a setting names, by path or address; nothing is looked at.

    Raises:
        InputError: it is an address that cannot be used, or that holds a secret.
    """
    protocol, is_address, rest = text.partition("://")
    if not is_address:
        return Path(text).expanduser()
    import fsspec

    hidden = f"{protocol}://..."
    if "::" in text:
        raise InputError(f"{protocol.rpartition('::')[2]}://...: chained addresses (::) are not read")
    if protocol not in {*fsspec.available_protocols(), *fsspec.registry}:
        raise InputError(
            f"{hidden}: no protocol that fsspec knows{did_you_mean(protocol, fsspec.available_protocols())}"
        )
    if not rest:
        raise InputError(f"{text}: names no folder; give {protocol}://PLACE/FOLDER")
    if "?" in rest:
        raise InputError(f"{hidden}: what follows a question mark may be a key, and is not read; see docs/remote.md")
    try:
        parts = urlsplit(text)
        is_secret = parts.password is not None or (protocol in _WEB and parts.username is not None)
        _ = parts.port  # a password with a slash in it ends up here
    except ValueError as error:
        raise InputError(f"{hidden}: what is before the first slash is no host or bucket") from error
    if is_secret:
        raise InputError(f"{hidden}: passwords in addresses are seen by others; see docs/remote.md for a place for it")
    return RemoteFolder(text.rstrip("/") if rest.strip("/") else text)


def is_refusal(error: BaseException | None) -> bool:
    """Whether an error says that a file or folder is not there or may not be read, and no more.

    Stores say that a key has expired by the same kind of error, and web servers that they are overloaded.
    """
    cause = error.__cause__ if error is not None and error.__cause__ is not None else error
    code = getattr(cause, "response", {})  # botocore's
    code = code.get("Error", {}).get("Code") if isinstance(code, dict) else None
    if code is not None:
        return code in _REFUSALS
    status = getattr(cause, "status", None)  # aiohttp's
    return status in _REFUSED if status is not None else isinstance(error, PermissionError | FileNotFoundError)


def unreadable_folder(place: str, why: str) -> RejectedFileError:
    """Say that a folder cannot be read."""
    return RejectedFileError(place, f"the folder cannot be read ({why}), and no file in it is used; make it readable")


def _cause(error: Exception) -> str:
    """Say in a line what went wrong: what lies behind a file that is not found, where that is told."""
    is_bare = isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception)
    return without_secrets(first_line(error.__cause__ if is_bare and error.__cause__ else error))


def _details(info: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return size, modification time in ns and version, which are equal by listing and by request."""
    size = info.get("size")
    if info["type"] != "file" or not isinstance(size, int):
        return _UNKNOWN, 0, 0
    modified = next((_ns(info[name]) for name in _MODIFIED if name in info), 0)
    content = [f"{name.lower()} {_text(info[name])}" for name in _CONTENT if info.get(name)]
    if content:  # stores give times in ms in one answer and in seconds in another
        return size, modified - modified % 10**9, _number(content)
    return size, modified, _number([f"{name} {_text(info[name])}" for name in _CHANGE if info.get(name)])


def _ns(value: Any) -> int:
    """Return a time in ns since 1970, 0 if it is none that fits into 64 bits."""
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    ns = round(value * 1e6) * 1000 if isinstance(value, int | float) else 0  # more than a double holds is chance
    return ns if 0 <= ns < 2**63 else 0


def _text(value: Any) -> str:
    return str(_ns(value)) if isinstance(value, datetime | float) else str(value).strip('"')


def _number(lines: list[str]) -> int:
    """Return a number of 63 bits that stands for text; 0 for none."""
    digest = hashlib.sha256("\n".join(lines).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1 if lines else 0
