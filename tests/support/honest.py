"""What honest notebooks do: each cell asserts that it worked.

``test_seccomp`` runs them under the filter. ``python tests/support/honest.py`` lists
what system calls they and the solutions of the five problems make: how often, with
which of the arguments that the filter looks at, and EPERM or ENOSYS if it was refused.
It needs strace (apt-get install strace), which sees a call before the filter does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

CELLS = {
    "the shell": """
%matplotlib inline
%load_ext autoreload
%autoreload 2
import asyncio
assert await asyncio.sleep(0.01, 3) == 3
%time total = sum(range(10))
assert total == 45
!ls
listed = !ls
display({"total": total})
total
""",
    "figures": """
import io
import numpy as np
import matplotlib.pyplot as plt
plt.plot(np.arange(9) ** 2)
plt.imshow(np.eye(3), cmap="magma")
plt.tight_layout()
plt.savefig("figure.png")
plt.savefig("figure.pdf")
assert plt.imread("figure.png").ndim == 3
plt.show()
plt.close("all")
""",
    "images": """
from PIL import Image
image = Image.fromarray((np.random.rand(32, 32, 3) * 255).astype("uint8"))
for ending in ("png", "jpg", "gif"):
    image.resize((16, 16)).save("image." + ending)
    assert Image.open("image." + ending).size == (16, 16)
import chapter4
assert Image.open(chapter4.sample_photo("cat")).convert("RGB").size
""",
    "tables": """
import pandas as pd
pd.DataFrame({"a": range(99), "b": list("abc") * 33}).to_csv("table.csv", index=False)
table = pd.read_csv("table.csv")
assert table.groupby("b").a.sum()["c"] == 1650
""",
    "learning": """
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
x = np.random.randn(90, 3)
search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, n_jobs=1)
assert search.fit(x, x[:, 0] > 0).score(x, x[:, 0] > 0) > 0.8
import scipy.optimize, scipy.ndimage, skimage.filters
assert scipy.optimize.minimize(lambda x: (x**2).sum(), [1.0, 2.0]).success
assert skimage.filters.gaussian(np.eye(9)).shape == (9, 9)
""",
    "training": """
import torch
from torch.utils.data import DataLoader, TensorDataset
layers = torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
model = torch.nn.Sequential(*layers)
optimizer = torch.optim.Adam(model.parameters())
data = TensorDataset(torch.randn(64, 8), torch.randn(64, 1))
for x, y in DataLoader(data, batch_size=8, shuffle=True, num_workers=2):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
torch.save(model.state_dict(), "model.pt")
torch.load("model.pt", mmap=True)
model.load_state_dict(torch.load("model.pt"))
torch.jit.trace(model, torch.randn(1, 8)).save("traced.pt")
assert torch.jit.load("traced.pt")(torch.ones(1, 8)).shape == (1, 1)
""",
    "threads of torch": """
torch.set_num_threads(2)
big = torch.randn(700, 700)
kernels = torch.randn(4, 1, 5, 5)
assert torch.nn.functional.conv2d(big[None, None], kernels).sum().isfinite()
assert (big @ big).sum().isfinite() and torch.linalg.svd(big[:99, :99]).S[0] > 0
assert (np.random.rand(500, 500) @ np.random.rand(500, 500)).sum() > 0
torch.set_num_threads(1)
""",
    "networks that are here, and one that is not": """
import chapter4
with torch.no_grad():
    assert chapter4.load_classifier()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
network, tokenizer = chapter4.load_bert()
words = tokenizer("The cat sat", return_tensors="pt")
assert network(**words).last_hidden_state.ndim == 3
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel
sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
sizes |= {"intermediate_size": 8, "vocab_size": tokenizer.vocab_size}
BertModel(BertConfig(**sizes)).save_pretrained("network")
tokenizer.save_pretrained("network")
again = AutoModel.from_pretrained("network")
assert again(**words).last_hidden_state.shape[-1] == 8
assert AutoTokenizer.from_pretrained("network")("A dog")
try:
    AutoModel.from_pretrained("bert-base-uncased")
    raise AssertionError("there is a network")
except OSError:
    pass
import urllib.request, urllib.error
try:
    urllib.request.urlopen("http://example.org", timeout=1)
    raise AssertionError("there is a network")
except urllib.error.URLError:
    pass
""",
    "arrays in files": """
np.save("array.npy", np.arange(1000.0))
assert np.load("array.npy", mmap_mode="r")[-1] == 999
written = np.load("array.npy", mmap_mode="r+")
written[0] = 5
written.flush()
assert np.load("array.npy")[0] == 5
np.savez_compressed("arrays.npz", a=np.eye(3))
assert np.load("arrays.npz")["a"].trace() == 3
np.arange(9).tofile("raw.bin")
assert np.fromfile("raw.bin", int).sum() == 36
""",
    "files": """
import os, shutil, tempfile, pathlib, zipfile, tarfile, glob
import pickle, csv, json, sqlite3, shelve
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder)
    (path / "a" / "b").mkdir(parents=True)
    (path / "a" / "note.txt").write_text("text")
    shutil.copytree(path / "a", path / "c")
    shutil.copy2(path / "a" / "note.txt", path / "copy.txt")
    shutil.move(path / "copy.txt", path / "moved.txt")
    (path / "link").symlink_to("moved.txt")
    os.link(path / "moved.txt", path / "second name")
    os.utime(path / "moved.txt", (1, 2))
    os.truncate(path / "moved.txt", 2)
    assert (path / "link").read_text() == "te"
    found = glob.glob(folder + "/**", recursive=True)
    assert len(list(path.rglob("*"))) == len(found) - 1
    assert sum(len(files) for _, _, files in os.walk(path)) == 5
    shutil.make_archive(folder + "/packed", "gztar", path / "a")
    with zipfile.ZipFile(path / "z.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path / "moved.txt", "inside.txt")
    assert zipfile.ZipFile(path / "z.zip").read("inside.txt") == b"te"
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
        file.truncate(0)
    (path / "a").chmod(0o700)
    shutil.disk_usage(path), os.access(path, os.W_OK), os.statvfs(path), path.resolve()
    with sqlite3.connect(path / "base.db") as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (4)")
    base = sqlite3.connect(path / "base.db")
    assert base.execute("select x from t").fetchall() == [(4,)]
    with shelve.open(folder + "/shelf") as shelf:
        shelf["a"] = [1]
    os.chdir(path)
    assert pathlib.Path.cwd() == path.resolve()
    os.chdir("/student")
import fcntl
with open("locked", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    fcntl.lockf(file, fcntl.LOCK_EX)
json.dump({"a": 1}, open("a.json", "w"))
csv.writer(open("a.csv", "w")).writerow("ab")
pickle.dump({1: 2}, open("a.pickle", "wb"))
""",
    "threads": """
import threading, queue, time, concurrent.futures, multiprocessing.pool
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(lambda n: n * n, range(100))) == 328350
with multiprocessing.pool.ThreadPool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
waiting = queue.Queue()
threading.Thread(target=waiting.put, args=[3], daemon=True).start()
assert waiting.get(timeout=5) == 3
threading.Timer(0.01, waiting.put, [4]).start()
assert waiting.get(timeout=5) == 4
from tqdm.auto import tqdm
assert sum(tqdm(range(5))) == 10
from joblib import Parallel, delayed
parallel = Parallel(n_jobs=2, backend="threading")
assert parallel(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
""",
    "processes, which fail": """
import subprocess, multiprocessing
for attempt in (
    lambda: subprocess.run(["ls"]),
    lambda: subprocess.check_output("ls", shell=True),
    lambda: os.fork(),
    lambda: os.popen("ls"),
    lambda: os.posix_spawn("/bin/ls", ["ls"], {}),
    lambda: multiprocessing.Process(target=abs, args=[1]).start(),
):
    try:
        attempt()
        raise AssertionError("a process")
    except (OSError, RuntimeError):
        pass
assert os.system("true") != 0
""",
    "time and signals": """
import signal, timeit, datetime, gc, faulthandler, resource
import warnings, logging, sys, platform
time.sleep(0.01)
def rings(*_): raise TimeoutError
signal.signal(signal.SIGALRM, rings)
signal.setitimer(signal.ITIMER_REAL, 0.01)
try:
    time.sleep(5)
    raise AssertionError("no signal")
except TimeoutError:
    signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGUSR1, lambda *_: None)
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
signal.pthread_sigmask(signal.SIG_BLOCK, [])
gc.collect()
faulthandler.dump_traceback_later(60, file=open("where.txt", "w"))
faulthandler.cancel_dump_traceback_later()
resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_AS)
timeit.timeit("1 + 1", number=9), datetime.datetime.now(), time.process_time()
platform.platform(), os.cpu_count(), os.uname(), os.times()
os.sched_getaffinity(0), os.getuid(), os.getgroups(), os.urandom(8), os.umask(0o077)
logging.basicConfig(filename="log.txt", force=True)
logging.warning("noted")
assert "noted" in open("log.txt").read()
logging.basicConfig(force=True)
sys.stdout.isatty(), shutil.get_terminal_size(), os.isatty(0)
""",
    "waiting for one another": """
import asyncio, select, socket
async def both():
    await asyncio.gather(asyncio.sleep(0.01), asyncio.to_thread(time.sleep, 0.01))
    return await asyncio.wait_for(asyncio.sleep(0, "done"), 1)
outcome = []
worker = threading.Thread(target=lambda: outcome.append(asyncio.run(both())))
worker.start()
worker.join()
assert outcome == ["done"]
one, other = socket.socketpair()
one.sendall(b"x")
assert select.select([other], [], [], 1)[0] and other.recv(1) == b"x"
reader, writer = os.pipe()
os.set_blocking(reader, False)
os.write(writer, b"y")
assert os.read(reader, 1) == b"y"
""",
    "C, chance and where things are from": """
import ctypes, mmap, getpass, uuid, secrets, random, inspect
assert ctypes.CDLL(None).abs(-3) == 3
assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1)(1) == 2
kept = mmap.mmap(-1, 4096)
kept.madvise(mmap.MADV_DONTNEED)
kept.close()
uuid.uuid4(), secrets.token_hex(), getpass.getuser(), random.random()
assert inspect.getsource(both)
import importlib.metadata
assert importlib.metadata.version("torch")
print(torch.__config__.parallel_info(), np.show_config(mode="dicts"))
""",
}


def recorded(problem: str, code: dict[str, str]) -> Counter[str]:
    """The system calls of a submission's process, from its first cell to its end."""
    from processes import below, soon

    from autograder.checking.runner import run_checks
    from autograder.sandbox.inside import seccomp
    from autograder.sandbox.launcher import Process, Sandbox
    from autograder.sandbox.notebook import Cell
    from autograder.sandbox.student import SandboxedStudent

    class Traced(Sandbox):
        def open(self) -> Process:
            process = super().open()
            pid = max(below(os.getpid()))
            command = ["strace", "-f", "-p", str(pid), "-o", file.name]
            command += ["-e", "raw=all", "-e", "signal=none"]
            tracers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            status = Path(f"/proc/{pid}/status")
            assert soon(lambda: "TracerPid:\t0\n" not in status.read_text())
            return process

    found: Counter[str] = Counter()
    tracers: list[subprocess.Popen] = []
    with tempfile.NamedTemporaryFile("r") as file, Traced(int(problem[-1])) as sandbox:
        cells = [Cell(title, source) for title, source in code.items()]
        with SandboxedStudent(sandbox, cells, cell_seconds=300) as student:
            points = sum(r.earned for r in run_checks(problem, student, 1))
            print(f"{problem}: failed cells {student.failed_cells}, {points:g} points")
        for tracer in tracers:
            tracer.wait()
        for line in file:
            if call := re.match(r"\d+ +(\w+)\(([^)<]*)(.*)", line):
                name, arguments, end = call.groups()
                block = seccomp.TABLE.get(name, (0, 0, seccomp.REFUSED))[2]
                loads = {step[3] for step in block if step[0] == seccomp.LOAD}
                given = [*arguments.split(","), *[""] * 6]
                values = [given[(at - seccomp.ARGUMENTS) // 8] for at in sorted(loads)]
                short = {value.strip(): 0 for value in values if len(value) < 12}
                refused = re.findall(r"= -1 (EPERM|ENOSYS)", end)
                found[" ".join([name, *short, *refused])] += 1
    return found


def main() -> None:
    """Prints the list."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from targets import TARGETS

    found = recorded("problem4", CELLS)
    for name, target in TARGETS.items():
        found += recorded(name, {"solution": target.solution})
    for call, times in sorted(found.items()):
        print(f"{times:7} {call}")


if __name__ == "__main__":
    main()
