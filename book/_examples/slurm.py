"""Grade the folder "submitted" on four machines of a Slurm cluster."""

import subprocess
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed import Security

# On a disk that all machines see. Who has these files can call the workers.
folder = Path.home() / ".autograder"
folder.mkdir(mode=0o700, exist_ok=True)
made = Security.temporary()
names = ("ca.pem", "cert.pem", "key.pem")
authority, certificate, key = (folder / name for name in names)
authority.write_text(made.tls_ca_file)
certificate.write_text(made.tls_client_cert)
key.write_text(made.tls_client_key)
both = {
    f"tls_{who}_{what}": str(file)
    for who in ("scheduler", "worker", "client")
    for what, file in (("cert", certificate), ("key", key))
}
security = Security(tls_ca_file=str(authority), require_encryption=True, **both)

# One worker a machine; it grades as many submissions at a time as it has cores.
with SLURMCluster(
    cores=8,
    processes=1,
    memory="32GB",
    walltime="04:00:00",
    protocol="tls://",
    security=security,
) as cluster:
    cluster.scale(jobs=4)
    command = ["autograder", "grade", "submitted", "--output", "grades"]
    command += ["--scheduler", cluster.scheduler_address, "--tls-ca-file", authority]
    command += ["--tls-cert", certificate, "--tls-key", key]
    raise SystemExit(subprocess.run(command).returncode)
