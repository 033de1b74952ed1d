"""The README's commands run as written, in a shell, on data of the right names and formats; only trainings are made shorter."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amanet.cli import main
from fabricate.raw import write_sbu, write_utd_mhad

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORT = (
    "--recipe.epochs 1 --recipe.milestones [] --recipe.batch_size 4 --recipe.micro_batch 4 --sampling.frames 8 --sampling.fit resize "
    "--network.width 6 --network.block.windows [3] --network.block.spatial_scales 3 --network.block.window_scales 2 --accelerator cpu"
)
AMANET = f"""#!/usr/bin/env bash
case "$*" in
    *--resume*|*--help*) ;;
    train*) set -- "$@" {SHORT} ;;
    ablate*) set -- "$@" {SHORT} --seeds [0] ;;
esac
exec {sys.executable} -m amanet "$@"
"""


def section(title: str) -> str:
    """The commands of a section of the README."""
    text = README.split(f"## {title}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where a user stands: the archives as downloaded, the configurations, and the command."""
    place = tmp_path_factory.mktemp("user")
    raw = place / "nturgb+d_skeletons"
    choice = ["--actions", "[10,7]", "--performers", "[1,3]", "--cameras", "[1,2]", "--replications", "1"]
    assert main(["synthesize", str(raw), *choice]) == 0
    shutil.make_archive(str(place / "nturgbd_skeletons_s001_to_s017"), "zip", place, raw.name)
    shutil.copy(raw / "S001C001P001R001A010.skeleton", place)
    shutil.rmtree(raw)
    write_utd_mhad(place / "Skeleton")
    write_sbu(place / "clean")
    (place / "configs").symlink_to(ROOT / "configs")
    (place / "bin").mkdir()
    (place / "bin/amanet").write_text(AMANET)
    (place / "bin/amanet").chmod(0o755)
    return place


def run(place: Path, commands: str) -> None:
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euxc", commands], check=False, cwd=place, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_road_of_ntu(place: Path) -> None:
    run(place, section("With the NTU RGB+D archive"))
    assert (place / "fused").is_dir()
    assert "SFEM" in (place / "ablation/table3.md").read_text()
    run(place, "amanet train --resume runs/ntu60-xsub")


def test_the_roads_of_utd_mhad_and_sbu(place: Path) -> None:
    run(place, section("With UTD-MHAD or SBU"))
    assert (place / "runs/sbu-fold1/weights.safetensors").is_file()


def test_the_road_of_ones_own_clips(place: Path) -> None:
    """It is that of the example's README, which stands in the folder that `new-dataset` writes."""
    commands = section("With your own clips")
    run(place, commands)
    (others,) = re.findall(r"```bash\n(.*?)```", (place / "gym/README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert commands.split("cd gym\n")[1].strip() == others.strip()
    assert (place / "gym/run/weights.safetensors").is_file()
    check_the_python_of_a_trained_run(place / "gym")


def check_the_python_of_a_trained_run(gym: Path) -> None:
    """It runs as written where the README says, and its array is answered as the file it came from."""
    _, block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    compare = "from pytest import approx\nassert sorted(probabilities[0].tolist(), reverse=True)[:5] == approx(answer.probabilities)\n"
    done = subprocess.run([sys.executable, "-c", block + compare], check=False, cwd=gym, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]


def test_set_up_is_two_commands() -> None:
    commands = section("Try it").splitlines()
    assert commands[:2] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo: $(STAMP)" in makefile
    assert "\ntest: $(STAMP)" in makefile
    assert "make test" in (ROOT / ".ci/run").read_text()
