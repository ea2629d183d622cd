//! What `make install` puts beside the binary: completions and manual pages name every verb that
//! `--help` names.

use std::path::Path;
use std::process::Command;

fn decalog(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_decalog")).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "decalog {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The verbs below `Commands:` of a help text.
fn verbs(help: &str) -> Vec<&str> {
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let named = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    named.filter(|verb| *verb != "help").collect()
}

/// Whether a shell takes the file for a script; true where that shell is not installed.
fn parses(shell: &str, file: &Path) -> bool {
    match Command::new(shell).arg("-n").arg(file).output() {
        Ok(output) => output.status.success() && output.stderr.is_empty(),
        Err(_) => true,
    }
}

#[test]
fn completions_name_every_verb_and_nothing_hidden() {
    let prefix = tempfile::tempdir().unwrap();
    decalog(&["manual", prefix.path().to_str().unwrap()]);
    let help = decalog(&["--help"]);
    assert!(verbs(&help).len() > 20, "the verbs are not found in:\n{help}");
    for (shell, file) in [
        ("bash", "share/bash-completion/completions/decalog"),
        ("zsh", "share/zsh/site-functions/_decalog"),
        ("fish", "share/fish/vendor_completions.d/decalog.fish"),
    ] {
        let path = prefix.path().join(file);
        let script = std::fs::read_to_string(&path).unwrap();
        let words: Vec<&str> =
            script.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').collect();
        for verb in verbs(&help) {
            assert!(words.contains(&verb), "the completions of {shell} lack {verb}");
        }
        for hidden in ["supervise", "openapi", "manual", "bridge", "judge-ms"] {
            assert!(!script.contains(hidden), "the completions of {shell} offer {hidden}");
        }
        assert!(parses(shell, &path), "{shell} does not take its completions");
    }
}

#[test]
fn every_verb_has_a_manual_page_that_renders() {
    let prefix = tempfile::tempdir().unwrap();
    decalog(&["manual", prefix.path().to_str().unwrap()]);
    let pages = prefix.path().join("share/man/man1");
    let has_man =
        Command::new("man").arg("--version").output().is_ok_and(|output| output.status.success());
    let mut names = vec!["decalog".to_string()];
    for verb in verbs(&decalog(&["--help"])) {
        names.push(format!("decalog-{verb}"));
        names.extend(
            verbs(&decalog(&[verb, "--help"]))
                .iter()
                .map(|inner| format!("decalog-{verb}-{inner}")),
        );
    }
    for name in &names {
        let page = pages.join(format!("{name}.1"));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}.1: {error}"));
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(text.contains(section), "{name}.1 has no {section}");
        }
        if has_man {
            let shown = Command::new("man")
                .arg("--warnings=w")
                .arg("-l")
                .arg(&page)
                .env("MANWIDTH", "80")
                .output()
                .unwrap();
            let warnings = String::from_utf8_lossy(&shown.stderr);
            assert!(shown.status.success() && warnings.is_empty(), "man -l {name}.1: {warnings}");
            assert!(String::from_utf8_lossy(&shown.stdout).contains("SYNOPSIS"));
        }
    }
    assert_eq!(
        std::fs::read_dir(&pages).unwrap().count(),
        names.len(),
        "a page of something hidden"
    );
}

#[test]
fn an_installation_below_a_prefix_is_complete() {
    let prefix = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/place.sh");
    for _ in ["for the first time", "over the one that is there"] {
        let placed = Command::new(&script)
            .arg(env!("CARGO_BIN_EXE_decalog"))
            .arg(prefix.path())
            .output()
            .unwrap();
        assert!(placed.status.success(), "{}", String::from_utf8_lossy(&placed.stderr));
        assert!(
            String::from_utf8_lossy(&placed.stdout).contains("PATH"),
            "it does not say that the directory is not on the PATH"
        );
    }
    let version =
        Command::new(prefix.path().join("bin/decalog")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), decalog(&["--version"]));
    assert!(prefix.path().join("share/man/man1/decalog-up.1").is_file());
}
