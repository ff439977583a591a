"""The page: files of one folder by name, a strict content policy, nothing else."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.page import WEB_FOLDER, page_routes
from service.api.problem import add_problem_handlers


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    folder = tmp_path / "web"
    (folder / "inner").mkdir(parents=True)
    (folder / "index.html").write_text("<p>page</p>", "utf-8")
    (folder / "app.js").write_text("1;", "utf-8")
    (folder / "inner" / "deep.js").write_text("2;", "utf-8")
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    app = FastAPI()
    add_problem_handlers(app)
    app.include_router(page_routes(folder))
    return TestClient(app)


def test_files_are_served_by_name_under_a_strict_policy(client: TestClient) -> None:
    for path, kind in (("/", "text/html"), ("/index.html", "text/html"), ("/app.js", "text/javascript")):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kind)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_are_compressed_for_who_can_read_that_and_not_sent_twice(client: TestClient) -> None:
    packed = client.get("/app.js")  # the test client unpacks it
    assert (packed.headers["Content-Encoding"], packed.text) == ("gzip", "1;")
    plain = client.get("/app.js", headers={"Accept-Encoding": "identity"})
    assert ("Content-Encoding" in plain.headers, plain.text) == (False, "1;")
    again = client.get("/app.js", headers={"If-None-Match": packed.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", plain.headers["ETag"])
    assert client.get("/", headers={"If-None-Match": packed.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/secret.txt", "/../secret.txt", "/..%2fsecret.txt", "/inner", "/inner/deep.js", "/."]
)
def test_nothing_else_is(client: TestClient, path: str) -> None:
    assert client.get(path, follow_redirects=False).status_code in ((200, 404) if path == "/." else (404,))
    assert "secret" not in client.get(path).text


def test_a_folder_that_is_not_there_serves_nothing(tmp_path: Path) -> None:
    app = FastAPI()
    app.include_router(page_routes(tmp_path / "none"))
    assert TestClient(app).get("/").status_code == 404


def test_the_folder_is_the_clients() -> None:
    assert WEB_FOLDER.parts[-2:] == ("client", "web")
