"""Where things lie: the checkout with the definitions, and the directory of one deployment."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Project:
    """One deployment's files. `root` is the checkout; `directory` holds what belongs to the deployment alone."""

    directory: Path = ROOT
    root: Path = ROOT

    @property
    def env_file(self) -> Path:
        """The settings (mode 600)."""
        return self.directory / ".env"

    @property
    def pki(self) -> Path:
        """Keys and certificates (mode 700)."""
        return self.directory / "pki"

    @property
    def rendered(self) -> Path:
        """What `swarm-up` deployed last: stack, configs, secrets (mode 700)."""
        return self.directory / "deploy"

    @property
    def deployed(self) -> Path:
        """Which tokens this machine deployed, or got from the cluster, last (a mark, no secret)."""
        return self.directory / ".deployed"

    @property
    def logs(self) -> Path:
        """One file for each command that changed something (mode 700)."""
        return self.directory / "logs"

    @property
    def override_file(self) -> Path:
        """The user's own changes of the definitions."""
        return self.directory / "docker-compose.override.yml"

    @property
    def nfs_file(self) -> Path:
        """What `nfs-setup` wrote for `docker compose`: the volumes on an NFS server."""
        return self.directory / "docker-compose.nfs.yml"

    def compose_files(self, *, lab: bool, mesh: bool = False, nfs: bool = False) -> list[Path]:
        """The definitions in merge order; the lab's file only adds build contexts for the stand-in images.

        `mesh` (Swarm only): with what the routing mesh changes. `nfs` (Compose only): with the volumes on NFS.
        """
        files = [self.root / "docker-compose.yml"]
        if mesh:
            files.append(self.root / "docker-compose.mesh.yml")
        if lab:
            files.append(self.root / "lab" / "docker-compose.yml")
        if nfs:
            files.append(self.nfs_file)
        return [*files, self.override_file] if self.override_file.exists() else files
