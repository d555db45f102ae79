"""`lint` says that settings and definitions are right, or where they are not."""

from openbalena.cli.main import main


def lint(directory):
    return main(["--project-directory", str(directory), "lint"])


def test_what_config_wrote_is_right(tmp_path, capsys):
    assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    capsys.readouterr()
    assert lint(tmp_path) == 0
    settings, definitions = capsys.readouterr().out.splitlines()
    assert settings.startswith(f"{tmp_path}/.env: right")
    assert "docker-compose.yml: right" in definitions


def test_without_settings_it_says_to_run_config(tmp_path, capsys):
    assert lint(tmp_path) == 2
    assert "run ./open-balena.sh config" in capsys.readouterr().err


def test_an_override_that_is_wrong_is_named_with_its_line(tmp_path, capsys):
    main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"])
    (tmp_path / "docker-compose.override.yml").write_text("services:\n  api:\n    imaage: nginx\n")
    capsys.readouterr()
    assert lint(tmp_path) == 2
    assert "docker-compose.override.yml:3" in capsys.readouterr().err
