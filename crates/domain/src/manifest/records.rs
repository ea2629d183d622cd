//! `[records]`: what is left out of the records of requests or disguised in them, and which column
//! names what the truth is joined by.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::near::near_name;
use crate::problem::excerpt;
use crate::schema::{COLUMN_NAME_BYTES_MAX, Schema};

/// The most columns that are redacted.
pub const REDACTED_MAX: usize = 1_024;
/// The most columns that a refusal lists.
const SHOWN_MAX: usize = 20;

/// `[records]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordsSection {
    /// What becomes of the values of a column, input or output, before anything is kept of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redact: BTreeMap<String, Redact>,
    /// The input column whose value is the key of a row, `NAME=VALUE`, where the caller names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the log has the row that a model raised at, below the traceback; for the time in
    /// which a model is written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log_rows: bool,
}

/// How a value is kept from the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Redact {
    /// It is left out.
    Drop,
    /// It becomes a text that is the same for the same value, and says nothing of it to whoever
    /// lacks the project's key: the first 16 bytes of HMAC-SHA-256 in hexadecimal digits.
    Hmac,
}

impl RecordsSection {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.redact.is_empty() && self.key.is_none() && !self.log_rows
    }

    /// Whether some values become other texts.
    pub fn needs_key(&self) -> bool {
        // Also keys that callers name are, once anything is redacted.
        !self.redact.is_empty()
    }

    /// Checks what can be checked without the columns. Gives the key of the manifest, and what is
    /// wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.redact.len() > REDACTED_MAX {
            return Err(("records.redact", format!("must name at most {REDACTED_MAX} columns")));
        }
        let is_name = |name: &String| (1..=COLUMN_NAME_BYTES_MAX).contains(&name.len());
        if let Some(name) = self.redact.keys().find(|name| !is_name(name)) {
            let text = format!("has `{}`, which is not the name of a column", excerpt(name));
            return Err(("records.redact", text));
        }
        if self.log_rows && !self.redact.is_empty() {
            let text = "cannot be beside [records] redact: the log would have what is redacted";
            return Err(("records.log_rows", text.into()));
        }
        let Some(key) = &self.key else { return Ok(()) };
        if !is_name(key) {
            return Err(("records.key", "must be the name of an input column".into()));
        }
        match self.redact.get(key) {
            Some(Redact::Drop) => {
                let text = format!("is `{key}`, which is dropped: write {key} = \"hmac\"");
                Err(("records.key", text))
            }
            _ => Ok(()),
        }
    }

    /// What does not fit the columns of a version, a line each.
    pub fn misfits(&self, schema: &Schema) -> Vec<String> {
        let inputs = || schema.inputs.iter().map(|column| column.name.as_str());
        let outputs = || schema.outputs.iter().map(|column| column.name.as_str());
        let is_known = |name: &str| inputs().chain(outputs()).any(|known| known == name);
        let mut misfits = vec![];
        for name in self.redact.keys().filter(|name| !is_known(name)) {
            misfits.push(misfit("records.redact", name, "column", inputs().chain(outputs())));
        }
        if let Some(key) = &self.key {
            match schema.inputs.iter().find(|column| column.name == *key) {
                None => misfits.push(misfit("records.key", key, "input", inputs())),
                Some(column) if column.shape.as_ref().is_none_or(|shape| !shape.is_empty()) => {
                    misfits.push(format!("records.key is `{key}`, which is not a single value"));
                }
                Some(_) => {}
            }
        }
        misfits
    }
}

impl fmt::Display for RecordsSection {
    /// As people read it: `without city, customer disguised, key customer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |rule: Redact| {
            let names = self.redact.iter().filter(|(_, of)| **of == rule);
            names.map(|(name, _)| excerpt(name)).collect::<Vec<_>>().join(", ")
        };
        let (dropped, disguised) = (named(Redact::Drop), named(Redact::Hmac));
        let mut parts = vec![];
        if !dropped.is_empty() {
            parts.push(format!("without {dropped}"));
        }
        if !disguised.is_empty() {
            parts.push(format!("{disguised} disguised"));
        }
        parts.extend(self.key.iter().map(|key| format!("key {}", excerpt(key))));
        if self.log_rows {
            parts.push("rows that fail in the log".into());
        }
        f.write_str(&parts.join(", "))
    }
}

fn misfit<'a>(
    section: &str,
    name: &str,
    what: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let shown = excerpt(name);
    match near_name(name, names.clone()) {
        Some(near) => format!("{section} has `{shown}`, which is no {what}: `{near}`?"),
        None => {
            let mut names: Vec<_> = names.map(excerpt).collect();
            names.dedup();
            let more = names.len().saturating_sub(SHOWN_MAX);
            names.truncate(SHOWN_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = names.join(", ");
            format!("{section} has `{shown}`, which is no {what}: there are {names}{more}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifest;
    use crate::schema::{Column, Datatype};

    fn section(text: &str) -> Result<RecordsSection, String> {
        let manifest = Manifest::parse(&format!("[records]\n{text}"));
        manifest.map(|manifest| manifest.records).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_read_and_nonsense_refused() {
        let read = section("redact = { city = \"drop\", customer = \"hmac\" }\nkey = \"customer\"");
        let read = read.unwrap();
        assert_eq!(read.redact["city"], Redact::Drop);
        assert_eq!(read.redact["customer"], Redact::Hmac);
        assert_eq!(read.key.as_deref(), Some("customer"));
        assert_eq!(read.to_string(), "without city, customer disguised, key customer");
        let many: Vec<String> = (0..1_025).map(|at| format!("c{at} = \"drop\"")).collect();
        for (bad, says) in [
            ("redact = { city = \"hide\" }".to_string(), "unknown variant `hide`"),
            ("redact = { \"\" = \"drop\" }".into(), "not the name of a column"),
            ("redact = { city = \"drop\" }\nkey = \"city\"".into(), "city = \"hmac\""),
            ("key = \"\"".into(), "must be the name of an input"),
            (format!("redact = {{ {} }}", many.join(", ")), "at most 1024"),
            (format!("redact = {{ {} = \"drop\" }}", "x".repeat(300)), "not the name"),
            ("forget = 1".into(), "unknown field"),
        ] {
            let error = section(&bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(serde_json::to_string(&RecordsSection::default()).unwrap(), "{}");
    }

    #[test]
    fn names_that_no_column_has_are_refused_with_those_near() {
        let mut image = Column::scalar("image", Datatype::Fp32);
        image.shape = Some(vec![3, 3]);
        let schema = Schema {
            inputs: vec![Column::scalar("customer", Datatype::Int64), image],
            outputs: vec![Column::scalar("leave", Datatype::Fp64)],
            batches: true,
            ..Schema::default()
        };
        let misfits = |text: &str| section(text).unwrap().misfits(&schema);
        assert!(misfits("redact = { customer = \"hmac\", leave = \"drop\" }").is_empty());
        assert!(misfits("key = \"customer\"").is_empty());
        assert_eq!(
            misfits("redact = { custmer = \"hmac\", zzzzzzzzz = \"drop\" }"),
            [
                "records.redact has `custmer`, which is no column: `customer`?",
                "records.redact has `zzzzzzzzz`, which is no column: there are customer, image, leave"
            ]
        );
        assert_eq!(
            misfits("key = \"leave\"")[0],
            "records.key has `leave`, which is no input: there are customer, image"
        );
        assert!(misfits("key = \"image\"")[0].contains("not a single value"));
    }
}
