//! Whether values of a recorded request were taken out of it before it was kept.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use domain::Column;
use domain::manifest::Redact;

use super::PastRequest;
use crate::columns::INPUT;

/// The digits of a text that stands for a value.
const DISGUISE_DIGITS: usize = 32;

impl PastRequest {
    /// Whether the record has an input as a redaction leaves it: without a value in any row, or with
    /// texts of hexadecimal digits in place of values.
    pub fn is_redacted(&self, column: &Column, rule: Redact) -> bool {
        let name = format!("{INPUT}{}", column.name);
        let mut arrays = self.kept.iter().map(|(batch, row)| (batch.column_by_name(&name), *row));
        match rule {
            Redact::Drop => arrays.all(|(array, row)| array.is_none_or(|it| it.is_null(row))),
            Redact::Hmac => arrays.all(|(array, row)| {
                let Some(array) = array else { return false };
                // Texts are bytes in a file that has some that are not UTF-8.
                let text = match (array.as_string_opt::<i32>(), array.as_binary_opt::<i32>()) {
                    (Some(texts), _) => texts.value(row).as_bytes(),
                    (None, Some(bytes)) => bytes.value(row),
                    (None, None) => return false,
                };
                array.is_null(row) || is_disguise(text)
            }),
        }
    }
}

fn is_disguise(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    text.len() == DISGUISE_DIGITS && text.iter().all(is_digit)
}
