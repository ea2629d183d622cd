//! Rows as a file of Parquet, which is sent while it is written.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use crate::buffer::Buffer;

/// Rows of a row group: so many are in memory at most.
const GROUP_ROWS_MAX: usize = 65_536;
/// … and so many bytes.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Writes a file.
pub struct Parquet(ArrowWriter<Buffer>);

impl Parquet {
    /// Of rows of some columns.
    pub fn new(buffer: Buffer, schema: SchemaRef) -> Result<Parquet, ArrowError> {
        let level = ZstdLevel::try_new(1).map_err(ArrowError::from)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
            .build();
        Ok(Parquet(ArrowWriter::try_new(buffer, schema, Some(properties))?))
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)?;
        if self.0.in_progress_size() > GROUP_BYTES_MAX {
            self.0.flush()?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn end(mut self) -> Result<(), ArrowError> {
        self.0.finish()?;
        Ok(())
    }
}
