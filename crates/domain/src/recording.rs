//! What of a request may be in its record: the section `[records]` of a placement's configuration,
//! with the key by which values are disguised.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Code;
use crate::digest::Hasher;
use crate::manifest::{RecordsSection, Redact};
use crate::schema::{Column, Datatype, Schema};

/// Bytes of a key that values are disguised by.
pub const PSEUDONYM_KEY_BYTES: usize = 32;
/// Bytes of a disguised value, before they are hexadecimal digits.
const PSEUDONYM_BYTES: usize = 16;
/// The block of SHA-256, in bytes.
const BLOCK_BYTES: usize = 64;

/// Disguises values: the same value becomes the same text, in all models of a project.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; PSEUDONYM_KEY_BYTES],
    inner: Hasher,
    outer: Hasher,
}

impl Pseudonyms {
    /// By a project's key.
    pub fn new(key: [u8; PSEUDONYM_KEY_BYTES]) -> Pseudonyms {
        // RFC 2104: the key is padded to a block of the hash, and each of its two rounds begins
        // with it.
        let begun = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut hasher = Hasher::new();
            hasher.update(&block);
            hasher
        };
        Pseudonyms { key, inner: begun(0x36), outer: begun(0x5c) }
    }

    /// HMAC-SHA-256 of some bytes.
    pub fn mac(&self, bytes: &[u8]) -> [u8; 32] {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        inner.update(bytes);
        outer.update(&inner.finish().0);
        outer.finish().0
    }

    /// What stands for a value: 32 hexadecimal digits.
    pub fn of(&self, value: &[u8]) -> String {
        hex::encode(&self.mac(value)[..PSEUDONYM_BYTES])
    }
}

impl PartialEq for Pseudonyms {
    fn eq(&self, other: &Pseudonyms) -> bool {
        self.key == other.key
    }
}

impl fmt::Debug for Pseudonyms {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}

/// What of a request may be in its record.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Recording {
    /// As the manifest says.
    pub section: RecordsSection,
    /// By what values are disguised; without it, what was to be disguised is left out.
    #[serde(skip)]
    pub pseudonyms: Option<Arc<Pseudonyms>>,
}

impl Recording {
    /// Whether all may be in the record, as it is.
    pub fn is_empty(&self) -> bool {
        self.section.is_empty()
    }

    /// Whether some values must not be in a record.
    pub fn redacts(&self) -> bool {
        !self.section.redact.is_empty()
    }

    /// What becomes of a column; `None` if it is kept as it is.
    pub fn rule(&self, column: &str) -> Option<Redact> {
        let rule = self.section.redact.get(column)?;
        match self.pseudonyms {
            None => Some(Redact::Drop),
            Some(_) => Some(*rule),
        }
    }

    /// The columns of a record: what is disguised is a text.
    pub fn schema(&self, schema: &Schema) -> Schema {
        let mut kept = schema.clone();
        for column in kept.inputs.iter_mut().chain(&mut kept.outputs) {
            match self.rule(&column.name) {
                None => {}
                Some(Redact::Drop) => column.nullable = true,
                Some(Redact::Hmac) => {
                    *column =
                        Column { nullable: true, ..Column::scalar(&column.name, Datatype::Bytes) };
                }
            }
        }
        kept
    }

    /// The key that a caller named, as it is in records. Once anything is redacted, a key stays as
    /// it is only if it is named as a column that is not redacted; any other could quote a value.
    pub fn key<'k>(&self, schema: &Schema, key: &'k str) -> Cow<'k, str> {
        if !self.redacts() || key.is_empty() {
            return Cow::Borrowed(key);
        }
        let Some(pseudonyms) = &self.pseudonyms else { return Cow::Borrowed("") };
        let named = key.split_once('=').filter(|(name, _)| {
            schema.inputs.iter().chain(&schema.outputs).any(|column| column.name == *name)
        });
        match named.map(|(name, value)| (name, value, self.rule(name))) {
            None => Cow::Owned(pseudonyms.of(key.as_bytes())),
            Some((_, _, None)) => Cow::Borrowed(key),
            Some((_, _, Some(Redact::Drop))) => Cow::Borrowed(""),
            Some((name, value, Some(Redact::Hmac))) => {
                Cow::Owned(format!("{name}={}", pseudonyms.of(value.as_bytes())))
            }
        }
    }

    /// What a record says of an error: where values are redacted, no more than its code does, as
    /// what the caller was told may quote one.
    pub fn error<'e>(&self, code: &Code, message: &'e str) -> &'e str {
        if self.redacts() { code.meaning() } else { message }
    }
}

/// All texts that records of a project may have for a key: as it was named, and as it is if it was
/// disguised.
pub fn key_forms(key: &str, pseudonyms: Option<&Pseudonyms>) -> Vec<String> {
    let mut forms = vec![key.to_string()];
    if let Some(pseudonyms) = pseudonyms {
        forms.push(pseudonyms.of(key.as_bytes()));
        if let Some((name, value)) = key.split_once('=') {
            forms.push(format!("{name}={}", pseudonyms.of(value.as_bytes())));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_the_standard() {
        // RFC 4231, test case 1: a key of 20 bytes is the same as one that zeros follow.
        let mut key = [0; PSEUDONYM_KEY_BYTES];
        key[..20].fill(0x0b);
        let mac = hex::encode(&Pseudonyms::new(key).mac(b"Hi There"));
        assert_eq!(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let mut key = [0; PSEUDONYM_KEY_BYTES];
        key[..4].copy_from_slice(b"Jefe");
        let pseudonyms = Pseudonyms::new(key);
        let mac = hex::encode(&pseudonyms.mac(b"what do ya want for nothing?"));
        assert_eq!(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(pseudonyms.of(b"what do ya want for nothing?"), mac[..32]);
        assert_eq!(format!("{pseudonyms:?}"), "Pseudonyms");
    }

    fn recording(redact: &[(&str, Redact)]) -> Recording {
        let redact = redact.iter().map(|(name, rule)| (name.to_string(), *rule)).collect();
        Recording {
            section: RecordsSection { redact, key: None, log_rows: false },
            pseudonyms: Some(Arc::new(Pseudonyms::new([7; PSEUDONYM_KEY_BYTES]))),
        }
    }

    fn schema() -> Schema {
        Schema {
            inputs: vec![
                Column::scalar("customer", Datatype::Int64),
                Column::scalar("city", Datatype::Bytes),
                Column::scalar("shop", Datatype::Bytes),
            ],
            ..Schema::default()
        }
    }

    #[test]
    fn keys_that_may_quote_a_value_are_disguised() {
        let redacts = recording(&[("customer", Redact::Hmac), ("city", Redact::Drop)]);
        let key = |key: &str| redacts.key(&schema(), key).into_owned();
        let pseudonyms = redacts.pseudonyms.clone().unwrap();
        assert_eq!(key("customer=42"), format!("customer={}", pseudonyms.of(b"42")));
        assert_eq!(key("city=Delft"), "");
        assert_eq!(key("shop=3"), "shop=3");
        assert_eq!(key("order=42"), pseudonyms.of(b"order=42"));
        assert_eq!(key("Delft"), pseudonyms.of(b"Delft"));
        assert_eq!(key(""), "");
        for asked in ["customer=42", "order=42", "Delft", "shop=3"] {
            assert!(key_forms(asked, Some(&pseudonyms)).contains(&key(asked)), "{asked}");
        }
        assert_eq!(Recording::default().key(&schema(), "city=Delft"), "city=Delft");
        let without = Recording { pseudonyms: None, ..redacts };
        assert_eq!(without.key(&schema(), "customer=42"), "");
        assert_eq!(without.rule("customer"), Some(Redact::Drop), "rather nothing than the value");
    }

    #[test]
    fn what_is_disguised_is_a_text_and_errors_say_no_more_than_their_code() {
        let redacts = recording(&[("customer", Redact::Hmac), ("city", Redact::Drop)]);
        let kept = redacts.schema(&schema());
        assert_eq!(kept.inputs[0].datatype, Datatype::Bytes);
        assert!(kept.inputs[0].nullable && kept.inputs[1].nullable && !kept.inputs[2].nullable);
        let said = redacts.error(&Code::ModelRaised, "no customer 42");
        assert_eq!(said, Code::ModelRaised.meaning());
        assert_eq!(Recording::default().error(&Code::ModelRaised, "no 42"), "no 42");
        let json = serde_json::to_string(&redacts).unwrap();
        assert_eq!(json, r#"{"section":{"redact":{"city":"drop","customer":"hmac"}}}"#);
    }
}
