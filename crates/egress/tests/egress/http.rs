//! Plain requests that are forwarded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use egress::Limits;

use crate::harness::{Proxy, connect, exchange, problem, read_head, server, wait_for};

type Seen = Arc<Mutex<Vec<String>>>;

/// A server that notes what comes and answers by the path.
fn site(seen: Seen) -> u16 {
    server(move |mut stream| {
        let head = read_head(&mut stream);
        let path = head.split(' ').nth(1).unwrap_or_default().to_string();
        let mut body = vec![];
        if let Some(length) = head.split("Content-Length: ").nth(1) {
            body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
        } else if head.contains("chunked") && path != "/early" {
            while !body.ends_with(b"0\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                body.push(byte[0]);
            }
        }
        seen.lock().unwrap().push(format!("{head}{}", String::from_utf8_lossy(&body)));
        answer(&path, &mut stream);
    })
}

fn answer(path: &str, stream: &mut TcpStream) {
    let text = match path {
        "/chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                      3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
            .to_string(),
        "/end" => "HTTP/1.0 200 OK\r\n\r\nto the end".into(),
        "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into(),
        "/both" => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\n"
            .into(),
        "/switch" => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".into(),
        "/junk" => "SSH-2.0-OpenSSH\r\n".into(),
        "/nothing" => String::new(),
        "/none" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
        "/interim" => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                       HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .into(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, X-Hop\r\n\
              X-Hop: 1\r\nX-Own: 2\r\nKeep-Alive: 5\r\n\r\nhello"
            .into(),
    };
    stream.write_all(text.as_bytes()).unwrap();
    if path == "/lasting" {
        // The connection stays open: the answer's end is known without its end.
        let _ = stream.read(&mut [0]);
    }
}

fn setup() -> (Proxy, SocketAddr, String, Seen) {
    let proxy = Proxy::start(Limits::default());
    proxy.names.has("api.internal", &[&["127.0.0.1"]]);
    let seen = Seen::default();
    let port = site(seen.clone());
    let host = format!("api.internal:{port}");
    let http = proxy.peer.open("r1", std::slice::from_ref(&host), &["http".into()])[0];
    (proxy, http, host, seen)
}

#[test]
fn requests_and_answers() {
    let (proxy, http, host, seen) = setup();
    let last = || seen.lock().unwrap().last().cloned().unwrap();
    let fields = "Proxy-Authorization: x\r\nConnection: keep-alive\r\nAccept: */*\r\n";
    let get = |path: &str| {
        exchange(http, &format!("GET http://{host}{path} HTTP/1.1\r\nHost: evil\r\n{fields}\r\n"))
    };
    let said = get("/lasting?a=b");
    assert_eq!(
        said,
        "HTTP/1.1 200 OK\r\nX-Own: 2\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    );
    assert_eq!(
        last(),
        format!(
            "GET /lasting?a=b HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nVia: 1.1 decalog\r\n\
             Connection: close\r\n\r\n"
        )
    );
    assert!(
        get("/chunks")
            .ends_with("chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    );
    assert!(get("/end").ends_with("Connection: close\r\n\r\nto the end"));
    assert!(get("/none").ends_with("Connection: close\r\n\r\n"));
    assert!(
        get("/interim").starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200")
    );
    let head = exchange(http, &format!("HEAD http://{host}/ HTTP/1.1\r\n\r\n"));
    assert!(head.contains("Content-Length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let post = |rest: &str| exchange(http, &format!("POST http://{host}/p HTTP/1.1\r\n{rest}"));
    assert!(post("Content-Length: 4\r\n\r\nbodyGET http://x/ HTTP/1.1\r\n\r\n").ends_with("hello"));
    assert!(last().ends_with("close\r\n\r\nbody"), "{}", last());
    assert!(
        post("Transfer-Encoding: chunked\r\n\r\n2 ;a\r\nhi\r\n0\r\nX: y\r\n\r\n")
            .ends_with("hello")
    );
    assert!(last().ends_with("close\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), "{}", last());
    let line = proxy.logged(&host);
    assert_eq!(line["verdict"], "allowed");
    assert!(line["down_bytes"].as_u64().unwrap() > 50, "{line}");
}

#[test]
fn answers_that_are_none() {
    let (_proxy, http, host, _) = setup();
    let get = |path: &str| exchange(http, &format!("GET http://{host}{path} HTTP/1.1\r\n\r\n"));
    for path in ["/both", "/switch", "/junk", "/nothing"] {
        let (status, problem) = problem(&get(path));
        assert_eq!((status, &problem["code"]), (502, &"egress_failed".into()), "{path}");
    }
    let mut stream = connect(http);
    write!(stream, "GET http://{host}/cut HTTP/1.1\r\n\r\n").unwrap();
    assert!(stream.read_to_end(&mut vec![]).is_err(), "half an answer ends like a whole one");
    // It answers before the body has come.
    let mut stream = connect(http);
    write!(stream, "PUT http://{host}/early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n")
        .unwrap();
    let mut early = String::new();
    stream.read_to_string(&mut early).unwrap();
    assert!(early.ends_with("hello"), "{early}");
}

#[test]
fn smuggled_requests_reach_nobody() {
    let (_proxy, http, host, seen) = setup();
    let post = format!("POST http://{host}/p HTTP/1.1\r\n");
    let inner = format!("GET http://{host}/smuggled HTTP/1.1\r\n\r\n");
    for text in [
        format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc{inner}"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Content-Length: 3\n\r\n\r\nabc{inner}"),
        format!("{post}X: a\rContent-Length: 3\r\n\r\nabc{inner}"),
        format!("{post}X: a\0b\r\n\r\n{inner}"),
        format!("\r\n{inner}"),
        format!("GET http://{host}/ HTTP/1.1\nHost: x\n\n"),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_string(),
    ] {
        let (status, problem) = problem(&exchange(http, &text));
        assert_eq!((status, &problem["code"]), (400, &"egress_request".into()), "{text:?}");
    }
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new());
    // Bodies that break off what they began.
    for body in ["x\r\n", "-1\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\r\n", "0x3\r\nabc\r\n"] {
        let text = format!("{post}Transfer-Encoding: chunked\r\n\r\n{body}{inner}");
        let (status, problem) = problem(&exchange(http, &text));
        assert_eq!((status, &problem["code"]), (400, &"egress_request".into()), "{body:?}");
    }
    wait_for(|| (seen.lock().unwrap().len() == 5).then_some(()));
    assert!(!seen.lock().unwrap().join("").contains("smuggled"));
}

#[test]
fn a_model_that_gives_up_leaves_no_connection() {
    let proxy = Proxy::start(Limits::default());
    let port = server(|mut stream| {
        read_head(&mut stream);
        // It never answers, and sees that nobody waits.
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    });
    let host = format!("127.0.0.1:{port}");
    let http = proxy.peer.open("r1", std::slice::from_ref(&host), &["http".into()])[0];
    for _ in 0..3 {
        let mut stream = connect(http);
        write!(stream, "GET http://{host}/ HTTP/1.1\r\n\r\n").unwrap();
    }
    let hung_up = |line: &&serde_json::Value| line["why"].as_str().unwrap().contains("it hung up");
    wait_for(|| (proxy.lines().iter().filter(hung_up).count() == 3).then_some(()));
}
