"""The token: made once, for its owner only."""

import subprocess
import threading

import pytest

import serve
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.serve.token import NAME, cookie_of, is_same, read_token


@pytest.fixture
def config(config_file):
    return load_config(config_file(), {})


def test_it_is_made_once_for_its_owner_only(config, capsys):
    token = read_token(config)
    path = config.paths.state_dir / NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 40 and read_token(config) == token
    assert serve.main(["--config", str(config.path), "--show-token"]) == 0
    assert capsys.readouterr().out == f"{token}\n"
    assert [one.name for one in path.parent.iterdir()] == [NAME]


def test_of_many_first_starts_one_makes_it(config):
    found = set()
    threads = [threading.Thread(target=lambda: found.add(read_token(config))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


@pytest.mark.parametrize("text", ["", "short", "ünïcödé" * 10, "two\nlines of a token here"])
def test_what_is_no_token_is_refused(config, text):
    path = config.paths.state_dir / NAME
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="expected a token of 20 characters or more"):
        read_token(config)


def test_one_that_others_may_read_is_refused(config, capsys):
    read_token(config)
    path = config.paths.state_dir / NAME
    path.chmod(0o640)
    assert serve.main(["--config", str(config.path), "--show-token"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "run chmod 600" in error
    subprocess.run(["chmod", "600", path], check=True)
    assert read_token(config)


def test_one_that_is_given_is_taken_and_none_is_made(config_file, tmp_path, capsys):
    secret = tmp_path / "token"
    secret.write_text("a-token-of-the-cluster\n")
    config = load_config(config_file(), {"VPP_SERVE_TOKEN_FILE": str(secret)})
    assert read_token(config) == "a-token-of-the-cluster"
    assert not config.paths.state_dir.exists()
    path = config_file(serve={"token": "s3cret-too-short"})
    assert serve.main(["--config", str(path), "--show-token"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "expected 20 printable" in error and "s3cret" not in error


def test_secrets_are_compared_whole():
    assert is_same("abc", "abc")
    for other in ("", "ab", "abcd", "abC", "äbc", "\udcff"):
        assert not is_same(other, "abc")
    assert not set(cookie_of("abc")) & set(cookie_of("abd"))
