//! Bodies in pieces, whole and spoilt.

use tokio::io::{AsyncWriteExt, BufReader};

use super::*;

/// What comes out of a relay when this goes in, in pieces.
async fn through(body: Body, text: &[u8], random: &mut fastrand::Rng) -> (Vec<u8>, bool) {
    let (mut source, from) = tokio::io::duplex(64);
    let capacity = random.usize(1..40);
    let pieces: Vec<Vec<u8>> = text.chunks(random.usize(1..50)).map(<[u8]>::to_vec).collect();
    let send = async move {
        for piece in pieces {
            if source.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let mut to = vec![];
    let relayed = async {
        let mut from = BufReader::with_capacity(capacity, from);
        relay(body, &mut from, &mut to, (&Activity::new(), Direction::Up)).await.is_ok()
    };
    let (is_whole, ()) = tokio::join!(relayed, send);
    (to, is_whole)
}

#[tokio::test]
async fn chunks_are_read_in_one_way() {
    for seed in 0..2_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut sent, mut expected) = (vec![], vec![]);
        for _ in 0..random.usize(0..4) {
            let bytes: Vec<u8> = (0..random.usize(1..60)).map(|_| random.u8(..)).collect();
            let extension = ["", ";a=b", " ", " ;x=\"y\""][random.usize(..4)];
            sent.extend(format!("{:0>3X}{extension}\r\n", bytes.len()).bytes());
            expected.extend(format!("{:x}\r\n", bytes.len()).bytes());
            for whole in [&mut sent, &mut expected] {
                whole.extend(&bytes);
                whole.extend(b"\r\n");
            }
        }
        sent.extend(["0\r\n\r\n", "000;x\r\nTrailer: y\r\n\r\n"][random.usize(..2)].bytes());
        expected.extend(b"0\r\n\r\n");
        let (got, is_whole) = through(Body::Chunked, &sent, &mut random).await;
        assert!(is_whole && got == expected, "seed {seed}: {}", sent.escape_ascii());
        // What is spoilt may still be chunks; if it is, what comes out can be read in one way only.
        let at = random.usize(..sent.len());
        match random.bool() {
            true => sent[at] = b"\r\n;0aF x"[random.usize(..8)],
            false => drop(sent.remove(at)),
        }
        let (got, is_whole) = through(Body::Chunked, &sent, &mut random).await;
        if is_whole {
            let (again, is_whole) = through(Body::Chunked, &got, &mut random).await;
            assert!(is_whole && again == got, "seed {seed}: {}", sent.escape_ascii());
        }
    }
}

#[tokio::test]
async fn a_length_is_kept() {
    let mut random = fastrand::Rng::with_seed(1);
    let through = through(Body::Length(5), b"hello, world", &mut random).await;
    assert_eq!(through, (b"hello".to_vec(), true));
    let short = self::through(Body::Length(5), b"hell", &mut random).await;
    assert_eq!(short, (b"hell".to_vec(), false));
    let all = self::through(Body::UntilEnd, b"hello", &mut random).await;
    assert_eq!(all, (b"hello".to_vec(), true));
    let none = self::through(Body::None, b"hello", &mut random).await;
    assert_eq!(none, (vec![], true));
}
