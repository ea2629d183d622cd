//! One element of BYTES as `{"b64": "…"}`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{CellsBuilder, Misfit};
use crate::element::Scalar;
use crate::encoded::{KEY, push_decoded};

/// Reads the rest of an object into a column of BYTES, as one element at this depth.
pub(super) fn element<'de, A: MapAccess<'de>>(
    builder: &mut CellsBuilder<'_>,
    depth: usize,
    mut map: A,
) -> Result<(), A::Error> {
    if map.next_key_seed(EncodedKey)? == Some(true) {
        map.next_value_seed(Encoded { builder: &mut *builder, depth })?;
        if map.next_key::<IgnoredAny>()?.is_none() {
            return Ok(());
        }
    }
    builder.misfit = Some(Misfit::Object);
    Err(serde::de::Error::custom("an object"))
}

/// Whether a key is the one of bytes in base64.
struct EncodedKey;

impl<'de> DeserializeSeed<'de> for EncodedKey {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for EncodedKey {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the key `b64`")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == KEY)
    }
}

/// Reads bytes in base64.
struct Encoded<'b, 's> {
    builder: &'b mut CellsBuilder<'s>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Encoded<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Encoded<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("base64")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let Encoded { builder, depth } = self;
        if builder.element(Scalar::Base64(text), depth) {
            return Ok(());
        }
        if !push_decoded(text, &mut vec![]) {
            builder.misfit = Some(Misfit::Encoding);
        }
        Err(E::custom("does not fit"))
    }
}
