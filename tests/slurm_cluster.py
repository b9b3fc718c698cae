"""A Slurm on loopback for tests, started without systemd: two nodes on this machine, each with two GPUs that do not exist."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.conftest import DEADLINE

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# A requeued job waits until the credentials of its first start have expired, by default for two minutes. The first name of a
# node is that of the machine, which the processes of a run resolve.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr={address} Port={ports[1]} CPUs=2 Gres=gpu:2
NodeName={host}-second NodeHostname={host} NodeAddr={address} Port={ports[2]} CPUs=2 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""


def missing() -> str | None:
    """Reason why no Slurm can be started on this machine; None if one can."""
    absent = [daemon for daemon in DAEMONS if shutil.which(daemon, path=PATH) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian packages slurm-wlm and munge)"
    try:
        socket.gethostbyname(_host())
    except OSError:
        return f"host name {_host()} has no address"
    return None


class Cluster:
    """A running Slurm."""

    def __init__(self, folder: Path):
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def run(self, *command: str) -> str:
        """Standard output of a command. Raises CalledProcessError."""
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=self.environment, timeout=DEADLINE)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """State of a job that has not been removed yet, such as RUNNING."""
        return self.details(job)["JobState"]

    def details(self, job: str) -> dict[str, str]:
        """What `scontrol show job` prints on a job: values by name."""
        words = self.run("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Context with a running Slurm, which cancels all jobs at the end. `folder` gets its configuration, state and logs.

    Raises RuntimeError if a process of it was left at the end; it has been killed.
    """
    values = {"folder": folder, "host": _host(), "address": socket.gethostbyname(_host()), "user": getpass.getuser()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values, ports=_free_ports(3)))
    (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={folder}/gpu[0-1]\n")
    for number in range(2):
        (folder / f"gpu{number}").touch()
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(os.urandom(128))
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()]
    started = Cluster(folder)
    try:
        with ExitStack() as daemons:
            daemons.enter_context(_daemon("munged", "--foreground", "--force", *munge, cluster=started))
            wait_until((folder / "munge.socket").exists)
            daemons.enter_context(_daemon("slurmctld", "-D", cluster=started))
            for node in (_host(), f"{_host()}-second"):
                daemons.enter_context(_daemon("slurmd", "-D", "-N", node, cluster=started))
            wait_until(lambda: started.run("sinfo", "--noheader", "--states", "idle", "--format", "%D") == "2")
            try:
                yield started
            finally:
                started.run("scancel", "--user", getpass.getuser())
                wait_until(lambda: not started.run("squeue", "--noheader"))
    finally:
        left = _kill_left(folder)
    if left:
        raise RuntimeError(f"processes were left: {left}")


def wait_until(condition: Callable[[], object]) -> None:
    """Returns when `condition` is true; counts a failed command as false. Raises TimeoutError."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with suppress(subprocess.CalledProcessError):
            if condition():
                return
        time.sleep(0.2)
    raise TimeoutError


@contextmanager
def _daemon(name: str, *options: str, cluster: Cluster) -> Iterator[None]:
    """Context with a process in the foreground, which ends by SIGTERM."""
    folder = Path(cluster.environment["SLURM_CONF"]).parent
    with (folder / "daemons.log").open("ab") as log:
        process = subprocess.Popen(
            [shutil.which(name, path=PATH) or name, *options], stdout=log, stderr=log, env=cluster.environment
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _kill_left(folder: Path) -> list[str]:
    """Kills the processes that have this Slurm in their environment; returns their command lines."""
    mark, left = f"SLURM_CONF={folder}/slurm.conf".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is of another user
            if mark in (process / "environ").read_bytes().split(b"\0"):
                left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                os.kill(int(process.name), signal.SIGKILL)
    return left


def _host() -> str:
    """Name of this machine as Slurm compares it."""
    return socket.gethostname().partition(".")[0]


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
