//! Rows as text: JSON and CSV, batch by batch.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{JsonArray, LineDelimited, Writer, WriterBuilder};

use crate::answer::Format;
use crate::binary::{AsJson, as_texts};
use crate::buffer::Buffer;
use crate::parquet::Parquet;

/// Writes rows in some format.
pub struct Encoder {
    schema: SchemaRef,
    buffer: Buffer,
    writer: Form,
}

enum Form {
    Jsonl(Writer<Buffer, LineDelimited>),
    Json(Writer<Buffer, JsonArray>),
    Csv(Box<csv::Writer<Buffer>>),
    Parquet(Box<Parquet>),
}

impl Encoder {
    /// For rows of some columns.
    pub fn new(format: Format, schema: &Schema) -> Result<Encoder, ArrowError> {
        let schema = Arc::new(written(format, schema));
        let buffer = Buffer::default();
        let json = || {
            WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(AsJson))
        };
        let writer = match format {
            Format::Jsonl => Form::Jsonl(json().build(buffer.clone())),
            Format::Json => Form::Json(json().build(buffer.clone())),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().build(buffer.clone());
                // The names come first, also where no rows follow.
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
                Form::Csv(Box::new(writer))
            }
            Format::Parquet => {
                Form::Parquet(Box::new(Parquet::new(buffer.clone(), schema.clone())?))
            }
        };
        Ok(Encoder { schema, buffer, writer })
    }

    /// Adds rows; gives what is to be sent.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns: Result<Vec<ArrayRef>, ArrowError> = columns
            .map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(column.clone()),
                false => cast(&as_texts(column), field.data_type()),
            })
            .collect();
        let options = datafusion::arrow::array::RecordBatchOptions::new()
            .with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns?, &options)?;
        match &mut self.writer {
            Form::Jsonl(writer) => writer.write(&batch)?,
            Form::Json(writer) => writer.write(&batch)?,
            Form::Csv(writer) => writer.write(&batch)?,
            Form::Parquet(writer) => writer.write(&batch)?,
        }
        Ok(self.buffer.take())
    }

    /// What comes after all rows.
    pub fn end(self) -> Result<Vec<u8>, ArrowError> {
        match self.writer {
            Form::Jsonl(mut writer) => writer.finish()?,
            Form::Json(mut writer) => {
                writer.finish()?;
                return Ok(ended(self.buffer.take()));
            }
            Form::Csv(writer) => drop(writer),
            Form::Parquet(writer) => writer.end()?,
        }
        Ok(self.buffer.take())
    }
}

/// A document of text ends with a line break.
fn ended(mut text: Vec<u8>) -> Vec<u8> {
    text.push(b'\n');
    text
}

/// The columns as they are written: each name once, and all may be null. CSV has neither
/// lists nor bytes: there they are texts.
fn written(format: Format, schema: &Schema) -> Schema {
    let mut names: Vec<String> = vec![];
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{}:{count}", field.name());
        }
        names.push(name.clone());
        let datatype = match field.data_type() {
            other if format == Format::Csv && (other.is_nested() || *other == DataType::Binary) => {
                DataType::Utf8
            }
            datatype => datatype.clone(),
        };
        Field::new(name, datatype, true)
    });
    Schema::new(fields.collect::<Vec<Field>>())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BinaryArray, Float64Array, Int64Array, ListArray, StringArray};
    use datafusion::arrow::buffer::OffsetBuffer;
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn batch() -> RecordBatch {
        let lists =
            ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None]), None]);
        let columns: [(&str, ArrayRef); 4] = [
            ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("n", Arc::new(Float64Array::from(vec![f64::NAN, 0.5]))),
            ("text", Arc::new(StringArray::from(vec!["a,\"b\"\n", "é"]))),
            ("list", Arc::new(lists)),
        ];
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn bytes_are_text_where_they_can_be() {
        let bytes = BinaryArray::from_opt_vec(vec![Some(b"\xff\0"), Some(b"hi"), None]);
        let offsets = OffsetBuffer::new(vec![0, 2, 2, 3].into());
        let item = Arc::new(Field::new("item", DataType::Binary, true));
        let lists = ListArray::new(item, offsets, Arc::new(bytes.clone()), None);
        let columns: [(&str, ArrayRef); 2] = [("b", Arc::new(bytes)), ("l", Arc::new(lists))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(
            text_of(Format::Jsonl, std::slice::from_ref(&batch)),
            "{\"b\":{\"b64\":\"/wA=\"},\"l\":[{\"b64\":\"/wA=\"},\"hi\"]}\n\
             {\"b\":\"hi\",\"l\":[]}\n{\"b\":null,\"l\":[null]}\n"
        );
        assert_eq!(
            text_of(Format::Csv, &[batch]),
            "b,l\n\"{\"\"b64\"\":\"\"/wA=\"\"}\",\"[{\"\"b64\"\":\"\"/wA=\"\"}, hi]\"\nhi,[]\n,[]\n"
        );
    }

    fn text(format: Format, batches: &[RecordBatch]) -> String {
        text_as(format, &batch().schema(), batches)
    }

    fn text_of(format: Format, batches: &[RecordBatch]) -> String {
        text_as(format, &batches[0].schema(), batches)
    }

    fn text_as(format: Format, schema: &Schema, batches: &[RecordBatch]) -> String {
        let mut encoder = Encoder::new(format, schema).unwrap();
        let mut bytes = vec![];
        for batch in batches {
            bytes.extend(encoder.add(batch).unwrap());
        }
        bytes.extend(encoder.end().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn rows_are_text_of_each_format() {
        assert_eq!(
            text(Format::Jsonl, &[batch()]),
            "{\"n\":1,\"n:2\":null,\"text\":\"a,\\\"b\\\"\\n\",\"list\":[1,null]}\n\
             {\"n\":null,\"n:2\":0.5,\"text\":\"é\",\"list\":null}\n"
        );
        assert_eq!(text(Format::Jsonl, &[]), "");
        assert_eq!(text(Format::Json, &[]), "[]\n");
        let array = text(Format::Json, &[batch(), batch()]);
        assert!(array.starts_with("[{\"n\":1") && array.ends_with("}]\n"), "{array}");
        assert_eq!(
            text(Format::Csv, &[batch()]),
            "n,n:2,text,list\n1,NaN,\"a,\"\"b\"\"\n\",\"[1, ]\"\n,0.5,é,\n"
        );
        assert_eq!(text(Format::Csv, &[]), "n,n:2,text,list\n");
    }
}
