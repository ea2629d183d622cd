//! Bytes in text: as they are where they are UTF-8, else as `{"b64": "…"}`, which is how callers of a
//! model send and get them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, StringArray};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::NullableEncoder;
use datafusion::arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use protocol::encoded::write_bytes;

/// Writes columns of bytes into JSON.
#[derive(Debug)]
pub struct AsJson;

impl EncoderFactory for AsJson {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder = |array: &'a BinaryArray| {
            NullableEncoder::new(Box::new(Elements(array)), array.nulls().cloned())
        };
        Ok(array.as_binary_opt::<i32>().map(encoder))
    }
}

struct Elements<'a>(&'a BinaryArray);

impl Encoder for Elements<'_> {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        write_bytes(self.0.value(at), out);
    }
}

/// A column of bytes, or of lists of them, as one of texts; others as they are.
pub fn as_texts(array: &ArrayRef) -> ArrayRef {
    if let Some(bytes) = array.as_binary_opt::<i32>() {
        let texts: StringArray = bytes.iter().map(|bytes| bytes.map(text)).collect();
        return Arc::new(texts);
    }
    match (array.as_list_opt::<i32>(), array.data_type()) {
        (Some(list), DataType::List(item)) if *item.data_type() == DataType::Binary => {
            let item = Arc::new(item.as_ref().clone().with_data_type(DataType::Utf8));
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::new(item, offsets, as_texts(list.values()), nulls))
        }
        _ => array.clone(),
    }
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => {
            let mut json = vec![];
            write_bytes(bytes, &mut json);
            String::from_utf8(json).unwrap_or_default()
        }
    }
}
