//! What differs in what two versions were made of. Pure.

use std::collections::BTreeMap;

use control::view::VersionView;
use domain::{Column, Schema};
use server::{ChangeKind, ChangesView};

use super::{Changed, Difference};
use crate::answers::figure;
use crate::provenance;

/// Names that a short line has.
const NAMES_MAX: usize = 4;

/// What differs.
pub fn of(changes: ChangesView, before: &VersionView, after: &VersionView) -> Difference {
    let schemas = before.schema.as_ref().zip(after.schema.as_ref());
    let columns = |of: fn(&Schema) -> &Vec<Column>| {
        schemas.map(|(before, after)| beside(named(of(before)), named(of(after))))
    };
    let data = |version: &VersionView| -> BTreeMap<String, String> {
        let sets = version.provenance.data.iter();
        sets.map(|set| (set.name.clone(), format!("{} {} bytes", set.digest.short(), set.bytes)))
            .collect()
    };
    let metrics = |version: &VersionView| -> BTreeMap<String, String> {
        let metrics = version.provenance.metrics.iter();
        metrics.map(|(name, value)| (name.clone(), figure(*value))).collect()
    };
    Difference {
        changes,
        packages: beside(packages(before), packages(after)),
        inputs: columns(|schema| &schema.inputs),
        outputs: columns(|schema| &schema.outputs),
        data: beside(data(before), data(after)),
        metrics: beside(metrics(before), metrics(after)),
        facts: beside(facts(before), facts(after)),
    }
}

/// What both have, by name, where it differs.
fn beside(before: BTreeMap<String, String>, after: BTreeMap<String, String>) -> Vec<Changed> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let changed = names.into_iter().map(|name| Changed {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    });
    changed.filter(|changed| changed.before != changed.after).collect()
}

/// Packages by their names, whatever their version.
fn packages(version: &VersionView) -> BTreeMap<String, String> {
    let split = |text: &String| {
        let (name, rest) = text.split_once("==").unwrap_or((text, "any"));
        (name.trim().to_string(), rest.trim().to_string())
    };
    version.packages.iter().map(split).collect()
}

fn named(columns: &[Column]) -> BTreeMap<String, String> {
    let words = |column: &Column| {
        let text = column.to_string();
        let said = text.strip_prefix(&format!("{}: ", column.name)).unwrap_or(&text).to_string();
        let categories: Vec<String> = column.categories.iter().map(ToString::to_string).collect();
        let said = match categories.is_empty() {
            true => said,
            false => format!("one of {}", categories.join(", ")),
        };
        match &column.default {
            Some(default) => format!("{said}, else {default}"),
            None => said,
        }
    };
    columns.iter().map(|column| (column.name.clone(), words(column))).collect()
}

fn facts(version: &VersionView) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::from([("runtime".into(), version.runtime.to_string())]);
    if !version.provenance.author.is_empty() {
        facts.insert("pushed by".into(), version.provenance.author.clone());
    }
    if let Some(code) = provenance::code(&version.provenance) {
        facts.insert("commit".into(), code);
    }
    facts
}

/// The same in a line for each part that differs.
pub fn brief(difference: &Difference) -> Vec<String> {
    let mut lines = vec![];
    let files: Vec<String> = difference
        .changes
        .files
        .iter()
        .map(|file| match file.change {
            ChangeKind::Added => format!("+{}", file.path),
            ChangeKind::Removed => format!("−{}", file.path),
            ChangeKind::Changed => file.path.clone(),
        })
        .collect();
    let mut add = |part: &str, names: Vec<String>| {
        let more = names.len().saturating_sub(NAMES_MAX);
        let shown: Vec<String> = names.into_iter().take(NAMES_MAX).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if !shown.is_empty() {
            lines.push(format!("{part:<9} {}{more}", shown.join(", ")));
        }
    };
    add("files", files);
    add("manifest", difference.changes.manifest.iter().map(|it| it.key.clone()).collect());
    for (part, changed) in [
        ("packages", Some(&difference.packages)),
        ("inputs", difference.inputs.as_ref()),
        ("outputs", difference.outputs.as_ref()),
        ("data", Some(&difference.data)),
        ("metrics", Some(&difference.metrics)),
    ] {
        add(part, changed.into_iter().flatten().map(words).collect());
    }
    lines
}

/// A value of both, in words.
pub fn words(changed: &Changed) -> String {
    let Changed { name, before, after } = changed;
    match (before, after) {
        (None, Some(after)) => format!("{name} added ({after})"),
        (Some(before), None) => format!("{name} removed ({before})"),
        (before, after) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            format!("{name} {} → {}", text(before), text(after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn what_is_the_same_is_left_out() {
        let changed = beside(
            map(&[("numpy", "2.1"), ("joblib", "1.4"), ("gone", "1")]),
            map(&[("numpy", "2.2"), ("joblib", "1.4"), ("new", "3")]),
        );
        let said: Vec<String> = changed.iter().map(words).collect();
        assert_eq!(said, ["gone removed (1)", "new added (3)", "numpy 2.1 → 2.2"]);
    }
}
