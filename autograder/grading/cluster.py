"""Dask for a grading run: a cluster inside this process, or one that runs already.

The one inside this process is a Dask worker with some threads, and opens no port.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import secrets
import tempfile
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import dask
from distributed import (
    Client,
    Future,
    KilledWorker,
    Scheduler,
    Security,
    SpecCluster,
    Worker,
    wait,
)
from distributed.comm.addressing import parse_address, parse_host_port

from autograder.grading import pool
from autograder.grading.state import Refused
from autograder.sandbox.error_lines import one_line
from autograder.sandbox.launcher import SandboxUnavailable

# Submissions that are under way, for each thread: the next one is there when a thread
# gets free, and no more of them are in memory.
AHEAD = 2
LOOK_EVERY = 5.0
CONNECT_SECONDS = 30.0
# The clock of a machine may jump. In one process, no worker can get lost by that.
ONE_PROCESS = {"distributed.scheduler.worker-ttl": None}
Key = TypeVar("Key")


@dataclass(frozen=True)
class Where:
    """Where submissions are graded.

    Attributes:
        workers: Here, so many at a time.
        address: Of the scheduler of a cluster that runs already, or "".
        ca_file: The certificate of whoever signed the cluster's certificates.
        certificate: Our own certificate for the cluster.
        key: The key of our own certificate.
    """

    workers: int
    address: str = ""
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None


@contextlib.contextmanager
def opened(
    where: Where, settings: dict[str, Any], say: Callable[[str], None]
) -> Iterator[Workers]:
    """Connect to a cluster, or start one in this process.

    Args:
        where: Where submissions are graded.
        settings: What each worker process is told at its start.
        say: Is called with a line where something is not as it should be.

    Raises:
        Refused: There is no cluster at the address, or others could listen to it.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        _remote(where) if where.address else _local(where.workers) as client,
        Workers(client, settings, say) as workers,
    ):
        yield workers


class _NoPort:
    def start_http_server(self, *_: Any, **__: Any) -> None:
        """Dask would open a port here, even without its dashboard."""


class _Scheduler(_NoPort, Scheduler):
    pass


class _Worker(_NoPort, Worker):
    pass


@contextlib.contextmanager
def _local(threads: int) -> Iterator[Client]:
    with (
        # Dask looks for this machine's address, and warns where there is no network.
        warnings.catch_warnings(action="ignore", category=RuntimeWarning),
        tempfile.TemporaryDirectory() as folder,
        dask.config.set(ONE_PROCESS),
        SpecCluster(
            scheduler={
                "cls": _Scheduler,
                "options": {"protocol": "inproc", "dashboard": False},
            },
            workers={
                0: {
                    "cls": _Worker,
                    "options": {
                        "nthreads": threads,
                        "memory_limit": 0,  # Dask must not pause us
                        "local_directory": folder,
                        "dashboard": False,
                    },
                }
            },
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _remote(where: Where) -> Iterator[Client]:
    protocol, _ = parse_address(where.address)
    if protocol != "tls" and not _stays_here(where.address):
        raise Refused(
            f"{where.address} would send submissions and grades over the network in the"
            " clear: give the cluster certificates, and the address as tls://HOST:PORT"
            " (only a scheduler on this machine's own 127.0.0.1 needs none)"
        )
    security = Security(
        tls_ca_file=where.ca_file,
        tls_client_cert=where.certificate,
        tls_client_key=where.key,
        require_encryption=protocol == "tls",
    )
    try:
        client = Client(
            where.address,
            security=security,
            timeout=CONNECT_SECONDS,
        )
    except (OSError, TimeoutError, TypeError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refused(f"no Dask scheduler answers at {where.address}: {why}") from None
    with client:
        _check(client.scheduler_info()["address"])
        yield client


def _stays_here(address: str) -> bool:
    """Whether what is sent to an address never leaves this machine."""
    protocol, place = parse_address(address)
    if protocol == "inproc":
        return True
    host = parse_host_port(place, 8786)[0]
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return bool(host == "localhost")


def _check(address: str) -> None:
    """Refuse a part of a cluster that others in the network can listen to or call."""
    if not address.startswith("tls://") and not _stays_here(address):
        raise Refused(
            f"a part of the cluster listens at {address}, where the whole network can"
            " reach it: start it with certificates (--protocol tls), or, all on one"
            " machine, with --host 127.0.0.1"
        )


class Workers:
    """The cluster's workers, for one run; a context manager.

    Args:
        client: The cluster's.
        settings: What each worker process is told at its start.
        say: Is called with a line where something is not as it should be.
    """

    def __init__(
        self, client: Client, settings: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self._client, self._say = client, say
        self._run, self._settings = secrets.token_hex(8), json.dumps(settings)
        self._unfit: dict[str, str] = {}
        self._waits = False  # whether it was said that there is no worker

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        pool.close(self._run)  # in this process
        with contextlib.suppress(Exception):  # the cluster may have gone
            self._client.run(pool.close, self._run)

    def answers(
        self, asks: Iterable[tuple[Key, dict[str, Any]]]
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Have submissions graded, a few at a time.

        Args:
            asks: Something that names a submission, and what ``Worker.grade`` takes.

        Yields:
            What names a submission, and what ``Worker.grade`` returned, in any order.

        Raises:
            SandboxUnavailable: No worker can grade; the message says why.
            Refused: The cluster has gone, or others could listen to it.
        """
        waiting: dict[Future, tuple[Key, dict[str, Any]]] = {}
        left = iter(asks)
        while True:
            threads = self._threads()
            while len(waiting) < AHEAD * (sum(threads.values()) or 1):
                if (next_one := next(left, None)) is None:
                    break
                waiting[self._asked(next_one[1])] = next_one
            if not waiting:
                return
            for future in _done(waiting):
                key, order = waiting.pop(future)
                answer = _answer(future)
                if "unfit" in answer:
                    known = answer["address"] in self._unfit
                    self._unfit[answer["address"]] = answer["unfit"]
                    waiting[self._asked(order)] = key, order
                    if not known:
                        self._say(f"{answer['address']}: {answer['unfit']}")
                else:
                    yield key, answer

    def _threads(self) -> dict[str, int]:
        threads: dict[str, int] = self._client.nthreads()
        for address in threads:
            _check(address)
        if not threads and not self._waits:
            self._say("the cluster has no worker yet: waiting for one")
        self._waits = not threads
        return threads

    def _asked(self, order: dict[str, Any]) -> Future:
        given: dict[str, Any] = {}
        if self._unfit:
            fit = [address for address in self._threads() if address not in self._unfit]
            why = "; ".join(dict.fromkeys(self._unfit.values()))
            if not fit:
                raise SandboxUnavailable(why)
            given = {"workers": fit, "allow_other_workers": True}
        text = json.dumps(order)
        return self._client.submit(
            pool.grade, self._run, self._settings, text, pure=False, **given
        )


def _done(waiting: Iterable[Future]) -> list[Future]:
    try:
        return list(wait(list(waiting), LOOK_EVERY, "FIRST_COMPLETED").done)
    except TimeoutError:
        return []
    except CancelledError:
        raise Refused("the cluster has gone") from None


def _answer(future: Future) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(future.result())
    except KilledWorker:
        why = "each worker of the cluster that was asked for it died"
        return {"status": "grader-error", "message": why, "seconds": 0.0}
    except (Exception, CancelledError) as error:
        why = one_line(f"{type(error).__name__}: {error}")
        raise Refused(f"the cluster's workers can't grade: {why}") from None
    return answer
