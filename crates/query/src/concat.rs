//! The function `concat`, with a limit: texts that are put together over and over would fill the
//! memory, whatever the pool says.

use std::sync::Arc;

use datafusion::arrow::array::{Array, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The texts of one batch have no more bytes together.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// How its error begins.
pub const TOO_LONG: &str = "concat makes texts of more than";

/// The function.
pub fn function() -> ScalarUDF {
    ScalarUDF::from(Concat { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat {
    signature: Signature,
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        "concat"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { rows };
        let mut columns = vec![];
        let mut bytes = 0usize;
        for arg in &args.args {
            let texts = match arg {
                ColumnarValue::Array(array) => cast(array, &DataType::Utf8)?,
                ColumnarValue::Scalar(scalar) => {
                    cast(&scalar.to_array_of_size(1)?, &DataType::Utf8)?
                }
            };
            let texts = texts.as_any().downcast_ref::<StringArray>().cloned();
            let texts = texts.ok_or_else(|| DataFusionError::Plan("concat takes texts".into()))?;
            let repeated = if texts.len() == 1 { rows } else { 1 };
            bytes = bytes.saturating_add(texts.value_data().len().saturating_mul(repeated));
            columns.push(texts);
        }
        if bytes > BATCH_BYTES_MAX {
            let mib = BATCH_BYTES_MAX >> 20;
            return Err(DataFusionError::ResourcesExhausted(format!("{TOO_LONG} {mib} MiB")));
        }
        let mut made = StringBuilder::with_capacity(rows, bytes);
        for row in 0..rows {
            let text: String = columns
                .iter()
                .map(|texts| (texts, if texts.len() == 1 { 0 } else { row }))
                .filter(|(texts, row)| texts.is_valid(*row))
                .map(|(texts, row)| texts.value(row))
                .collect();
            made.append_value(text);
        }
        let made = made.finish();
        match is_scalar {
            true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(
                &made, 0,
            )?)),
            false => Ok(ColumnarValue::Array(Arc::new(made))),
        }
    }
}
