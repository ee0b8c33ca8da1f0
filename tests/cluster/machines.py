"""Two machines on this one: network namespaces on a bridge, each with its own sshd, processes, home and /tmp/ray.

A process namespace each, since `ray stop` ends every Ray process that it sees; a mount namespace each for the
home of root, Ray's folder and shared memory; a host name each, so that a record says where it was made.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

NETWORK = f"10.213.{os.getpid() % 250}"  # two runs at once have one each
TOOLS = ("ip", "setpriv", "unshare", "mount", "ssh", "ssh-keygen", "rsync")
SSHD = Path("/usr/sbin/sshd")


class Machine(NamedTuple):
    """One of the machines: its address, the name in its records, and root's home there."""

    name: str
    ip: str
    home: Path
    init: subprocess.Popen[bytes]

    def cut(self) -> None:
        """Everything on it ends at once, as when the power goes; what it had written stays."""
        with suppress(ProcessLookupError):
            os.killpg(self.init.pid, signal.SIGKILL)
        self.init.wait()


def what_is_missing() -> str | None:
    """Why there can be no such machines here, or None."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None] + ([] if SSHD.exists() else [str(SSHD)])
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: openssh-server rsync iproute2)"
    probe = f"dgprobe{os.getpid()}"
    add = _run("ip", "netns", "add", probe, check=False)
    if add.returncode:
        return f"network namespaces are not allowed here: {add.stderr.strip()}"
    try:
        bridge = _run("ip", "-n", probe, "link", "add", "br0", "type", "bridge", check=False)
        inner = _run("ip", "netns", "exec", probe, *NAMESPACES, "true", check=False)
    finally:
        _run("ip", "netns", "delete", probe, check=False)
    for done, what in ((bridge, "a bridge"), (inner, "mount and process namespaces")):
        if done.returncode:
            return f"{what} cannot be made here: {done.stderr.strip()}"
    return None


NAMESPACES = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--uts",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


@contextmanager
def machines(folder: Path, names: Sequence[str]) -> Iterator[tuple[list[Machine], Path]]:
    """The machines, up and reachable from here as root with the key whose path comes with them."""
    key = folder / "key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    Path("/run/sshd").mkdir(exist_ok=True)
    bridge = f"dg{os.getpid()}"
    with ExitStack() as stack:
        _run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(_run, "ip", "link", "delete", bridge, check=False)
        _run("ip", "address", "add", f"{NETWORK}.1/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        up = [stack.enter_context(_machine(folder, bridge, name, i)) for i, name in enumerate(names)]
        for machine in up:
            _wait_for_ssh(machine, key)
        yield up, key


@contextmanager
def _machine(folder: Path, bridge: str, name: str, number: int) -> Iterator[Machine]:
    space, ip = f"{bridge}-{name}", f"{NETWORK}.{11 + number}"
    inside, outside = f"{bridge}i{number}", f"{bridge}o{number}"
    root = folder / name
    home = root / "home"
    for part in ("home", "ray"):
        (root / part).mkdir(parents=True)
    (home / "decoygrid-env").symlink_to(sys.prefix)
    for profile in (".bashrc", ".profile"):
        (home / profile).touch()
    with ExitStack() as stack:
        _run("ip", "netns", "add", space)
        stack.callback(_run, "ip", "netns", "delete", space, check=False)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
        stack.callback(_run, "ip", "link", "delete", outside, check=False)
        _run("ip", "link", "set", outside, "master", bridge, "up")
        _run("ip", "link", "set", inside, "netns", space)
        _run("ip", "-n", space, "address", "add", f"{ip}/24", "dev", inside)
        for link in ("lo", inside):
            _run("ip", "-n", space, "link", "set", link, "up")
        _run("ip", "-n", space, "route", "add", "default", "via", f"{NETWORK}.1")
        script = root / "start"
        script.write_text(_start(root, name, folder / "key.pub"))
        with (root / "sshd.log").open("wb") as log:
            command = ["ip", "netns", "exec", space, *NAMESPACES, "bash", "-e", str(script)]
            init = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        machine = Machine(name, ip, home, init)
        stack.callback(machine.cut)
        yield machine


def _start(root: Path, name: str, public_key: Path) -> str:
    """What a machine runs when it comes up; its last line is its first process."""
    passwd = Path("/etc/passwd").read_text().splitlines()
    fields = [line.split(":") for line in passwd]
    own = [":".join([*f[:5], str(root / "home"), "/bin/bash"]) if f[0] == "root" else ":".join(f) for f in fields]
    (root / "passwd").write_text("\n".join(own) + "\n")
    (root / "authorized_keys").write_text(public_key.read_text())
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "host_key"))
    config = {
        "HostKey": root / "host_key",
        "AuthorizedKeysFile": root / "authorized_keys",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "PermitUserEnvironment": "no",
        "MaxStartups": 100,
    }
    (root / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    return f"""hostname {name}
mount --bind {root}/passwd /etc/passwd
mkdir -p /tmp/ray
mount --bind {root}/ray /tmp/ray
mount -t tmpfs -o size=1g tmpfs /dev/shm
exec {SSHD} -D -e -f {root}/sshd_config
"""


def _wait_for_ssh(machine: Machine, key: Path) -> None:
    deadline = time.monotonic() + 20
    while (done := over_ssh(machine, key, "true")).returncode:
        log = (machine.home.parent / "sshd.log").read_text()
        assert machine.init.poll() is None, log
        assert time.monotonic() < deadline, f"{machine.name} cannot be reached: {done.stderr}\n{log}"
        time.sleep(0.1)


def over_ssh(machine: Machine, key: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command on a machine, as its root."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=3")
    flags = [part for option in options for part in ("-o", option)]
    return _run("ssh", "-i", str(key), *flags, f"root@{machine.ip}", command, check=False)


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done
