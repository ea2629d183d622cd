//! Joins cannot run away: where there is nothing to look up by, one side must be short, and each
//! looks up now and then, so that a query that nobody waits for ends.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
    replace_children_if_necessary,
};
use futures_util::StreamExt;

/// Rows of the shorter side of a join without `=`.
const SIDE_ROWS_MAX: usize = 1_000;
/// How its error begins.
pub const TOO_LONG: &str = "a join without `=` has more than";

/// Bounds all joins of a plan.
pub fn bound(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let bounded = plan.transform_up(|node| {
        if is::<CrossJoinExec>(&node) || is::<NestedLoopJoinExec>(&node) {
            let mut sides: Vec<Arc<dyn ExecutionPlan>> =
                node.children().into_iter().cloned().collect();
            // The first is the one that is kept in memory.
            if let Some(side) = sides.first_mut() {
                *side = Arc::new(Short(side.clone()));
            }
            let node = replace_children_if_necessary(node, sides)?;
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _));
        }
        if is::<HashJoinExec>(&node) || is::<SortMergeJoinExec>(&node) {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _));
        }
        Ok(Transformed::no(node))
    });
    bounded.map(|bounded| bounded.data)
}

fn is<T: ExecutionPlan>(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<T>()
}

/// Passes on its input, as long as it is short.
#[derive(Debug)]
struct Short(Arc<dyn ExecutionPlan>);

impl DisplayAs for Short {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Short: rows_max={SIDE_ROWS_MAX}")
    }
}

impl ExecutionPlan for Short {
    fn name(&self) -> &str {
        "Short"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let child = children.into_iter().next();
        let child = child.ok_or_else(|| DataFusionError::Plan("a side is missing".into()))?;
        Ok(Arc::new(Short(child)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.0.execute(partition, context)?;
        let schema = input.schema();
        let mut rows = 0usize;
        let counted = input.map(move |batch| {
            let batch = batch?;
            rows += batch.num_rows();
            match rows > SIDE_ROWS_MAX {
                false => Ok(batch),
                true => Err(DataFusionError::ResourcesExhausted(format!(
                    "{TOO_LONG} {SIDE_ROWS_MAX} rows on both sides"
                ))),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}
