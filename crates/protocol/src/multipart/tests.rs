//! Forms as browsers and programs send them, and as nobody should.

use super::*;

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = vec![];
    for (head, content) in parts {
        body.extend_from_slice(format!("--XX\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

fn named(name: &str) -> String {
    format!("Content-Disposition: form-data; name=\"{name}\"")
}

fn refused(body: &[u8]) -> String {
    parts(body, "XX").map(|found| panic!("{found:?}")).unwrap_err().message
}

#[test]
fn parts_are_what_was_sent() {
    let image = b"\x89PNG\r\n\0\r\n--X\r\n--XXY\r\n--\xff";
    let file = "content-disposition: form-data; filename=\"a;name=b\"; name=\"image\"\r\nContent-Type: image/png";
    let json = format!("{}\r\nContent-Type: Application/JSON; charset=utf-8", named("more"));
    let body =
        form(&[(file, image), (&named("top"), b"3"), (&json, b"[1]"), (&named("empty"), b"")]);
    let found = parts(&body, "XX").unwrap();
    let short: Vec<_> = found
        .iter()
        .map(|part| (part.name.as_str(), part.is_file, part.is_json, part.content))
        .collect();
    let wanted: [(&str, bool, bool, &[u8]); 4] = [
        ("image", true, false, image),
        ("top", false, false, b"3"),
        ("more", false, true, b"[1]"),
        ("empty", false, false, b""),
    ];
    assert_eq!(short, wanted);
    let padded = [b"a preamble\r\n--XX \t\r\n".to_vec(), body[6..].to_vec()].concat();
    assert_eq!(parts(&padded, "XX").unwrap(), found);
    assert_eq!(parts(b"--XX--", "XX").unwrap(), []);
}

#[test]
fn names_are_what_they_were() {
    for (written, name) in [
        ("a\\\"b", "a\"b"),
        ("a%22b", "a\"b"),
        ("a\\\\b", "a\\b"),
        ("C:\\dir", "C:\\dir"),
        ("größe; x=1", "größe; x=1"),
    ] {
        let body = form(&[(&named(written), b"")]);
        assert_eq!(parts(&body, "XX").unwrap()[0].name, name);
    }
    let bare = form(&[("Content-Disposition: form-data; name=age; x=1", b"")]);
    assert_eq!(parts(&bare, "XX").unwrap()[0].name, "age");
}

#[test]
fn boundaries() {
    let of = |text: &str| boundary(text).ok();
    assert_eq!(of("multipart/form-data; boundary=XX"), Some("XX".into()));
    assert_eq!(of("multipart/form-data;charset=x; Boundary=\"a b\""), Some("a b".into()));
    for none in ["multipart/form-data", "multipart/form-data; boundary=", "x; boundary=é"] {
        assert_eq!(of(none), None, "{none}");
    }
    assert_eq!(of(&format!("x; boundary={}", "b".repeat(71))), None);
}

#[test]
fn what_is_no_form_is_refused() {
    assert!(refused(b"").contains("no boundary"));
    assert!(refused(b"{\"image\": 1}").contains("no boundary"));
    assert!(
        refused(b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nab").contains("ends")
    );
    assert!(refused(b"--XXX\r\n\r\n--XX--").contains("damaged"));
    assert!(refused(&form(&[("X: y", b"")])).contains("no name"));
    assert!(
        refused(&form(&[("Content-Disposition: attachment; name=\"a\"", b"")])).contains("no name")
    );
    assert!(
        refused(&form(&[("Content-Disposition: form-data; name=\"a", b"")])).contains("no name")
    );
    assert!(refused(&form(&[(&named(&"n".repeat(1_025)), b"")])).contains("1025 bytes"));
    assert!(refused(&form(&[("not a header", b"")])).contains("cannot be read"));
    let lines = format!("{}{}", named("a"), "\r\nX: y".repeat(16));
    assert!(refused(&form(&[(&lines, b"")])).contains("cannot be read"));
    let long = format!("{}\r\nX: {}", named("a"), "y".repeat(HEAD_BYTES_MAX));
    assert!(refused(&form(&[(&long, b"")])).contains("more than 8192 bytes"));
    let encoded = format!("{}\r\nContent-Transfer-Encoding: base64", named("a"));
    assert!(refused(&form(&[(&encoded, b"")])).contains("encoded as base64"));
    let many: Vec<(&str, &[u8])> =
        vec![("Content-Disposition: form-data; name=a", b""); FORM_PARTS_MAX + 1];
    assert!(refused(&form(&many)).contains("more than 4096 parts"));
    assert_eq!(parts(&form(&many[1..]), "XX").unwrap().len(), FORM_PARTS_MAX);
}

#[test]
fn whatever_the_bytes_are_they_are_read_or_refused() {
    let body = form(&[(&named("image"), b"\xff\0\r\n"), (&named("n\\\"%22"), b"3")]);
    testing::Corpus::of("forms", vec![body, b"--XX--".to_vec()]).check(|bytes| {
        match parts(bytes, "XX") {
            Ok(found) => {
                assert!(found.iter().map(|part| part.content.len()).sum::<usize>() <= bytes.len())
            }
            Err(problem) => assert!(problem.to_string().len() < 2_000),
        }
    });
}
