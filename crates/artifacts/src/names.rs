//! Names of files that are not whole yet: no two writers share one.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ArtifactError;

/// The longest name of an upload, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Makes names of files of one process differ.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A name that no other file of this or another process has.
pub(crate) fn unique(of: &str) -> String {
    format!("{of}-{}-{}.partial", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whose upload it is: chosen by the client, so that two that send the same blob never write to one
/// file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UploadName(String);

impl UploadName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadName {
    type Err = ArtifactError;

    fn from_str(text: &str) -> Result<UploadName, ArtifactError> {
        let is_valid = text.len() <= NAME_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_valid {
            Ok(UploadName(text.into()))
        } else {
            Err(ArtifactError::UploadName(text.chars().take(80).collect()))
        }
    }
}
