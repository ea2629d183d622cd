//! Which models a query is about, if it says so: the columns of other models, which may have the
//! same names and other types, are then no columns of the table.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SetExpr, Statement, TableFactor, Value, Visit, Visitor,
};

use crate::table::RECORDS;

/// The names of the models; `None` if it may be about all.
pub fn models(statement: &Statement) -> Option<BTreeSet<String>> {
    let mut found = Found(BTreeSet::new());
    match statement.visit(&mut found) {
        // Where none is named, as by `describe`, it is about all.
        ControlFlow::Continue(()) => Some(found.0).filter(|models| !models.is_empty()),
        ControlFlow::Break(()) => None,
    }
}

struct Found(BTreeSet<String>);

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.take_body(&query.body)
    }
}

impl Found {
    fn take_body(&mut self, body: &SetExpr) -> ControlFlow<()> {
        match body {
            SetExpr::Select(select) => self.take(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.take_body(left)?;
                self.take_body(right)
            }
            // A query in parentheses is visited itself.
            SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn take(&mut self, select: &Select) -> ControlFlow<()> {
        let tables: Vec<&TableFactor> = select
            .from
            .iter()
            .flat_map(|from| {
                let joined = from.joins.iter().map(|join| &join.relation);
                std::iter::once(&from.relation).chain(joined)
            })
            .collect();
        let mut of_records = vec![];
        for table in &tables {
            match table {
                TableFactor::Table { name, alias, .. } => {
                    let name = name.to_string().to_lowercase();
                    if name.split('.').next_back().map(|it| it.trim_matches('"')) == Some(RECORDS) {
                        let alias = alias.as_ref().map(|alias| alias.name.value.to_lowercase());
                        of_records.push(alias.unwrap_or_else(|| RECORDS.into()));
                    }
                }
                TableFactor::Derived { .. } => {}
                _ => return ControlFlow::Break(()),
            }
        }
        let [alias] = of_records.as_slice() else {
            return match of_records.is_empty() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
        };
        let named = select
            .selection
            .as_ref()
            .and_then(|selection| named_by(selection, alias, tables.len() == 1));
        match named {
            Some(named) => {
                self.0.extend(named);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

/// What a condition says that the model is.
fn named_by(condition: &Expr, alias: &str, is_alone: bool) -> Option<Vec<String>> {
    let is_model = |expr: &Expr| match expr {
        Expr::Identifier(name) => is_alone && name.value.eq_ignore_ascii_case("model"),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, name] => {
                table.value.eq_ignore_ascii_case(alias) && name.value.eq_ignore_ascii_case("model")
            }
            _ => false,
        },
        _ => false,
    };
    match condition {
        Expr::Nested(inner) => named_by(inner, alias, is_alone),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            named_by(left, alias, is_alone).or_else(|| named_by(right, alias, is_alone))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_model(left) => {
            text(right).map(|text| vec![text])
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_model(right) => {
            text(left).map(|text| vec![text])
        }
        Expr::InList { expr, list, negated: false } if is_model(expr) => {
            list.iter().map(text).collect()
        }
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: Option<&[&str]>) {
        let statement = crate::check::statement(sql, 10_000).unwrap();
        let found = models(&statement.0);
        let found: Option<Vec<&str>> =
            found.as_ref().map(|found| found.iter().map(String::as_str).collect());
        assert_eq!(found.as_deref(), expected, "{sql}");
    }

    #[test]
    fn a_query_is_about_the_models_that_all_its_parts_name() {
        check("select * from records where model = 'a'", Some(&["a"]));
        check(
            "select * from records where status = 200 and (model in ('a', 'b'))",
            Some(&["a", "b"]),
        );
        check("select * from records r where 'a' = r.model", Some(&["a"]));
        check("with x as (select * from records where model = 'a') select * from x", Some(&["a"]));
        check(
            "select 1 from records where model = 'a' union all select 2 from records where model = 'b'",
            Some(&["a", "b"]),
        );
        check("select * from records", None);
        check("select * from records where model = 'a' or status = 1", None);
        check("select * from records where model != 'a'", None);
        check("select * from records a, records b where a.model = 'a'", None);
        check("select * from records where model = 'a' and id in (select id from records)", None);
        check("select 1 where exists (select * from public.records)", None);
        check("select * from gaps, records where model = 'a'", None);
        check("select * from gaps g, records where records.model = 'a'", Some(&["a"]));
    }
}
