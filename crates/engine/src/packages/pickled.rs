//! What a model's text and its pickles need: modules, and the packages that bring them.

use std::collections::BTreeSet;

use domain::{Code, Problem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::distributions;

/// Since this version XGBoost has a package without the libraries of GPUs.
const XGBOOST_CPU_SINCE: u64 = 3;

/// A module that a model needs, as the worker tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Need {
    /// By which it is imported.
    pub module: String,
    /// Where: `model.py:3`, or the name of a pickle.
    pub place: String,
    /// Whether only a function imports it that need not run.
    pub lazy: bool,
    /// What a pickle names of the module.
    pub within: Vec<String>,
    /// Versions that a pickle tells, by package.
    pub versions: BTreeMap<String, String>,
}

impl Need {
    /// The packages that bring it, the one to propose first; empty if none is known.
    pub fn packages(&self) -> Vec<&'static str> {
        distributions::of_module(&self.module)
    }

    /// The package to propose, in the version that a pickle tells.
    pub fn proposal(&self) -> Option<String> {
        let package = *self.packages().first()?;
        let version = self.versions.get(package);
        if self.module == "xgboost" {
            let version = self.versions.get("xgboost");
            let major = version.and_then(|version| version.split('.').next()?.parse().ok());
            let name = if major.is_some_and(|major: u64| major < XGBOOST_CPU_SINCE) {
                "xgboost"
            } else {
                package
            };
            return Some(version.map_or(name.into(), |version| format!("{name}=={version}")));
        }
        if self.within.iter().any(|name| name.starts_with("numpy._core")) {
            return Some("numpy>=2".into());
        }
        Some(version.map_or(package.into(), |version| format!("{package}=={version}")))
    }

    /// As a line of what is missing: `sklearn  scikit-learn (model.py:1)`.
    pub fn line(&self) -> String {
        match self.packages().first() {
            Some(package) => format!("{}  {package} ({})", self.module, self.place),
            None => format!("{}  no package is known that brings it ({})", self.module, self.place),
        }
    }
}

/// The lines of a requirements.txt for a model that is only a pickle.
pub fn lines(file: &str, needs: &[Need]) -> Result<Vec<String>, Problem> {
    let unknown: Vec<String> =
        needs.iter().filter(|need| need.packages().is_empty()).map(Need::line).collect();
    if !unknown.is_empty() {
        let text = format!("{file} needs modules, and nothing says which packages bring them");
        return Err(Problem::new(Code::MissingPackages, text).details(unknown).help(
            "add a requirements.txt with all packages that it was saved with (pip freeze shows them), or put your own modules beside the file",
        ));
    }
    let mut lines: BTreeSet<String> = needs.iter().filter_map(Need::proposal).collect();
    // The classes that are like those of scikit-learn need it.
    let is_like = |need: &Need| need.within.iter().any(|name| name.ends_with(".sklearn"));
    if needs.iter().any(is_like) && !needs.iter().any(|need| need.module == "sklearn") {
        let version = needs.iter().find_map(|need| need.versions.get("scikit-learn"));
        lines.insert(
            version.map_or("scikit-learn".into(), |version| format!("scikit-learn=={version}")),
        );
    }
    Ok(lines.into_iter().collect())
}

/// What surely fails when the model is loaded, of packages with these names.
pub fn missing<'a>(needs: &'a [Need], names: &BTreeSet<String>) -> Vec<&'a Need> {
    let is_missing = |need: &&Need| {
        let packages = need.packages();
        let brings = |package: &&str| names.contains(*package);
        // What is not known may come with anything.
        !need.lazy && !packages.iter().any(brings) && (!packages.is_empty() || names.is_empty())
    };
    needs.iter().filter(is_missing).collect()
}

/// The problem of a model whose packages do not bring what it imports.
pub fn refusal(source: &str, missing: &[&Need]) -> Problem {
    let text = format!("the model imports modules that no package of {source} brings");
    Problem::new(Code::MissingPackages, text)
        .details(missing.iter().map(|need| need.line()))
        .help("add the packages; decalog check --fix writes them into requirements.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(module: &str, within: &[&str], versions: &[(&str, &str)]) -> Need {
        Need {
            module: module.into(),
            place: "m.joblib".into(),
            within: within.iter().map(|name| name.to_string()).collect(),
            versions: versions
                .iter()
                .map(|(name, version)| (name.to_string(), version.to_string()))
                .collect(),
            ..Need::default()
        }
    }

    #[test]
    fn a_pickle_becomes_lines() {
        let needs = [
            need("joblib", &[], &[]),
            need("lightgbm", &["lightgbm.basic", "lightgbm.sklearn"], &[]),
            need("numpy", &["numpy._core.multiarray"], &[]),
        ];
        assert_eq!(
            lines("m.joblib", &needs).unwrap(),
            ["joblib", "lightgbm", "numpy>=2", "scikit-learn"]
        );
        let versions = [("scikit-learn", "1.9.1"), ("xgboost", "3.2.0")];
        let needs =
            [need("sklearn", &[], &versions), need("xgboost", &["xgboost.sklearn"], &versions)];
        assert_eq!(lines("m.pkl", &needs).unwrap(), ["scikit-learn==1.9.1", "xgboost-cpu==3.2.0"]);
        let old = [need("xgboost", &[], &[("xgboost", "2.1.4")])];
        assert_eq!(lines("m.pkl", &old).unwrap(), ["xgboost==2.1.4"]);
        let problem = lines("m.pkl", &[need("of_ours", &[], &[])]).unwrap_err();
        assert_eq!(problem.code, Code::MissingPackages);
        assert!(
            problem.details[0].contains("of_ours") && problem.help.contains("requirements.txt")
        );
    }

    #[test]
    fn only_what_surely_fails_is_missing() {
        let names =
            |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
        let lazy = Need { lazy: true, ..need("torch", &[], &[]) };
        let needs =
            [need("cv2", &[], &[]), need("sklearn", &[], &[]), need("of_ours", &[], &[]), lazy];
        let missing = |found: &[&str]| -> Vec<String> {
            missing(&needs, &names(found)).iter().map(|need| need.module.clone()).collect()
        };
        assert_eq!(missing(&["opencv-python", "scikit-learn", "of-theirs"]), Vec::<String>::new());
        assert_eq!(missing(&["numpy"]), ["cv2", "sklearn"]);
        assert_eq!(missing(&[]), ["cv2", "sklearn", "of_ours"], "nothing is installed at all");
    }
}
