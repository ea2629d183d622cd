//! Hours come in any order, again and smaller; what is learnt of them; reports.

use domain::outcome::{Outcome, OutcomesSeen};
use domain::quality::{QualityMetric, TruthKind};

use domain::VersionNumber;
use domain::alarm::{AlarmKey, AlarmKind, Finding, Severity};
use domain::quality::Maturity;
use parking_lot::Mutex as Lock;

use super::*;
use crate::health::Tell;

const HOUR: u64 = HOUR_MS;
const START: u64 = 500_000 * HOUR;

fn model() -> ModelKey {
    "default/churn".parse().unwrap()
}

fn production() -> EnvironmentName {
    "production".parse().unwrap()
}

/// Scores from 0 to 1, whose truth is as probable as they say, plus a shift.
fn add_hour(
    learnt: &BTreeMap<EnvironmentName, Learnt>,
    hour: u64,
    version: u32,
    rows: u32,
    truth_of: impl Fn(f64) -> Option<bool>,
) -> HourSums {
    let mut sums = HourSums::new(START + hour * HOUR);
    let environment = production();
    for at in 0..rows {
        let score = f64::from(at * 37 % rows) / f64::from(rows);
        let predicted = Outcome::Number(score);
        // The first of every hundred is true as often as the score says.
        let truth = truth_of(score).map(Outcome::Bool);
        let time_ms = START + hour * HOUR + u64::from(at);
        let key = format!("customer={at}");
        sums.add(
            learnt,
            &HourRow {
                environment: &environment,
                version: VersionNumber(version),
                time_ms,
                key: Some(&key),
                weight: 1.0,
                predicted: &predicted,
                truth: truth.as_ref().map(|truth| (truth, time_ms + 5_000)),
            },
        );
    }
    sums
}

fn binary() -> OutcomesSeen {
    let mut seen = OutcomesSeen::default();
    seen.add(&Outcome::Bool(true));
    seen.add(&Outcome::Bool(false));
    seen
}

fn decided() -> BTreeMap<EnvironmentName, Learnt> {
    let mut learnt = Learnt::default();
    let mut scores = OutcomesSeen::default();
    scores.add(&Outcome::Number(0.25));
    learnt.see(&scores);
    learnt.decide(&Default::default(), "leave", &binary());
    assert_eq!(learnt.comparison.as_ref().unwrap().kind, TruthKind::Score);
    BTreeMap::from([(production(), learnt)])
}

fn open(directory: &tempfile::TempDir) -> Quality {
    Quality::open(&directory.path().join("quality.sqlite")).unwrap()
}

fn source(learnt: &BTreeMap<EnvironmentName, Learnt>, files: u64) -> Source {
    Source { files, bytes: files * 100, basis: learnt[&production()].basis() }
}

#[test]
fn an_hour_is_what_it_was_last_computed_to_be_unless_its_records_go() {
    let directory = tempfile::tempdir().unwrap();
    let quality = open(&directory);
    let mut learnt = decided();
    let mut partial = add_hour(&learnt, 0, 1, 100, |score| (score < 0.3).then_some(false));
    partial.finish(&mut learnt, &[]);
    assert!(quality.keep_hour(&model(), &source(&learnt, 1), &partial).unwrap());
    let mut whole = add_hour(&learnt, 0, 1, 200, |score| Some(score > 0.4));
    whole.finish(&mut learnt, &[]);
    assert!(quality.keep_hour(&model(), &source(&learnt, 2), &whole).unwrap());
    let mut less = add_hour(&learnt, 0, 1, 20, |_| None);
    less.finish(&mut learnt, &[]);
    assert!(!quality.keep_hour(&model(), &source(&learnt, 3), &less).unwrap());
    quality.keep_learnt(&model(), &learnt).unwrap();
    drop(quality);

    let quality = open(&directory);
    assert_eq!(quality.sources(&model()).unwrap()[&START].files, 3);
    let report =
        quality.report(&model(), None, (0, u64::MAX), Step::All, START + 2 * HOUR).unwrap();
    let window = &report.windows[0];
    assert_eq!((window.predictions, window.known, window.version.as_str()), (200, 200, "v1"));
    assert_eq!(window.late_ms, Some(5_000));
    let accuracy =
        window.numbers.iter().find(|number| number.metric == QualityMetric::Accuracy).unwrap();
    // Those from 0.4 to 0.5 are wrong.
    assert!((accuracy.value - 0.905).abs() < 1e-9, "{accuracy:?}");
    let until_ms = START + HOUR;
    let hours = |key: &str| quality.hours_with(&model(), &[(key, until_ms)], HOUR).unwrap();
    assert_eq!(hours("customer=150"), [START]);
    let too_early = quality.hours_with(&model(), &[("customer=150", START - 1)], HOUR).unwrap();
    assert!(too_early.is_empty());
    quality.forget(&model()).unwrap();
    assert!(quality.cohorts(&model(), 0, u64::MAX).unwrap().is_empty());
}

#[test]
fn an_estimate_comes_with_enough_truth_and_is_distrusted_when_the_truth_says_so() {
    let mut learnt = decided();
    let truthful = |score: f64| Some((score * 7_919.0).fract() < score);
    let mut hours: Vec<HourOf> = vec![];
    for hour in 0..3 {
        let mut sums = add_hour(&learnt, hour, 1, 400, truthful);
        sums.finish(&mut learnt, &[]);
        hours.extend(sums.cohorts);
    }
    let before = learnt[&production()].basis();
    assert!(learnt.get_mut(&production()).unwrap().learn(&hours));
    assert_ne!(learnt[&production()].basis(), before, "all hours are to be computed anew");
    assert!(!learnt.get_mut(&production()).unwrap().learn(&hours), "once");
    // Another version borrows it, and nothing is said against it yet.
    let mut later = add_hour(&learnt, 9, 2, 400, |_| None);
    later.finish(&mut learnt, &[]);
    assert!(later.cohorts[0].sums.estimates().is_empty());
    assert!(learnt.get_mut(&production()).unwrap().learn(&later.cohorts));
    let mut later = add_hour(&learnt, 9, 2, 400, |_| None);
    later.finish(&mut learnt, &[]);
    let estimates = later.cohorts[0].sums.estimates();
    assert!(estimates.iter().any(|number| number.metric == QualityMetric::Auc), "{estimates:?}");
    assert_eq!(learnt[&production()].is_trusted(VersionNumber(2)), Some(true));
    // Its truth turns out to be the contrary.
    let mut contrary = add_hour(&learnt, 9, 2, 400, |score| Some(score < 0.5));
    contrary.finish(&mut learnt, &[]);
    assert!(contrary.cohorts[0].is_checked);
    assert_eq!(learnt[&production()].is_trusted(VersionNumber(2)), Some(false));
    assert_eq!(learnt[&production()].is_trusted(VersionNumber(1)), Some(true));
    let cohort = report::cohort_of(&model(), &contrary.cohorts[0], &learnt[&production()], 0);
    assert_eq!((cohort.n, cohort.estimated_loss), (400, None));
    assert!(cohort.mean_loss.is_some_and(|loss| loss > 0.9), "{cohort:?}");
}

#[test]
fn which_output_is_compared_is_said_or_asked() {
    let outputs = ["label".to_string(), "score".to_string()];
    let section = domain::manifest::TruthSection::default();
    let (why, help) = choose_output(&section, &outputs, &outputs).unwrap_err();
    assert!(why.contains("label, score") && help.contains("[truth] output"), "{why} {help}");
    assert_eq!(choose_output(&section, &outputs[..1], &[]).unwrap(), "label");
    assert_eq!(choose_output(&section, &outputs, &outputs[..1]).unwrap(), "label");
    let called = domain::manifest::TruthSection { column: Some("score".into()), ..section.clone() };
    assert_eq!(choose_output(&called, &outputs, &outputs).unwrap(), "score");
    let named = domain::manifest::TruthSection { output: Some("scores".into()), ..section };
    assert!(choose_output(&named, &outputs, &outputs).unwrap_err().0.contains("`scores`"));
}

#[test]
fn numbers_are_compared_as_numbers_and_stay_mergeable() {
    let mut learnt = Learnt::default();
    let mut seen = OutcomesSeen::default();
    seen.add(&Outcome::Number(12.5));
    learnt.see(&seen);
    let mut truth = OutcomesSeen::default();
    truth.add(&Outcome::Number(10.0));
    truth.add(&Outcome::Number(20.5));
    learnt.decide(&Default::default(), "minutes", &truth);
    let first = learnt.comparison.clone().unwrap();
    assert_eq!(first.kind, TruthKind::Number);
    truth.add(&Outcome::Number(900.5));
    learnt.decide(&Default::default(), "minutes", &truth);
    assert_eq!(learnt.comparison, Some(first), "the centre stays where it is");
    let text = serde_json::to_string(&learnt).unwrap();
    assert_eq!(serde_json::from_str::<Learnt>(&text).unwrap(), learnt);
}

/// What was told, by kind.
#[derive(Default)]
struct Told(Lock<Vec<(AlarmKind, Option<Finding>)>>);

impl Tell for Told {
    fn raise(&self, key: &AlarmKey, finding: Finding, _: u64) {
        self.0.lock().push((key.kind, Some(finding)));
    }
    fn quiet(&self, key: &AlarmKey, _: u64) {
        self.0.lock().push((key.kind, None));
    }
    fn close(&self, _: &AlarmKey, _: u64) {}
}

fn cohort(hour: u64, version: u32, loss: Option<f64>, estimated: Option<f64>) -> QualityCohort {
    QualityCohort {
        model: model(),
        environment: production(),
        version: VersionNumber(version),
        start_ms: START + hour * HOUR,
        predictions: 200,
        n: if loss.is_some() { 200 } else { 0 },
        mean_loss: loss,
        estimated_loss: estimated,
        coverage: if loss.is_some() { 1.0 } else { 0.0 },
        maturity: if loss.is_some() { Maturity::Partial } else { Maturity::Estimated },
    }
}

#[test]
fn more_mistakes_are_an_alarm_and_mistakes_that_are_expected_a_warning() {
    let (mut losses, told) = (Losses::default(), Told::default());
    let production = production();
    let model = model();
    let target = (&model, &production);
    // From 8% to 12% wrong, for a month.
    let usual = |hour: u64| 0.1 + 0.02 * ((hour * 7 % 5) as f64 / 2.0 - 1.0);
    let now_ms = |hour: u64| START + (hour + 1) * HOUR;
    for hour in 0..720 {
        let cohorts = [cohort(hour, 1, Some(usual(hour)), Some(0.1))];
        losses.take(target, TruthKind::Score, &cohorts, now_ms(hour), &told);
        // Again: nothing is looked at twice.
        losses.take(target, TruthKind::Score, &cohorts, now_ms(hour), &told);
    }
    let said = std::mem::take(&mut *told.0.lock());
    assert!(said.iter().all(|(_, finding)| finding.is_none()), "{said:?}");
    let of_kind = |kind| said.iter().filter(|(of, _)| *of == kind).count();
    // The first of the days begins at 8.
    assert_eq!(of_kind(AlarmKind::Quality), 720 - (24 * USUAL_DAYS as usize - 8));
    // Then the estimate rises, before any truth is known.
    let mut hour = 720;
    let found = loop {
        losses.take(
            target,
            TruthKind::Score,
            &[cohort(hour, 2, None, Some(0.4))],
            now_ms(hour),
            &told,
        );
        hour += 1;
        let said = told.0.lock().last().cloned();
        if let Some((kind, Some(finding))) = said {
            break (kind, finding);
        }
        assert!(hour < 720 + 48, "nothing is said of an estimate of 40%");
    };
    assert_eq!((found.0, found.1.severity), (AlarmKind::EstimatedQuality, Severity::Warning));
    // And the truth says so, too.
    let first = hour;
    let finding = loop {
        losses.take(
            target,
            TruthKind::Score,
            &[cohort(hour, 2, Some(0.4), None)],
            now_ms(hour),
            &told,
        );
        hour += 1;
        if let Some((AlarmKind::Quality, Some(finding))) = told.0.lock().last().cloned() {
            break finding;
        }
        assert!(hour < first + 48, "nothing is said of 40% that are wrong");
    };
    assert_eq!((finding.severity, finding.version), (Severity::Alert, Some(VersionNumber(2))));
    assert!(finding.what.contains("40% of predictions are wrong"), "{}", finding.what);
    assert_eq!(finding.next, "decalog why churn");
    let text = serde_json::to_string(&losses).unwrap();
    let mut again: Losses = serde_json::from_str(&text).unwrap();
    assert_eq!(again.from_ms(), losses.from_ms());
    told.0.lock().clear();
    let cohorts = [cohort(hour, 2, Some(0.4), None)];
    again.take(target, TruthKind::Score, &cohorts, now_ms(hour), &told);
    let (kind, still) = told.0.lock().last().cloned().unwrap();
    assert_eq!((kind, still.unwrap().since_ms), (AlarmKind::Quality, finding.since_ms));
}

#[test]
fn one_day_says_nothing_of_how_much_days_differ() {
    let (mut losses, told) = (Losses::default(), Told::default());
    let (model, production) = (model(), production());
    for day in 0..90 {
        // Whole days are good or bad: from 10% to 40% wrong.
        let loss = 0.1 + 0.075 * (day * 3 % 5) as f64;
        for hour in day * 24..(day + 1) * 24 {
            let cohorts = [cohort(hour, 1, Some(loss), None)];
            let now_ms = START + (hour + 1) * HOUR;
            losses.take((&model, &production), TruthKind::Score, &cohorts, now_ms, &told);
        }
    }
    let said = std::mem::take(&mut *told.0.lock());
    assert!(!said.is_empty() && said.iter().all(|(_, finding)| finding.is_none()), "{said:?}");
}
