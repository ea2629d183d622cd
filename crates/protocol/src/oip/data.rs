//! The data of tensors, in JSON or behind it.

use std::fmt;

use bytes::Bytes;
use domain::Code;
use domain::Datatype;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::element::{Scalar, push};
use crate::fault::Flaw;
use crate::limits::{SENTENCE_CHARS_MAX, VALUE_SHOWN_CHARS_MAX, cut, shown_name};

/// Splits a body into its JSON and the binary tensors behind it.
pub(crate) fn split(body: &Bytes, header_bytes: Option<usize>) -> Result<(Bytes, Bytes), Flaw> {
    let length = header_bytes.unwrap_or(body.len());
    if length > body.len() {
        let text = format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            body.len()
        );
        return Err(Flaw::new(Code::BadRequest, text));
    }
    Ok((body.slice(..length), body.slice(length..)))
}

/// What the parameter `content_type` of a tensor of BYTES says where its texts are base64, as
/// MLServer has it.
pub(crate) const BASE64: &str = "base64";

/// Reads the data of a tensor of `count` elements, flat or nested; texts may be base64 of BYTES.
pub(crate) fn decode_data(
    name: &str,
    datatype: Datatype,
    count: usize,
    is_base64: bool,
    raw: &RawValue,
) -> Result<Bytes, Flaw> {
    let name = shown_name(name);
    if datatype == Datatype::Bf16 {
        return Err(Flaw::new(
            Code::BadRequest,
            format!("`{name}` is BF16, which the protocol has in binary only"),
        ));
    }
    // Each element takes at least two characters of JSON, so that a large shape alone reserves
    // nothing.
    let plausible = count.min(raw.get().len() / 2 + 1);
    let mut data = Vec::with_capacity(plausible * datatype.size().unwrap_or(4));
    let mut found = 0;
    let flat = Flat { datatype, is_base64, data: &mut data, found: &mut found, count };
    flat.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(|error| {
        let error = cut(&error.to_string(), SENTENCE_CHARS_MAX);
        Flaw::new(
            Code::BadValue,
            format!("`{name}` does not hold {count} values of {datatype}: {error}"),
        )
        .help("send values of the datatype, flat or nested, in row-major order")
    })?;
    if found != count {
        return Err(Flaw::new(
            Code::ShapeMismatch,
            format!("`{name}` has {found} values where its shape says {count}"),
        )
        .help("the product of the shape must be the number of values"));
    }
    Ok(Bytes::from(data))
}

/// Collects numbers or text out of arrays, however deeply they are nested.
struct Flat<'a> {
    datatype: Datatype,
    is_base64: bool,
    data: &'a mut Vec<u8>,
    found: &'a mut usize,
    /// As many as the shape says: more are not read.
    count: usize,
}

impl Flat<'_> {
    fn element<E: serde::de::Error>(self, scalar: Scalar<'_>) -> Result<(), E> {
        // Some clients write BOOL as 0 and 1.
        let scalar = match (self.datatype, scalar) {
            (Datatype::Bool, Scalar::Unsigned(value @ 0..=1)) => Scalar::Bool(value == 1),
            (Datatype::Bytes, Scalar::Text(text)) if self.is_base64 => Scalar::Base64(text),
            _ => scalar,
        };
        if *self.found == self.count {
            return Err(E::custom(format!("there are more than the {} of its shape", self.count)));
        }
        if !push(self.datatype, scalar, self.data) {
            return Err(E::custom(shown(scalar)));
        }
        *self.found += 1;
        Ok(())
    }
}

fn shown(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Signed(value) => value.to_string(),
        Scalar::Unsigned(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(text) | Scalar::Base64(text) => {
            format!("the string \"{}\"", cut(text, VALUE_SHOWN_CHARS_MAX))
        }
        Scalar::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} values or arrays of them", self.datatype)
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.element(Scalar::Bool(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.element(Scalar::Signed(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.element(Scalar::Unsigned(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.element(Scalar::Float(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.element(Scalar::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Flat { datatype, is_base64, data, found, count } = self;
        while seq
            .next_element_seed(Flat {
                datatype,
                is_base64,
                data: &mut *data,
                found: &mut *found,
                count,
            })?
            .is_some()
        {}
        Ok(())
    }
}
