//! What was probably meant by a name that does not exist. However long it is and however many there
//! are, few letters of few names are compared.

use imbl::OrdMap;

use crate::code::Code;
use crate::id::{ModelKey, VersionNumber};
use crate::problem::Problem;
use crate::reference::Reference;

/// The most names before and after one that does not exist that are compared with it.
const NEIGHBOURS_MAX: usize = 128;

/// The most versions that are named for one that does not exist.
const VERSIONS_SHOWN_MAX: usize = 10;

/// The 404 that both planes give for a version that does not exist. There are `count`, `newest`
/// first.
pub fn no_such_version(
    reference: &Reference,
    count: usize,
    newest: impl Iterator<Item = VersionNumber>,
) -> Problem {
    let mut shown: Vec<String> =
        newest.take(VERSIONS_SHOWN_MAX).map(|number| number.to_string()).collect();
    shown.reverse();
    let older = match count - shown.len().min(count) {
        0 => String::new(),
        older => format!(" and {older} older"),
    };
    Problem::new(
        Code::NoSuchVersion,
        format!("`{}` has no such version: {reference}", reference.model.model),
    )
    .help(format!("it has {}{older}", shown.join(", ")))
}

/// The 404 that both planes give for a model that does not exist.
pub fn no_such_model(key: &ModelKey, near: Option<&str>) -> Problem {
    let problem = Problem::new(
        Code::NoSuchModel,
        format!("there is no model `{}` in project `{}`", key.model, key.project),
    );
    match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => {
            problem.help("decalog ls shows the models that there are; decalog deploy makes one")
        }
    }
}

/// Models of the same project whose names come shortly before or after a name: those that it may
/// have been meant for. However many there are, few are looked at.
pub fn neighbours<'a, V>(
    models: &'a OrdMap<ModelKey, V>,
    key: &'a ModelKey,
) -> impl Iterator<Item = (&'a ModelKey, &'a V)> {
    let is_near = |(other, _): &(&ModelKey, &V)| other.project == key.project;
    let before = models.range(..key.clone()).rev().take(NEIGHBOURS_MAX).take_while(is_near);
    let after = models.range(key.clone()..).take(NEIGHBOURS_MAX).take_while(is_near);
    before.chain(after)
}

/// The longest name that gets a suggestion, in bytes.
const NEAR_BYTES_MAX: usize = 128;
/// The most names that one is compared with, letter by letter.
const NEAR_NAMES_MAX: usize = 512;

/// The name nearest to `name`, if any is near: within a third of its letters, by edits and swaps of
/// neighbours. Long names get none, and of many names only the first of about the same length are
/// looked at.
pub fn near_name<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NEAR_BYTES_MAX {
        return None;
    }
    let limit = name.len() / 3 + 1;
    names
        .filter(|other| {
            other.len() <= NEAR_BYTES_MAX && other.len().abs_diff(name.len()) <= 4 * limit
        })
        .take(NEAR_NAMES_MAX)
        .map(|other| (edit_distance(name, other), other))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, other)| other)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // The last two rows of the table, which is all that a swap looks back.
    let (mut before, mut last) = (vec![], (0..=b.len()).collect::<Vec<usize>>());
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + (a[i - 1] != b[j - 1]) as usize;
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_versions_the_newest_are_named() {
        let reference: Reference = "m@v70000".parse().unwrap();
        let help = |count: u32| {
            no_such_version(&reference, count as usize, (1..=count).rev().map(VersionNumber)).help
        };
        assert_eq!(help(2), "it has v1, v2");
        assert_eq!(help(12), "it has v3, v4, v5, v6, v7, v8, v9, v10, v11, v12 and 2 older");
        assert!(help(10_000).len() < 120);
    }

    #[test]
    fn near_names() {
        assert_eq!(near_name("chrun", ["fraud", "churn"].into_iter()), Some("churn"));
        assert_eq!(near_name("resnet", ["fraud", "churn"].into_iter()), None);
        let long = "a".repeat(20_000_000);
        assert_eq!(near_name(&long, [long.as_str(), "churn"].into_iter()), None);
        assert_eq!(
            near_name("churn", std::iter::repeat_n(long.as_str(), 1_000).chain(["chrun"])),
            Some("chrun")
        );
    }
}
