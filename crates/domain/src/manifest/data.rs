//! `[data]`: what the model was trained with, and what later values are compared with.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::problem::excerpt;
use crate::provenance::{DATA_SETS_MAX, NAME_BYTES_MAX};

/// The file of a version that holds the profile of [`DataSection::reference`]; it is made when the
/// version is pushed.
pub const PROFILE_FILE: &str = "decalog.reference.json";

/// `[data]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataSection {
    /// What the model was trained with: a file, a directory, or a pattern such as `data/*.parquet`;
    /// or a list of them. Relative to the model directory or outside it. Its digest goes into the
    /// version's provenance; the data stay where they are.
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub train: Names,
    /// A file like the one that the model was trained with, `.parquet` or `.csv`, relative to the
    /// model directory or outside it. Its profile goes into the version: later values are compared
    /// with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Whether files of both belong to the version, too, if they are in the model directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
}

impl DataSection {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == DataSection::default()
    }

    /// Refuses what names no data, with the key and what to write.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.reference.as_ref().is_some_and(|path| path.is_empty() || path.len() > 1_024) {
            let text = "must be the path of a file, as in \"train.parquet\"";
            return Err(("data.reference", text.into()));
        }
        let names = &self.train.0;
        if names.len() > DATA_SETS_MAX {
            let text =
                format!("has more than {DATA_SETS_MAX} names: name a directory or a pattern");
            return Err(("data.train", text));
        }
        names.iter().try_for_each(|name| check_name(name)).map_err(|text| ("data.train", text))?;
        match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            Some((_, twice)) => Err(("data.train", format!("has `{}` twice", excerpt(twice)))),
            None => Ok(()),
        }
    }
}

/// Refuses what is no name of data here, with what to write.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err("must be paths, as in \"train.parquet\" or [\"data/*.parquet\"]".into());
    }
    // Its version id or ETag would be what tells one content from another.
    if name.contains("://") {
        return Err(format!(
            "names `{}`: data at an address are not read yet. Copy them to a file and name that; \
             a few lines in a README.md say where they came from",
            excerpt(name)
        ));
    }
    Ok(())
}

/// Names of data: one, or a list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Names(pub Vec<String>);

impl Names {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path, or a list of paths")
    }

    fn visit_str<E>(self, name: &str) -> Result<Names, E> {
        Ok(Names(vec![name.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
        let mut names = vec![];
        // What is too many is refused by `check`, with a sentence.
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "array", "items": { "type": "string" } },
                { "type": "string" },
            ],
        })
    }
}
