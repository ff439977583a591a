"""What the doctor looks at beside the model."""

import sqlite3
from pathlib import Path

from service.commands.premises import premises
from service.config import ServiceConfig
from service.store.database import DATABASE
from service.store.store import SessionStore
from tests.service.store.test_migrate import make_landed


def verdicts(folder: Path, **changes: object) -> dict[str, tuple[str, str]]:
    config = ServiceConfig(store_dir=folder, device="cpu", store_max_bytes=1).model_copy(update=changes)
    return {check.name: (check.verdict, check.details[0]) for check in premises(config)}


def test_a_store_is_new_older_or_as_it_should_be(tmp_path: Path) -> None:
    assert verdicts(tmp_path / "new")["store"] == ("ok", f"{tmp_path / 'new'}: made when the service starts")
    make_landed(tmp_path, "0001")
    assert "version 0001, brought to" in verdicts(tmp_path)["store"][1]
    server = SessionStore(tmp_path)
    assert "as this program has it" in verdicts(tmp_path)["store"][1]
    server.close()


def test_a_newer_or_broken_store_fails(tmp_path: Path) -> None:
    SessionStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert verdicts(tmp_path)["store"][0] == "fails"
    (tmp_path / DATABASE).write_bytes(b"x" * 4096)
    assert verdicts(tmp_path)["store"][0] == "fails"


def test_room_and_who_watches_the_gpu(tmp_path: Path) -> None:
    assert (verdicts(tmp_path)["room"][0], "gpu faults" in verdicts(tmp_path)) == ("ok", False)
    assert verdicts(tmp_path, store_max_bytes=2**70)["room"][0] == "unknown"
    assert "gpu faults" in verdicts(tmp_path, device="cuda")
    assert "gpu faults" not in verdicts(tmp_path, device="cuda", gpu_watch=False)
