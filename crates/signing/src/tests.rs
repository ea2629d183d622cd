//! Signatures that the tools of the format made (PyPI `model-signing` 1.1.1), and what is left of
//! them when something is changed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{Code, Curve, Digest, Tree, TreeFile};

use crate::{
    Bundle, Files, PrivateKey, PublicKey, SIGNATURE_BYTES_MAX, SigningError, check_files, sign,
};

const P256: &[u8] = include_bytes!("../tests/fixtures/p256.sig");
const P384: &[u8] = include_bytes!("../tests/fixtures/p384.sig");
const P521: &[u8] = include_bytes!("../tests/fixtures/p521.sig");
const PUBLIC: [&str; 3] = [
    include_str!("../tests/fixtures/p256.pub"),
    include_str!("../tests/fixtures/p384.pub"),
    include_str!("../tests/fixtures/p521.pub"),
];
const PRIVATE: [&str; 3] = [
    include_str!("../tests/fixtures/p256.key"),
    include_str!("../tests/fixtures/p384.key"),
    include_str!("../tests/fixtures/p521.key"),
];

fn file(path: &str, content: &str) -> TreeFile {
    let (digest, size) = (Digest::of(content.as_bytes()), content.len() as u64);
    TreeFile { path: path.into(), digest, size, executable: false }
}

/// The directory that was signed.
fn files() -> Vec<TreeFile> {
    vec![
        file("model.py", "x = 1\n"),
        file("a/c", "1\n"),
        file("a-b/c", "2\n"),
        file(".gitignore", "hi"),
        file("model.sig", "whatever"),
    ]
}

fn key(text: &str) -> PublicKey {
    PublicKey::from_pem(text).unwrap_or_else(|error| panic!("{error}"))
}

fn checked(signature: &[u8], files: Vec<TreeFile>) -> Result<(), SigningError> {
    let tree = Tree::new(files).unwrap();
    let is_never_pushed = |path: &str| path.ends_with(".pyc");
    let files = Files { tree: &tree, made: None, is_never_pushed: &is_never_pushed };
    check_files(&Bundle::read(signature)?.statement, files)
}

fn lines(signature: &[u8], files: Vec<TreeFile>) -> Vec<String> {
    match checked(signature, files) {
        Err(SigningError::Differs(lines)) => lines,
        other => panic!("{other:?}"),
    }
}

/// A bundle with another payload, or with anything else replaced in its text.
fn with_payload(change: impl Fn(String) -> String) -> Vec<u8> {
    let mut bundle: serde_json::Value = serde_json::from_slice(P256).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let payload = String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap();
    bundle["dsseEnvelope"]["payload"] = STANDARD.encode(change(payload)).into();
    bundle.to_string().into_bytes()
}

#[test]
fn what_the_tool_signed_is_right_by_its_key_and_by_no_other() {
    let curves = [Curve::P256, Curve::P384, Curve::P521];
    for (at, signature) in [P256, P384, P521].into_iter().enumerate() {
        let bundle = Bundle::read(signature).unwrap_or_else(|error| panic!("{error}"));
        for (other, text) in PUBLIC.iter().enumerate() {
            assert_eq!(bundle.is_by(&key(text)), Ok(at == other));
        }
        assert_eq!(bundle.key, Some(Digest::of(PUBLIC[at].as_bytes())));
        assert_eq!(key(PUBLIC[at]).curve(), curves[at]);
        assert_eq!(checked(signature, files()), Ok(()));
    }
}

#[test]
fn a_file_that_was_changed_added_or_removed_is_named() {
    let mut changed = files();
    changed[1] = file("a/c", "2\n");
    assert_eq!(lines(P256, changed), ["a/c has another content than what was signed"]);
    let added: Vec<_> = files().into_iter().chain([file("sub/model.sig", "")]).collect();
    assert_eq!(lines(P256, added), ["sub/model.sig is not signed"]);
    let removed = files().into_iter().filter(|file| file.path != "a-b/c").collect();
    assert_eq!(
        lines(P256, removed),
        ["a-b/c is signed, and is not among the files of the version"]
    );
    let many = (0..50).map(|at| file(&format!("f{at}"), "")).chain(files()).collect();
    let problem = checked(P256, many).unwrap_err().problem();
    assert_eq!((problem.code, problem.details.len()), (Code::BadSignature, 21));
    assert_eq!(problem.details[20], "and 30 more");
}

#[test]
fn what_is_made_or_never_pushed_needs_nothing() {
    let key = PrivateKey::from_pem(PRIVATE[0]).unwrap_or_else(|error| panic!("{error}"));
    let signed: Vec<_> = files().into_iter().chain([file("x/y.pyc", "")]).collect();
    let signature = sign(&key, "m", &Tree::new(signed).unwrap(), &[]).unwrap();
    assert_eq!(checked(&signature, files()), Ok(()));
    let tree = Tree::new(files().into_iter().chain([file("made.json", "")]).collect()).unwrap();
    let statement = Bundle::read(P256).unwrap().statement;
    let files = |made| Files { tree: &tree, made, is_never_pushed: &|_| false };
    assert_eq!(check_files(&statement, files(Some("made.json"))), Ok(()));
    assert!(check_files(&statement, files(None)).is_err());
}

#[test]
fn what_is_signed_here_is_right_here() {
    for (private, public) in PRIVATE.iter().zip(PUBLIC) {
        let private = PrivateKey::from_pem(private).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(private.public().pem(), public);
        let tree = Tree::new(files()).unwrap();
        let signature = sign(&private, "m", &tree, &["venv".into()]).unwrap();
        let bundle = Bundle::read(&signature).unwrap();
        assert_eq!(bundle.is_by(&key(public)), Ok(true));
        assert_eq!(bundle.statement, Bundle::read(P256).unwrap().statement);
        assert_eq!(checked(&signature, files()), Ok(()));
    }
}

#[test]
fn a_statement_that_was_changed_is_forged() {
    let bundle = Bundle::read(&with_payload(|text| text.replace("\"m\"", "\"n\""))).unwrap();
    let id = key(PUBLIC[0]).id();
    assert_eq!(bundle.is_by(&key(PUBLIC[0])), Err(SigningError::Forged(id)));
    let swapped = String::from_utf8(P256.to_vec()).unwrap();
    let (own, other) = (id.to_string(), key(PUBLIC[1]).id().to_string());
    let bundle = Bundle::read(swapped.replace(&own, &other).as_bytes()).unwrap();
    assert_eq!(bundle.is_by(&key(PUBLIC[0])), Ok(false));
    assert!(matches!(bundle.is_by(&key(PUBLIC[1])), Err(SigningError::Forged(_))));
    // Old tools name no key: whoever holds it finds out.
    let nameless = Bundle::read(swapped.replace(&own, "").as_bytes()).unwrap();
    assert_eq!(nameless.key, None);
    assert_eq!(nameless.is_by(&key(PUBLIC[0])), Ok(true));
    assert_eq!(nameless.is_by(&key(PUBLIC[1])), Ok(false));
}

#[test]
fn what_is_no_signature_is_told_so() {
    let text = |from: &'static str, to: &'static str| {
        with_payload(move |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    };
    let bundle =
        |from: &str, to: &str| String::from_utf8_lossy(P256).replace(from, to).into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "no bundle"),
        (b"{}".to_vec(), "no bundle"),
        (vec![b' '; SIGNATURE_BYTES_MAX + 1], "more than 16 MiB"),
        (bundle("bundle.v0.3", "bundle.v0.9"), "form that Decalog does not read"),
        (bundle("vnd.in-toto+json", "vnd.other"), "it signs a"),
        (bundle("\"sig\":\"M", "\"sig\":\"!"), "not base64"),
        (bundle("\"hint\":\"5759d4", "\"hint\":\"xx"), "not a SHA-256"),
        (text("Statement/v1", "Statement/v9"), "something else"),
        (text("model_signing/signature/v1.0", "model_signing/Digests/v0.1"), "before version 1.0"),
        (text("\"files\"", "\"shards\""), "hashes shards by sha256"),
        (text("\"algorithm\": \"sha256\"", "\"algorithm\": \"blake3\""), "not hashed by SHA-256"),
        (text("\"a/c\"", "\"../c\""), "not a path"),
        (text("\"a/c\"", "\"a-b/c\""), "names a-b/c twice"),
        (text("4355a46b", "4355a46c"), "digest of the whole"),
        (text("4355a46b", "zz"), "not a SHA-256"),
        (
            text("\"subject\": [", "\"subject\": [], \"other\": ["),
            "more than one model, or of none",
        ),
        (text("\"resources\"", "\"recourses\""), "list of files"),
    ];
    for (content, expected) in cases {
        let problem = Bundle::read(&content).err().map(SigningError::problem);
        let problem = problem.unwrap_or_else(|| panic!("{expected}: it was read"));
        assert_eq!(problem.code, Code::BadSignature);
        assert!(problem.message.contains(expected), "{expected}: {}", problem.message);
        assert!(problem.help.contains("decalog sign"), "{}", problem.help);
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let long = "x".repeat(17 << 10);
    let broken = PUBLIC[0].replace("MNEwTFte", "MNEwTFtf");
    let two = [PUBLIC[0], PUBLIC[1]].concat();
    for (text, expected) in [
        ("", "no PEM"),
        ("hello", "no PEM"),
        (PRIVATE[0], "private key"),
        (certificate, "certificate"),
        (ed25519, "no ECDSA key"),
        (&long, "more than 16 KiB"),
        (&broken, "not on its curve"),
        (&two, "more than one"),
    ] {
        let problem = PublicKey::from_pem(text).err().map(SigningError::problem).unwrap();
        assert_eq!(problem.code, Code::BadKey);
        assert!(problem.message.contains(expected), "{expected}: {}", problem.message);
    }
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (text, expected) in
        [(PUBLIC[0], "public key"), (locked, "password"), (certificate, "no private key")]
    {
        let problem = PrivateKey::from_pem(text).err().map(SigningError::problem).unwrap();
        assert!(problem.message.contains(expected), "{expected}: {}", problem.message);
    }
    // The same key with other line ends is the same key.
    assert_eq!(key(&PUBLIC[0].replace('\n', "\r\n")).id(), key(PUBLIC[0]).id());
}
