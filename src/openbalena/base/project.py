"""Paths: the checkout with the Compose files, and the directory of one deployment."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Project:
    """The paths of one deployment. `root` is the checkout; `directory` contains the deployment's own files."""

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
        """The output of the last `swarm-up`: stack, configs, secrets (mode 700)."""
        return self.directory / "deploy"

    @property
    def deployed(self) -> Path:
        """The fingerprint of the tokens that this machine last deployed, or fetched from the cluster (not a secret)."""
        return self.directory / ".deployed"

    @property
    def upgrading(self) -> Path:
        """What an upgrade that has not finished changed in the settings (no secret)."""
        return self.directory / ".upgrading"

    @property
    def logs(self) -> Path:
        """One file for each command that changed something (mode 700)."""
        return self.directory / "logs"

    @property
    def hooks(self) -> Path:
        """The user's programs that run before and after a deploy to the cluster."""
        return self.directory / "hooks"

    @property
    def override_file(self) -> Path:
        """The user's changes to the Compose files."""
        return self.directory / "docker-compose.override.yml"

    @property
    def nfs_file(self) -> Path:
        """The output of `nfs-setup` for `docker compose`: the volumes on an NFS server."""
        return self.directory / "docker-compose.nfs.yml"

    def compose_files(self, *, lab: bool, mesh: bool = False, nfs: bool = False) -> list[Path]:
        """The Compose files in merge order; the lab's file only adds build contexts for the stand-in images.

        `mesh` (Swarm only): with the changes for the routing mesh. `nfs` (Compose only): with the volumes on NFS.
        """
        files = [self.root / "docker-compose.yml"]
        if mesh:
            files.append(self.root / "docker-compose.mesh.yml")
        if lab:
            files.append(self.root / "lab" / "docker-compose.yml")
        if nfs:
            files.append(self.nfs_file)
        return [*files, self.override_file] if self.override_file.exists() else files
