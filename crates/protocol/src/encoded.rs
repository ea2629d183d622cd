//! Bytes in JSON: text where they are UTF-8, else `{"b64": "…"}`, as TensorFlow Serving and the v1
//! protocol of KServe have it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT};
use serde_json::Value;

/// The only key of an object that stands for bytes.
pub const KEY: &str = "b64";

/// Appends one element of BYTES, out of its base64 in the standard alphabet, with padding or
/// without; `false` if it is none, and then nothing is appended.
pub(crate) fn push_decoded(text: &str, data: &mut Vec<u8>) -> bool {
    let begin = data.len();
    data.extend_from_slice(&[0; 4]);
    let decoded = STANDARD_PAD_INDIFFERENT.decode_vec(text, data);
    match u32::try_from(data.len() - begin - 4) {
        Ok(length) if decoded.is_ok() => {
            data[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
            true
        }
        _ => {
            data.truncate(begin);
            false
        }
    }
}

/// The base64 of bytes, as a string of JSON.
pub(crate) fn write_encoded(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let (begin, length) = (out.len(), base64::encoded_len(bytes.len(), true).unwrap_or(0));
    out.resize(begin + length, b'=');
    let _ = STANDARD.encode_slice(bytes, &mut out[begin..]);
    out.push(b'"');
}

/// Writes text as a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

/// Writes an element of BYTES as JSON.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_text(text, out),
        Err(_) => {
            out.extend_from_slice(b"{\"b64\":");
            write_encoded(bytes, out);
            out.push(b'}');
        }
    }
}

/// The base64 of an object that stands for bytes.
pub fn encoded(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(KEY)?.as_str()
}

/// Bytes as JSON has them: two values that stand for the same bytes become the same.
pub fn canonical(value: &Value) -> Option<Value> {
    let mut data = vec![];
    if !push_decoded(encoded(value)?, &mut data) {
        return None;
    }
    let mut text = vec![];
    write_bytes(&data[4..], &mut text);
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> String {
        let mut out = vec![];
        write_bytes(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_stays_text_and_other_bytes_are_base64() {
        assert_eq!(written(b""), r#""""#);
        assert_eq!(written("h\u{e9}\0\u{fffd}\"".as_bytes()), r#""hé\u0000�\"""#);
        assert_eq!(written(b"\xff"), r#"{"b64":"/w=="}"#);
        // A half of a surrogate pair, and a character that was cut in two.
        assert_eq!(written(b"\xed\xa0\x80"), r#"{"b64":"7aCA"}"#);
        assert_eq!(written(&"é".as_bytes()[..1]), r#"{"b64":"ww=="}"#);
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        for (text, bytes) in
            [("", &b""[..]), ("/w==", b"\xff"), ("/w", b"\xff"), ("AAEC", &[0, 1, 2])]
        {
            let mut data = vec![7];
            assert!(push_decoded(text, &mut data), "{text}");
            assert_eq!(data, [&[7], &(bytes.len() as u32).to_le_bytes()[..], bytes].concat());
        }
        for text in ["/", "_w==", "/x==", "a b=", "/w==\n", "é"] {
            let mut data = vec![7];
            assert!(!push_decoded(text, &mut data), "{text}");
            assert_eq!(data, [7]);
        }
    }

    #[test]
    fn what_stands_for_the_same_bytes_is_the_same() {
        let of = |text: &str| canonical(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"b64": "aGk="}"#), Some("hi".into()));
        assert_eq!(of(r#"{"b64": "/w"}"#), of(r#"{"b64": "/w=="}"#));
        assert_eq!(of(r#"{"b64": "?"}"#), None);
        assert_eq!(of(r#"{"b64": "/w==", "a": 1}"#), None);
        assert_eq!(of(r#""hi""#), None);
    }
}
