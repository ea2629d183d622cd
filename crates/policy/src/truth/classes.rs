//! Which class was predicted, and which one it was.

use domain::quality::{IntervalMethod, QualityMetric, QualityNumber};
use serde::{Deserialize, Serialize};

use super::interval::{mean_interval, number, wilson};

/// Classes that are told apart; all others are one more, `other`.
pub const CLASSES_MAX: usize = 64;

/// A confusion matrix: at most 33 KB.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Classes {
    names: Vec<String>,
    /// By predicted class, then by true class.
    cells: Vec<Vec<f64>>,
}

/// What a class has: hits, and how often it was predicted and true.
#[derive(Clone, Copy)]
struct Margins {
    hits: f64,
    predicted: f64,
    truths: f64,
}

const PER_CLASS: [QualityMetric; 3] =
    [QualityMetric::Precision, QualityMetric::Recall, QualityMetric::F1];

impl Classes {
    /// Takes in a prediction and its truth; with weight −1, out again.
    pub fn add(&mut self, predicted: &str, truth: &str, weight: f64) {
        let (predicted, truth) = (self.index(predicted), self.index(truth));
        self.cells[predicted][truth] += weight;
    }

    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.iter().position(|known| known == name) {
            return index;
        }
        let is_last = self.names.len() == CLASSES_MAX;
        if self.names.len() > CLASSES_MAX {
            return CLASSES_MAX;
        }
        self.names.push(if is_last { "other".into() } else { name.to_string() });
        self.cells.push(vec![]);
        let classes = self.names.len();
        self.cells.iter_mut().for_each(|row| row.resize(classes, 0.0));
        classes - 1
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Classes) {
        for (predicted, row) in other.names.iter().zip(&other.cells) {
            for (truth, weight) in other.names.iter().zip(row).filter(|(_, w)| **w != 0.0) {
                self.add(predicted, truth, *weight);
            }
        }
    }

    /// Counts each row as so many.
    pub fn scale(&mut self, by: f64) {
        self.cells.iter_mut().flatten().for_each(|cell| *cell *= by);
    }

    /// How many rows.
    pub fn n(&self) -> f64 {
        self.cells.iter().flatten().sum()
    }

    /// Accuracy, then the means over classes, then each class; with `positive`, that class alone
    /// instead of the means. Empty without rows.
    pub fn numbers(&self, positive: Option<&str>) -> Vec<QualityNumber> {
        let n = self.n();
        if n <= 0.0 {
            return vec![];
        }
        let hits: f64 = (0..self.names.len()).map(|class| self.cells[class][class]).sum();
        let (accuracy, rows) = (hits / n, n.round() as u64);
        let wilson = wilson(hits, n);
        let mut numbers =
            vec![number(QualityMetric::Accuracy, accuracy, wilson, IntervalMethod::Wilson, rows)];
        let margins: Vec<Margins> =
            (0..self.names.len()).map(|class| self.margins(class)).collect();
        if positive.is_none() {
            numbers.extend(PER_CLASS.map(|metric| self.macro_mean(metric, &margins, n)));
        }
        for (name, margins) in self.names.iter().zip(&margins) {
            if positive.is_none_or(|positive| positive == name) {
                numbers.extend(PER_CLASS.map(|metric| margins.number(metric, name)));
            }
        }
        numbers
    }

    fn margins(&self, class: usize) -> Margins {
        Margins {
            hits: self.cells[class][class],
            predicted: self.cells[class].iter().sum(),
            truths: self.cells.iter().map(|row| row[class]).sum(),
        }
    }

    /// The mean over classes, and its variance by the delta method on the multinomial cells.
    fn macro_mean(&self, metric: QualityMetric, margins: &[Margins], n: f64) -> QualityNumber {
        let classes = margins.len() as f64;
        let value = margins.iter().map(|m| m.value(metric)).sum::<f64>() / classes;
        let slopes: Vec<[f64; 3]> = margins.iter().map(|m| m.slopes(metric)).collect();
        let (mut mean, mut squares) = (0.0, 0.0);
        for (predicted, row) in self.cells.iter().enumerate() {
            for (truth, count) in row.iter().enumerate() {
                let slope = match predicted == truth {
                    true => slopes[truth][0],
                    false => slopes[predicted][1] + slopes[truth][2],
                } / classes;
                mean += count * slope;
                squares += count * slope * slope;
            }
        }
        let interval = mean_interval(value, squares - mean * mean / n);
        number(metric, value, interval, IntervalMethod::Delta, n.round() as u64)
    }
}

impl Margins {
    fn value(self, metric: QualityMetric) -> f64 {
        let of = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        match metric {
            QualityMetric::Precision => of(self.hits, self.predicted),
            QualityMetric::Recall => of(self.hits, self.truths),
            _ => of(2.0 * self.hits, self.predicted + self.truths),
        }
    }

    /// The derivative of the value by one more hit, one more that was falsely predicted, one more
    /// that was missed.
    fn slopes(self, metric: QualityMetric) -> [f64; 3] {
        let whole = match metric {
            QualityMetric::Precision => self.predicted,
            QualityMetric::Recall => self.truths,
            _ => (self.predicted + self.truths) / 2.0,
        };
        if whole <= 0.0 {
            return [0.0; 3];
        }
        let (hit, miss) = ((whole - self.hits) / whole / whole, -self.hits / whole / whole);
        match metric {
            QualityMetric::Precision => [hit, miss, 0.0],
            QualityMetric::Recall => [hit, 0.0, miss],
            _ => [hit, miss / 2.0, miss / 2.0],
        }
    }

    fn number(self, metric: QualityMetric, name: &str) -> QualityNumber {
        let union = self.predicted + self.truths - self.hits;
        let ((low, high), n) = match metric {
            QualityMetric::Precision => (wilson(self.hits, self.predicted), self.predicted),
            QualityMetric::Recall => (wilson(self.hits, self.truths), self.truths),
            _ => {
                // F1 = 2J / (1 + J), which rises with the Jaccard index J: a share of the union.
                let (low, high) = wilson(self.hits, union);
                ((2.0 * low / (1.0 + low), 2.0 * high / (1.0 + high)), union)
            }
        };
        let n = n.max(0.0).round() as u64;
        let mut of = number(metric, self.value(metric), (low, high), IntervalMethod::Wilson, n);
        of.class = Some(name.to_string());
        of
    }
}
