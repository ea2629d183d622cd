//! What predictions and their truth are compared as: as the manifest says, else as their values look.

use domain::manifest::{THRESHOLD, TruthSection};
use domain::outcome::{Outcome, OutcomesSeen};
use domain::quality::TruthKind;
use serde::{Deserialize, Serialize};

/// How predictions and their truth are compared.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The output that is compared.
    pub output: String,
    /// What it is.
    pub kind: TruthKind,
    /// The class whose score it is, or that precision and recall are of.
    pub positive: Option<String>,
    /// Whether 1 and 0 are yes and no.
    pub is_binary: bool,
    /// A score from here on is a positive.
    pub threshold: f64,
    /// Whether a score is a probability.
    pub is_probability: bool,
    /// Numbers are kept less this.
    pub centre: f64,
    /// The absolute error that is a loss of 1, once it is known.
    pub loss_scale: Option<f64>,
    /// Truth that takes longer, in milliseconds, is not waited for.
    pub truth_ms_max: u64,
}

/// Why they cannot be compared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undecided {
    /// Nothing to see yet.
    #[error("no prediction of `{output}` and its truth are known yet")]
    Nothing {
        /// The output.
        output: String,
    },
    /// The truth is a text, the output the score of one.
    #[error(
        "the truth is a text ({classes}), and `{output}` a score: say which it is the score of"
    )]
    Positive {
        /// The output.
        output: String,
        /// Some of the texts.
        classes: String,
    },
    /// The truth is a text, the output a number.
    #[error("the truth is a text ({classes}), and `{output}` a number: they cannot be compared")]
    Numbers {
        /// The output.
        output: String,
        /// Some of the texts.
        classes: String,
    },
}

impl Undecided {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            Undecided::Nothing { .. } => "send truth with decalog feedback",
            Undecided::Positive { .. } => "[truth] positive = \"…\" in decalog.toml, and deploy",
            Undecided::Numbers { .. } => "[truth] output = \"…\" in decalog.toml, and deploy",
        }
    }
}

/// Texts that an error shows.
const CLASSES_SHOWN: usize = 3;

/// Decides how an output is compared, by what the manifest says, and by what its values and those of
/// the truth look like.
pub fn compare(
    section: &TruthSection,
    output: &str,
    truth: &OutcomesSeen,
    predicted: &OutcomesSeen,
) -> Result<Comparison, Undecided> {
    if truth.count() == 0 || predicted.count() == 0 {
        return Err(Undecided::Nothing { output: output.into() });
    }
    let classes = || {
        let some: Vec<_> = truth.classes.iter().take(CLASSES_SHOWN).cloned().collect();
        some.join(", ")
    };
    let are_texts = truth.are_some(truth.texts);
    let (least, greatest) = predicted.range.unwrap_or((0.0, 0.0));
    let is_probability = least >= 0.0 && greatest <= 1.0 && !predicted.are_some(predicted.texts);
    let kind = section.kind.unwrap_or_else(|| kind_of(section, truth, predicted, is_probability));
    let named = section.positive.clone();
    // An output that is called as a class is the score of that.
    let positive =
        named.or_else(|| Some(output.to_string()).filter(|name| truth.classes.contains(name)));
    let is_binary = truth.are_binary() && section.positive.is_none();
    match kind {
        TruthKind::Number if are_texts => {
            return Err(Undecided::Numbers { output: output.into(), classes: classes() });
        }
        TruthKind::Score if positive.is_none() && !is_binary => {
            return Err(Undecided::Positive { output: output.into(), classes: classes() });
        }
        _ => {}
    }
    let (low, high) = truth.range.unwrap_or((0.0, 0.0));
    Ok(Comparison {
        output: output.into(),
        kind,
        positive: match (kind, is_binary) {
            (TruthKind::Number, _) => None,
            (_, true) => Some("true".into()),
            (TruthKind::Score, false) => positive,
            (TruthKind::Class, false) => section.positive.clone(),
        },
        is_binary,
        threshold: section.threshold.unwrap_or(THRESHOLD),
        is_probability,
        centre: if kind == TruthKind::Number { low + (high - low) / 2.0 } else { 0.0 },
        loss_scale: None,
        truth_ms_max: section.truth_ms_max(),
    })
}

fn kind_of(
    section: &TruthSection,
    truth: &OutcomesSeen,
    predicted: &OutcomesSeen,
    is_probability: bool,
) -> TruthKind {
    let are_texts = truth.are_some(truth.texts);
    let has_two = truth.are_binary() || are_texts && truth.classes.len() <= 2;
    if predicted.are_some(predicted.texts) || predicted.are_some(predicted.bools) {
        return TruthKind::Class;
    }
    // Floating-point numbers are no names of classes.
    if predicted.floats > 0 {
        return match is_probability && (has_two || section.positive.is_some()) {
            true => TruthKind::Score,
            false => TruthKind::Number,
        };
    }
    let are_few = !truth.are_many() && !predicted.are_many();
    match are_texts || are_few && !truth.are_some(truth.fractions) {
        true => TruthKind::Class,
        false => TruthKind::Number,
    }
}

impl Comparison {
    /// The name of the class that a value is.
    pub fn class(&self, outcome: &Outcome) -> String {
        match outcome.truth().filter(|_| self.is_binary) {
            Some(truth) => Outcome::Bool(truth).class().into_owned(),
            None => outcome.class().into_owned(),
        }
    }

    /// Whether a value is the positive class; `None` if it should be yes or no, and is neither.
    pub fn is_positive(&self, outcome: &Outcome) -> Option<bool> {
        match (&self.positive, self.is_binary) {
            (Some(positive), false) => Some(*positive == outcome.class()),
            _ => outcome.truth(),
        }
    }

    /// How wrong a prediction was, from 0 to 1: whether it was, or how far it was off. `None` if it
    /// cannot be compared, or the scale of errors is not known yet.
    pub fn loss(&self, predicted: &Outcome, truth: &Outcome) -> Option<f64> {
        let of = |is_wrong: bool| Some(f64::from(u8::from(is_wrong)));
        match self.kind {
            TruthKind::Class => of(self.class(predicted) != self.class(truth)),
            TruthKind::Score => {
                of((predicted.number()? >= self.threshold) != self.is_positive(truth)?)
            }
            TruthKind::Number => {
                let off = (predicted.number()? - truth.number()?).abs();
                self.loss_scale.map(|scale| (off / scale).min(1.0))
            }
        }
    }

    /// The two classes of a score: the positive one, and what is not.
    pub fn class_of_score(&self, is_positive: bool) -> String {
        match (&self.positive, self.is_binary) {
            (Some(positive), false) if is_positive => positive.clone(),
            (Some(positive), false) => format!("not {positive}"),
            _ => Outcome::Bool(is_positive).class().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(outcomes: &[Outcome]) -> OutcomesSeen {
        let mut seen = OutcomesSeen::default();
        outcomes.iter().for_each(|outcome| seen.add(outcome));
        seen
    }

    fn numbers(all: &[f64]) -> OutcomesSeen {
        seen(&all.iter().map(|number| Outcome::Number(*number)).collect::<Vec<_>>())
    }

    fn texts(all: &[&str]) -> OutcomesSeen {
        seen(&all.iter().map(|text| Outcome::Text(text.to_string())).collect::<Vec<_>>())
    }

    fn integers(all: impl IntoIterator<Item = i64>) -> OutcomesSeen {
        seen(&all.into_iter().map(Outcome::Integer).collect::<Vec<_>>())
    }

    fn kind(truth: &OutcomesSeen, predicted: &OutcomesSeen) -> TruthKind {
        compare(&TruthSection::default(), "leave", truth, predicted).unwrap().kind
    }

    #[test]
    fn values_tell_what_they_are() {
        let scores = numbers(&[0.1, 0.9, 1.0]);
        assert_eq!(kind(&integers([0, 1, 0]), &scores), TruthKind::Score);
        assert_eq!(kind(&numbers(&[0.0, 1.0]), &scores), TruthKind::Score);
        assert_eq!(kind(&numbers(&[0.2, 0.7]), &scores), TruthKind::Number);
        assert_eq!(kind(&integers([3, 8]), &numbers(&[2.5, 9.0])), TruthKind::Number);
        assert_eq!(kind(&texts(&["cat", "dog"]), &texts(&["cat"])), TruthKind::Class);
        assert_eq!(kind(&integers([0, 7]), &integers([7, 3])), TruthKind::Class);
        assert_eq!(kind(&integers(0..200), &integers(0..200)), TruthKind::Number);
        assert_eq!(kind(&integers([0, 1]), &seen(&[Outcome::Bool(true)])), TruthKind::Class);
    }

    #[test]
    fn what_a_text_is_the_score_of_must_be_known() {
        let (truth, scores) = (texts(&["stay", "leave"]), numbers(&[0.1, 0.9]));
        let section = TruthSection::default();
        let of_name = compare(&section, "leave", &truth, &scores).unwrap();
        assert_eq!(of_name.positive.as_deref(), Some("leave"));
        assert_eq!(of_name.is_positive(&Outcome::Text("stay".into())), Some(false));
        assert_eq!(of_name.class_of_score(false), "not leave");
        let error = compare(&section, "score", &truth, &scores).unwrap_err();
        assert!(error.to_string().contains("leave, stay"), "{error}");
        let said = TruthSection { positive: Some("stay".into()), ..section };
        assert_eq!(compare(&said, "score", &truth, &scores).unwrap().kind, TruthKind::Score);
        let far = compare(&said, "score", &truth, &numbers(&[3.5, 900.0]));
        assert!(matches!(far, Err(Undecided::Numbers { .. })), "{far:?}");
    }

    #[test]
    fn yes_is_also_one() {
        let comparison = compare(
            &TruthSection::default(),
            "leave",
            &integers([0, 1]),
            &seen(&[Outcome::Bool(true), Outcome::Bool(false)]),
        )
        .unwrap();
        assert_eq!(comparison.class(&Outcome::Integer(1)), comparison.class(&Outcome::Bool(true)));
        assert_eq!(comparison.positive.as_deref(), Some("true"));
    }
}
