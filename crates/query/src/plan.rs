//! From what is asked to a logical plan that may be run.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, cast, col, lit};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr, Statement};
use domain::Problem;

use crate::ask::RecordsAsk;
use crate::cells::{self, CellsAsk};
use crate::check::{self, Checked};
use crate::limits::Limits;
use crate::names::other_name;
use crate::problem;
use crate::session::BATCH_ROWS;
use crate::table::RECORDS;
use crate::union::Columns;

/// Columns of an answer.
const COLUMNS_MAX: usize = 2_000;
/// Texts of a query that may become a column each, in bytes together: each is then in memory as
/// often as a batch has rows.
const TEXTS_BYTES_MAX: usize = (64 << 20) / BATCH_ROWS;
/// Shorter ones do not count.
const TEXT_BYTES_MIN: usize = 64;

/// The plan of a statement.
pub async fn of_sql(
    session: &SessionContext,
    checked: Checked,
    limits: &Limits,
) -> Result<LogicalPlan, Problem> {
    let has_star = has_star(&checked.0);
    let failed = |error: DataFusionError| problem::of(&error, limits);
    let plan = session.state().statement_to_plan(checked.parsed()).await.map_err(failed)?;
    let only_reads =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    only_reads.verify_plan(&plan).map_err(failed)?;
    if has_star { without_other_names(plan).map_err(failed) } else { Ok(plan) }
}

/// The plan of a question for records: newest first, the rows of a request in their order.
pub async fn of_records(
    session: &SessionContext,
    columns: &Columns,
    ask: &RecordsAsk,
    limits: &Limits,
) -> Result<LogicalPlan, Problem> {
    let failed = |error: DataFusionError| problem::of(&error, limits);
    let table = session.table(RECORDS).await.map_err(failed)?;
    let mut filters: Vec<Expr> = vec![];
    filters.extend(ask.since_ms.map(|since| col("time").gt_eq(time(since))));
    filters.extend(ask.until_ms.map(|until| col("time").lt(time(until))));
    filters.extend(ask.key.as_ref().map(|key| col("key").eq(lit(key.as_str()))));
    filters.extend(ask.trace.as_ref().map(|trace| col("trace").eq(lit(trace.as_str()))));
    if let Some(id) = &ask.id {
        // As a range, so that it is compared with what is known of files and pages.
        filters.push(col("id").gt_eq(lit(id.as_str())));
        filters.push(col("id").lt(lit(format!("{id}~"))));
    }
    if let Some(condition) = &ask.condition {
        let condition = check::expression(condition, limits.sql_bytes_max)?;
        let state = session.state();
        let condition = state.create_logical_expr_from_sql_expr(condition, table.schema());
        filters.push(condition.map_err(failed)?);
    }
    let mut builder = LogicalPlanBuilder::from(table.into_unoptimized_plan());
    for filter in filters {
        builder = builder.filter(filter).map_err(failed)?;
    }
    let stored = columns.stored.fields().iter();
    let stored = stored.map(|field| Expr::Column(Column::new_unqualified(field.name())));
    let rows_max = ask.rows_max.min(limits.rows_max);
    builder
        .project(stored.collect::<Vec<Expr>>())
        .and_then(|builder| {
            builder.sort([col("id").sort(false, false), col("row").sort(true, false)])
        })
        .and_then(|builder| builder.limit(0, Some(rows_max)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)
}

fn time(ms: u64) -> Expr {
    let us = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())))
}

/// The plan of what is summed up: rows in any order, with no more columns than are needed. Of those
/// that did not fail, one in so many, drawn by the microsecond in which their request came.
pub async fn of_cells(
    session: &SessionContext,
    columns: &Columns,
    ask: &CellsAsk,
    one_in: u64,
    limits: &Limits,
) -> Result<LogicalPlan, Problem> {
    let failed = |error: DataFusionError| problem::of(&error, limits);
    let table = session.table(RECORDS).await.map_err(failed)?;
    let mut within = col("time").gt_eq(time(ask.start_ms)).and(col("time").lt(time(ask.end_ms())));
    if one_in > 1 {
        let failed = col("status").gt_eq(lit(cells::FAILED_FROM));
        within = within.and(is_drawn(one_in).or(failed));
    }
    let wanted = cells::wanted(ask, &columns.stored).into_iter();
    let wanted = wanted.map(|name| Expr::Column(Column::new_unqualified(name)));
    LogicalPlanBuilder::from(table.into_unoptimized_plan())
        .filter(within)
        .and_then(|builder| builder.project(wanted.collect::<Vec<Expr>>()))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)
}

/// One request in so many, by the microsecond in which it came: spread by a multiplication, as
/// requests may come at regular times, and clocks may be coarse.
fn is_drawn(one_in: u64) -> Expr {
    const PRIME: i64 = 1_000_003;
    const FACTOR: i64 = 618_035;
    let spread = cast(col("time"), DataType::Int64) % lit(PRIME) * lit(FACTOR) % lit(PRIME);
    spread.lt(lit(PRIME / one_in.max(1) as i64))
}

/// Refuses what would fill the memory beside the pool.
pub fn admit(plan: &LogicalPlan) -> Result<(), Problem> {
    let columns = plan.schema().fields().len();
    if columns > COLUMNS_MAX {
        let text =
            format!("the answer would have {columns} columns, and {COLUMNS_MAX} are allowed");
        return Err(problem::over(text).help("name the columns that you need"));
    }
    let mut bytes = 0usize;
    let counted = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            bytes = bytes.saturating_add(texts_of(expr)?);
            Ok(TreeNodeRecursion::Continue)
        })
    });
    counted.map_err(problem::internal)?;
    if bytes > TEXTS_BYTES_MAX {
        let text =
            format!("the texts in the query have {bytes} bytes, and {TEXTS_BYTES_MAX} are allowed");
        return Err(problem::over(text).help("write shorter texts"));
    }
    Ok(())
}

/// Bytes of the texts of an expression that are not merely compared with.
fn texts_of(expr: &Expr) -> datafusion::common::Result<usize> {
    let mut bytes = 0usize;
    expr.apply(|expr| {
        match expr {
            Expr::Literal(
                ScalarValue::Utf8(Some(text))
                | ScalarValue::LargeUtf8(Some(text))
                | ScalarValue::Utf8View(Some(text)),
                _,
            ) if text.len() > TEXT_BYTES_MIN => bytes = bytes.saturating_add(text.len()),
            Expr::InList(_) | Expr::Like(_) | Expr::SimilarTo(_) => {
                return Ok(TreeNodeRecursion::Jump);
            }
            Expr::BinaryExpr(binary)
                if matches!(
                    binary.op,
                    Operator::Eq
                        | Operator::NotEq
                        | Operator::Lt
                        | Operator::LtEq
                        | Operator::Gt
                        | Operator::GtEq
                ) && matches!(*binary.right, Expr::Literal(..))
                    && matches!(*binary.left, Expr::Column(_)) =>
            {
                return Ok(TreeNodeRecursion::Jump);
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

/// Whether the answer has all columns of something.
fn has_star(statement: &Statement) -> bool {
    fn of_body(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.projection.iter().any(|item| {
                matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
            }),
            SetExpr::SetOperation { left, right, .. } => of_body(left) || of_body(right),
            SetExpr::Query(query) => of_body(&query.body),
            _ => false,
        }
    }
    match statement {
        Statement::Query(query) => of_body(&query.body),
        _ => false,
    }
}

/// `*` has each column once: `in.city`, and not the same as `city` once more.
fn without_other_names(plan: LogicalPlan) -> datafusion::common::Result<LogicalPlan> {
    let columns: Vec<Column> = plan.schema().columns();
    let is_twice = |column: &Column| {
        columns.iter().any(|other| {
            other.relation == column.relation && other_name(&other.name) == Some(&column.name)
        })
    };
    let kept: Vec<Expr> =
        columns.iter().filter(|column| !is_twice(column)).cloned().map(Expr::Column).collect();
    match kept.len() < columns.len() {
        true => LogicalPlanBuilder::from(plan).project(kept)?.build(),
        false => Ok(plan),
    }
}
