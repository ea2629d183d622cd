//! The tables of a query: `records`, which opens no file that cannot have what is asked, and `gaps`.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, Statistics};
use datafusion::datasource::MemTable;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use object_store::path::Path;
use records::Gap;

use crate::known::KnownFile;
use crate::prune::{OfFiles, statistics};
use crate::union::Columns;

/// Of records.
pub const RECORDS: &str = "records";
/// Of what is missing.
pub const GAPS: &str = "gaps";
/// With more of them (files times columns), what is known of each file is not kept for the whole
/// query.
const STATISTICS_MAX: usize = 1_000_000;

/// The table `records`.
#[derive(Debug)]
pub struct Records {
    /// Those that the caller may see, oldest hour first.
    pub files: Vec<Arc<KnownFile>>,
    /// Of them.
    pub columns: Columns,
    /// The store.
    pub url: ObjectStoreUrl,
    /// Where in the store they are.
    pub prefix: Path,
}

impl Records {
    /// A filter by the names of files.
    fn stored_names(&self, filter: &Expr) -> Result<Expr> {
        let renamed = filter.clone().transform(|expr| match &expr {
            Expr::Column(column) => match self.columns.all.index_of(&column.name) {
                Ok(place) => {
                    let stored = self.columns.stored.field(self.columns.stored_place(place));
                    Ok(Transformed::yes(Expr::Column(Column::new_unqualified(stored.name()))))
                }
                Err(_) => Ok(Transformed::no(expr)),
            },
            _ => Ok(Transformed::no(expr)),
        });
        Ok(renamed?.data)
    }

    fn predicate(
        &self,
        state: &dyn Session,
        filters: &[Expr],
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let filters: Result<Vec<Expr>> =
            filters.iter().map(|filter| self.stored_names(filter)).collect();
        let Some(filter) = conjunction(filters?) else { return Ok(None) };
        let schema = DFSchema::try_from(self.columns.stored.clone())?;
        state.create_physical_expr(filter, &schema).map(Some)
    }

    /// The files that may have what is asked, newest hour first.
    fn files_for(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Vec<&Arc<KnownFile>> {
        let kept = predicate.and_then(|predicate| {
            let pruning = PruningPredicateBuilder::new()
                .with_file_schema(self.columns.stored.clone())
                .try_build(predicate.clone());
            pruning.ok()?.prune(&OfFiles(&self.files)).ok()
        });
        let is_kept =
            |place: &usize| kept.as_ref().is_none_or(|kept| kept.get(*place) != Some(&false));
        (0..self.files.len()).filter(is_kept).rev().map(|place| &self.files[place]).collect()
    }
}

#[async_trait]
impl TableProvider for Records {
    fn schema(&self) -> SchemaRef {
        self.columns.all.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = self.predicate(state, filters)?;
        let files = self.files_for(predicate.as_ref());
        tracing::debug!("{} of {} files", files.len(), self.files.len());
        let stored = &self.columns.stored;
        let names: Vec<String> = stored.fields().iter().map(|field| field.name().clone()).collect();
        let with_statistics = files.len().saturating_mul(names.len()) <= STATISTICS_MAX;
        let count = state.config().target_partitions().clamp(1, files.len().max(1));
        let mut groups = vec![FileGroup::default(); count];
        for (place, known) in files.iter().enumerate() {
            let path = Path::from_iter(
                self.prefix.parts().chain(Path::from(known.file.path.as_str()).parts()),
            );
            let mut file = PartitionedFile::new(path.to_string(), known.file.bytes);
            if with_statistics {
                file = file.with_statistics(Arc::new(statistics(known, &names)?));
            }
            groups[place % count].push(file);
        }
        let rows: u64 = files.iter().map(|known| known.file.rows).sum();
        let rows = match predicate {
            None => Precision::Exact(rows as usize),
            Some(_) => Precision::Inexact(rows as usize),
        };
        let of_all = Statistics { num_rows: rows, ..Statistics::new_unknown(stored) };
        let options = state.table_options().parquet.clone();
        let mut source = ParquetSource::new(stored.clone()).with_table_parquet_options(options);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let asked: Vec<usize> = match projection {
            Some(places) => places.clone(),
            None => (0..self.columns.all.fields().len()).collect(),
        };
        let mut read: Vec<usize> =
            asked.iter().map(|place| self.columns.stored_place(*place)).collect();
        let is_renamed = asked != read;
        if is_renamed {
            read.sort_unstable();
            read.dedup();
        }
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(of_all)
            .with_projection_indices(Some(read.clone()))?
            .with_limit(limit)
            .build();
        let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(config);
        if !is_renamed {
            return Ok(scan);
        }
        let named = asked.iter().map(|place| {
            let stored_place = self.columns.stored_place(*place);
            let at = read.binary_search(&stored_place).unwrap_or_default();
            let column = PhysicalColumn::new(stored.field(stored_place).name(), at);
            let column: Arc<dyn PhysicalExpr> = Arc::new(column);
            (column, self.columns.all.field(*place).name().clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(named.collect::<Vec<_>>(), scan)?))
    }
}

/// The table `gaps`.
pub fn gaps(gaps: &[Gap]) -> Result<Arc<dyn TableProvider>> {
    let number = |name: &str| Field::new(name, DataType::UInt64, false);
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("time", time, false),
        number("records"),
        number("values"),
        Field::new("reason", DataType::Utf8, false),
    ]));
    let times =
        TimestampMillisecondArray::from_iter_values(gaps.iter().map(|gap| gap.at_ms as i64));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(UInt64Array::from_iter_values(gaps.iter().map(|gap| gap.records))),
            Arc::new(UInt64Array::from_iter_values(gaps.iter().map(|gap| gap.values))),
            Arc::new(StringArray::from_iter_values(gaps.iter().map(|gap| gap.reason.as_str()))),
        ],
    )?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
