//! Requests: what is read, how it is written again, and what is refused because two programs could
//! read it in two ways.

use super::*;

fn read(text: &str) -> Result<Request, String> {
    parse(text.as_bytes(), 20)
}

fn forwarded(text: &str) -> (String, String, Body) {
    let request = read(text).unwrap();
    let Asked::Forward(message) = request.kind else { panic!("{text}") };
    let head = String::from_utf8(message.head).unwrap();
    (request.destination.to_string(), head, message.body)
}

#[test]
fn a_request_is_written_anew() {
    let (destination, head, body) = forwarded(
        "POST HTTP://Api.Example.org:8080/a?b=c HTTP/1.1\r\nHost: other.example\r\nX-Own: 1\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Basic eA==\r\n\
         Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n\
         Content-Length: 3\r\n\r\n",
    );
    assert_eq!(destination, "api.example.org:8080");
    assert_eq!(
        head,
        "POST /a?b=c HTTP/1.1\r\nHost: api.example.org:8080\r\nX-Own: 1\r\nVia: 1.1 decalog\r\n\
         Content-Length: 3\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(body, Body::Length(3));
    let (destination, head, body) = forwarded("GET http://[::1]?x HTTP/1.0\r\n\r\n");
    assert_eq!((destination.as_str(), body), ("[::1]:80", Body::None));
    assert!(head.starts_with("GET /?x HTTP/1.0\r\nHost: [::1]\r\n"), "{head}");
    let (_, head, _) = forwarded("OPTIONS http://a.org HTTP/1.1\r\nHost: a.org\r\n\r\n");
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
    let (_, head, body) =
        forwarded("PUT http://a.org/ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n");
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && body == Body::Chunked, "{head}");
}

#[test]
fn a_tunnel_is_asked_for() {
    for (text, expected) in [
        ("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", "example.org:443"),
        ("CONNECT [::1]:443 HTTP/1.0\r\n\r\n", "[::1]:443"),
        ("CONNECT a.org:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "a.org:1"),
    ] {
        let request = read(text).unwrap();
        assert!(matches!(request.kind, Asked::Tunnel));
        assert_eq!(request.destination.to_string(), expected);
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let post = |fields: &str| format!("POST http://a.org/ HTTP/1.1\r\n{fields}\r\n");
    let many: String = (0..21).map(|at| format!("X-{at}: 1\r\n")).collect();
    for text in [
        post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        post("Content-Length: 3\r\nContent-Length: 3\r\n"),
        post("Content-Length: 3, 3\r\n"),
        post("Content-Length: +3\r\n"),
        post("Content-Length: 0x3\r\n"),
        post("Content-Length:\r\n"),
        post("Content-Length: 99999999999999999999\r\n"),
        post("Transfer-Encoding: gzip, chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        post("Transfer-Encoding: chunked, chunked\r\n"),
        post("Transfer-Encoding: xchunked\r\n"),
        post("Transfer-Encoding : chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nX: 1\r\n folded: 1\r\n"),
        post("Host: a.org\r\nHost: b.org\r\n"),
        post("Connection: Content-Length\r\nContent-Length: 3\r\n"),
        post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n"),
        post("Connection: host\r\n"),
        post("X-No-Colon\r\n"),
        post(": empty\r\n"),
        post(&many),
        "POST http://a.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: a.org\r\n\r\n".into(),
        "GET a.org HTTP/1.1\r\n\r\n".into(),
        "GET https://a.org/ HTTP/1.1\r\n\r\n".into(),
        "GET ftp://a.org/ HTTP/1.1\r\n\r\n".into(),
        "GET http:///x HTTP/1.1\r\n\r\n".into(),
        "GET http://user@a.org/ HTTP/1.1\r\n\r\n".into(),
        "GET http://allowed.org:80@a.org/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a.org\\@b.org/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a.org:/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a.org:80:80/ HTTP/1.1\r\n\r\n".into(),
        "GET http://127.1/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a.org/#x HTTP/1.1\r\n\r\n".into(),
        "GET http://a.org/ü HTTP/1.1\r\n\r\n".into(),
        "GET  http://a.org/ HTTP/1.1\r\n\r\n".into(),
        "GET http://a.org/ HTTP/2.0\r\n\r\n".into(),
        "CONNECT a.org HTTP/1.1\r\n\r\n".into(),
        "CONNECT http://a.org:1/ HTTP/1.1\r\n\r\n".into(),
        "CONNECT a.org:1/x HTTP/1.1\r\n\r\n".into(),
        "CONNECT u@a.org:1 HTTP/1.1\r\n\r\n".into(),
        "CONNECT a.org:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\n".into(),
        "CONNECT a.org:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        "GET http://a.org/ HTTP/1.1\r\n\r\nGET http://b.org/ HTTP/1.1\r\n\r\n".into(),
    ] {
        assert!(read(&text).is_err(), "{text:?}");
    }
    assert!(read("GET https://a.org/ HTTP/1.1\r\n\r\n").unwrap_err().contains("CONNECT"));
}

/// Heads that are spoilt by seed: no panic, and what passes has one framing and one host.
#[test]
fn spoilt_heads() {
    let good =
        b"POST http://a.org:8/x HTTP/1.1\r\nHost: a.org\r\nContent-Length: 3\r\nX: y\r\n\r\n";
    let parts: [&[u8]; 8] =
        [b"\r\n", b" ", b":", b"Transfer-Encoding: chunked\r\n", b"@", b",", b"\t", b"[::1]"];
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut head = good.to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..head.len());
            match random.u8(..3) {
                0 => head[at] = random.u8(..),
                1 => drop(head.remove(at)),
                _ => drop(head.splice(at..at, parts[random.usize(..8)].iter().copied())),
            }
        }
        let Ok(Request { kind: Asked::Forward(message), .. }) = parse(&head, 20) else { continue };
        let text = String::from_utf8_lossy(&message.head).to_ascii_lowercase();
        let times = |name: &str| text.matches(&format!("\r\n{name}:")).count();
        assert_eq!((times("host"), times("connection")), (1, 1), "seed {seed}: {text}");
        let framed = times("content-length") + times("transfer-encoding");
        assert_eq!(framed, usize::from(message.body != Body::None), "seed {seed}: {text}");
        assert!(text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1, "seed {seed}");
    }
}
