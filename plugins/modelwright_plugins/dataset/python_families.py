"""The standard library's modules by what they are for: the labels of the data set `python-docs`."""

from __future__ import annotations

# A module that is not listed belongs to OTHER. Nine families of roughly equal size.
REFERENCE = "reference"
OTHER = "runtime"

FAMILIES: dict[str, str] = {
    "concurrency": """
        asyncio concurrent contextvars multiprocessing queue sched selectors signal subprocess
        threading _threading_local
    """,
    "data": """
        _collections_abc _pydecimal _pylong _strptime _pydatetime _weakrefset bisect calendar
        collections colorsys copy copyreg datetime dbm decimal fractions graphlib hashlib heapq
        hmac numbers pickle pickletools random secrets shelve sqlite3 statistics uuid weakref
        zoneinfo
    """,
    "development": """
        bdb cProfile compileall doctest lib2to3 logging modulefinder pdb profile profiling
        pstats py_compile pyclbr pydoc symtable tabnanny timeit trace traceback tracemalloc
        unittest warnings
    """,
    "files": """
        _aix_support _android_support _apple_support _osx_support _pyio bz2 compression
        _compression distutils ensurepip filecmp fileinput fnmatch genericpath getpass glob gzip
        io linecache lzma nturl2path ntpath os pathlib platform posixpath shutil site stat
        sysconfig tarfile tempfile venv zipapp zipfile zipimport
    """,
    "interface": """
        _pyrepl argparse cmd curses getopt optparse rlcompleter tkinter turtle
    """,
    "networking": """
        asynchat asyncore cgi cgitb ftplib http imaplib ipaddress nntplib poplib smtpd smtplib
        socket socketserver ssl telnetlib urllib webbrowser wsgiref xmlrpc
    """,
    "runtime": """
        __future__ _py_abc abc ast builtins code codeop contextlib ctypes dataclasses dis enum
        functools importlib inspect keyword operator pkgutil reprlib runpy types typing
    """,
    "text": """
        _markupbase base64 codecs configparser csv difflib email encodings gettext html json
        locale mailbox mailcap mimetypes plistlib pprint quopri re string stringprep textwrap
        token tokenize tomllib xml
    """,
}

_FAMILY_OF = {module: family for family, modules in FAMILIES.items() for module in modules.split()}


def family_of(module: str) -> str:
    """The family of a top-level module or package, such as `networking` for `http`."""
    return _FAMILY_OF.get(module, OTHER)
