//! Bodies that are compressed, well and badly.

use tokio::runtime::Handle;

use super::*;
use crate::memory::Budget;

const LIMIT: usize = 1 << 20;

fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
    let values = values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap()));
    values.collect()
}

async fn unpacked(coding: Coding, body: Vec<u8>) -> Result<Bytes, Problem> {
    let memory = Memory::new(&Budget::new(64 << 20), None);
    let heavy = Heavy::new(Handle::current());
    unpack(&heavy, coding, body.into(), memory, LIMIT).await.map(|(bytes, _)| bytes)
}

#[test]
fn what_is_not_understood_is_refused_with_a_remedy() {
    let of = |values: &[&str]| Coding::of(&headers(CONTENT_ENCODING, values));
    assert_eq!(of(&[]).unwrap(), None);
    assert_eq!(of(&["identity"]).unwrap(), None);
    assert_eq!(of(&["GZIP"]).unwrap(), Some(Coding::Gzip));
    assert_eq!(of(&["x-gzip"]).unwrap(), Some(Coding::Gzip));
    for refused in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"], &["gzipp"]] {
        let problem = of(refused).unwrap_err();
        assert_eq!(problem.code.http(), 415, "{refused:?}");
        assert!(problem.help.contains("gzip, deflate and zstd"), "{refused:?}");
    }
}

#[test]
fn an_answer_is_compressed_as_its_reader_likes_best() {
    let accepted = |text: &str| Coding::accepted(&headers(ACCEPT_ENCODING, &[text]));
    for (text, wanted) in [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip, deflate", Some(Coding::Gzip)),
        ("zstd;q=0.5, gzip;q=0.8", Some(Coding::Gzip)),
        ("*", Some(Coding::Zstd)),
        ("zstd;q=0, *;q=0.1", Some(Coding::Gzip)),
        ("deflate", Some(Coding::Deflate)),
    ] {
        assert_eq!(accepted(text), wanted, "{text}");
    }
    assert_eq!(Coding::accepted(&HeaderMap::new()), None);
}

#[tokio::test]
async fn what_was_packed_is_unpacked() {
    let mut text: Vec<u8> = (0..400_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    text.truncate(LIMIT);
    for coding in Coding::ALL {
        for length in [0, 1, 100, INLINE_BYTES_MAX, LIMIT] {
            let body = packed(coding, &text[..length]).unwrap();
            assert_eq!(unpacked(coding, body).await.unwrap(), text[..length], "{coding:?}");
        }
    }
    let mut raw = vec![];
    flate2::read::DeflateEncoder::new(&b"without a head"[..], Compression::fast())
        .read_to_end(&mut raw)
        .unwrap();
    assert_eq!(unpacked(Coding::Deflate, raw).await.unwrap(), "without a head");
    let two = [packed(Coding::Gzip, b"one ").unwrap(), packed(Coding::Gzip, b"two").unwrap()];
    assert_eq!(unpacked(Coding::Gzip, two.concat()).await.unwrap(), "one two");
}

#[tokio::test]
async fn a_bomb_is_not_unpacked_beyond_the_limit() {
    for coding in Coding::ALL {
        let bomb = packed(coding, &vec![0; 64 * LIMIT]).unwrap();
        assert!(bomb.len() < LIMIT);
        let budget = Budget::new(64 << 20);
        let memory = Memory::new(&budget, None);
        let decoder = Decoder::new(coding, bomb.into()).unwrap();
        let (unpacked, bytes_max, held) = (vec![], LIMIT, 0);
        let mut unpacking = Unpacking { coding, decoder, unpacked, bytes_max, memory, held };
        let problem = unpacking.run(usize::MAX).unwrap_err();
        assert_eq!(problem.code, Code::BodyTooLarge);
        assert!(problem.message.contains("unpacked"), "{}", problem.message);
        assert_eq!(unpacking.unpacked.len(), LIMIT + 1);
        assert!(budget.used() <= 4 * LIMIT, "{}", budget.used());
    }
}

#[tokio::test]
async fn what_is_damaged_is_refused() {
    for coding in Coding::ALL {
        let whole = packed(coding, b"some text of some length, some text").unwrap();
        let cut = whole[..whole.len() - 3].to_vec();
        let more = [&whole[..], b"garbage"].concat();
        for body in [cut, more, b"no such thing".to_vec()] {
            let problem = unpacked(coding, body.clone()).await.unwrap_err();
            assert_eq!(problem.code, Code::BadRequest, "{coding:?} {body:?}");
        }
    }
}
