//! What lines may name, and what is read from them.

use super::*;

fn place() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("more/base.txt", "numpy\n-c limits.txt\n"),
        ("more/limits.txt", "numpy<3 --hash=sha256:AA\n"),
        ("more/bad.txt", "-r /etc/passwd\n"),
        ("round.txt", "-r requirements.txt\n"),
        ("wheels/foo_bar-1.0-py3-none-any.whl", ""),
        ("sub/pyproject.toml", ""),
    ] {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn only_what_is_in_the_directory_is_named() {
    let root = place();
    let is_good = |text: &str| of_text(root.path(), FILE, text).is_ok();
    for good in [
        "numpy\npandas # -r /etc/passwd\n",
        "-r more/base.txt\n",
        "  --requirement=more/base.txt  # all\n",
        "-c more/limits.txt\nnumpy",
        "-r round.txt",
        "-r more/../round.txt",
        "--index-url https://index.example/simple\nnumpy",
        "-f wheels\nfoo-bar",
        "--find-links=./wheels",
        "--find-links https://index.example/wheels",
        "./wheels/foo_bar-1.0-py3-none-any.whl",
        "wheels/foo_bar-1.0-py3-none-any.whl",
        "-e .",
        ".[serve]",
        "x @ https://index.example/x-1.0.tar.gz",
        "--no-binary :all:",
        "six ; python_version < '4'",
    ] {
        assert!(is_good(good), "{good}");
    }
    for bad in [
        "-r /etc/passwd",
        "-r/etc/passwd",
        "numpy\n  -c ../../local.cookie",
        "--requirement=/etc/passwd",
        "--requirements /etc/passwd",
        "--constraint \"/etc/passwd\"",
        "-r \\\n/etc/passwd",
        "-r file:///etc/passwd",
        "-r file:/etc/passwd",
        "-r http://169.254.169.254/latest",
        "-r ${HOME}/x",
        "-r more/../../x",
        "-r more/bad.txt",
        "-r",
        "-f /etc",
        "--find-links ../wheels",
        "--index-url file:///etc",
        "--extra-index-url /etc",
        "../x-1.0-py3-none-any.whl",
        "/etc/x-1.0.tar.gz",
        "x @ file:///etc/x-1.0.tar.gz",
        "file:///etc/x-1.0.tar.gz",
        "-e ../other",
        "-e /etc",
        "~/x.whl",
        "./sub",
        "./wheels/gone-1.0-py3-none-any.whl",
    ] {
        assert!(!is_good(bad), "{bad}");
    }
}

#[test]
fn names_and_hashes_are_read() {
    let root = place();
    let text = "-r more/base.txt\nSix==1.15.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\nx[a]>=1 ; os_name == 'posix'\n\
                git+https://a/b.git#egg=of_ours\nhttps://a/b.zip\n-e .\n./wheels/foo_bar-1.0-py3-none-any.whl --hash=sha256:dd\n";
    let found = of_text(root.path(), FILE, text).unwrap();
    let names: Vec<&str> = found.names.iter().map(String::as_str).collect();
    assert_eq!(names, ["foo-bar", "numpy", "of-ours", "six", "x"]);
    assert_eq!(found.pins["six"].len(), 2);
    assert!(found.pins["numpy"].contains("sha256:aa") && found.pins.contains_key("foo-bar"));
    assert!(found.installs_itself && found.has_unnamed);
    assert_eq!(
        found.files,
        ["wheels/foo_bar-1.0-py3-none-any.whl", "more/base.txt", "more/limits.txt"]
    );
}
