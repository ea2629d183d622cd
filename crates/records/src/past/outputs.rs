//! What two versions answered to the same request, output by output.

use domain::Datatype;
use protocol::Tensor;
use protocol::answer::json_agrees;
use protocol::element::{is_close, number};
use protocol::tensor::byte_elements;

/// One output of one request, from both versions.
#[derive(Clone, PartialEq, Debug)]
pub struct OutputPair {
    /// Its name.
    pub name: String,
    /// Whether it is the same.
    pub same: bool,
    /// The live version's and the candidate's, on average over all elements; of finite numbers only.
    pub means: Option<(f64, f64)>,
}

/// What the name of a tensor ends with that says which rows of another are there.
const VALID: &str = ":valid";
/// Outputs that are looked at one by one; all decide whether answers agree.
const OUTPUTS_MAX: usize = 64;

/// Whether the candidate's answer says the same as the live version's, as far as it has its outputs,
/// and each output by itself. Numbers are the same within `tolerance`, absolute or relative, whichever
/// is larger. Outputs that only the candidate has are not compared; `None` if nothing is.
pub fn compared(
    live: &[Tensor],
    candidate: &[Tensor],
    tolerance: f64,
    is_redacted: impl Fn(&str) -> bool,
) -> (Option<bool>, Vec<OutputPair>) {
    let named = |of: &'_ [Tensor], name: &str| of.iter().position(|tensor| tensor.name == name);
    let (mut agrees, mut pairs) = (None, vec![]);
    for tensor in live {
        let of = tensor.name.strip_suffix(VALID);
        if of.is_some_and(|of| named(live, of).is_some()) || is_redacted(&tensor.name) {
            continue;
        }
        let same = match named(candidate, &tensor.name).map(|at| &candidate[at]) {
            None => false,
            Some(own) => {
                let valid = format!("{}{VALID}", tensor.name);
                let there = |of: &[Tensor]| named(of, &valid).map(|at| of[at].data.clone());
                let (of_live, of_own) = (there(live), there(candidate));
                let pair = OutputPair {
                    name: tensor.name.clone(),
                    same: of_live == of_own && is_same(tensor, own, tolerance),
                    means: match of_live.is_none() && of_own.is_none() {
                        true => mean(tensor).zip(mean(own)),
                        false => None,
                    },
                };
                let same = pair.same;
                if pairs.len() < OUTPUTS_MAX {
                    pairs.push(pair);
                }
                same
            }
        };
        agrees = Some(agrees.unwrap_or(true) && same);
    }
    (agrees, pairs)
}

fn is_same(one: &Tensor, other: &Tensor, tolerance: f64) -> bool {
    if one.shape != other.shape {
        return false;
    }
    match (one.datatype.size(), other.datatype.size()) {
        (Some(_), Some(_)) => {
            let mut pairs = numbers(one).zip(numbers(other));
            pairs.all(|(one, other)| is_close(one, other, tolerance))
        }
        _ if one.datatype != other.datatype => false,
        _ if one.datatype == Datatype::Json => json_agrees(&one.data, &other.data, tolerance),
        _ => byte_elements(&one.data).eq(byte_elements(&other.data)),
    }
}

fn numbers(tensor: &Tensor) -> impl Iterator<Item = f64> + '_ {
    let size = tensor.datatype.size().unwrap_or(1);
    tensor.data.chunks_exact(size).map(|element| number(tensor.datatype, element))
}

/// The mean of all elements, if they are finite numbers.
fn mean(tensor: &Tensor) -> Option<f64> {
    if tensor.datatype.size().is_none() || tensor.datatype == Datatype::Bool {
        return None;
    }
    let (count, sum) = numbers(tensor).fold((0u32, 0.0), |(count, sum), it| (count + 1, sum + it));
    (count > 0).then(|| sum / f64::from(count)).filter(|mean| mean.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, datatype: Datatype, rows: usize, data: Vec<u8>) -> Tensor {
        Tensor { name: name.into(), datatype, shape: vec![rows], data: data.into() }
    }

    fn floats(name: &str, values: &[f64]) -> Tensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensor(name, Datatype::Fp64, values.len(), data)
    }

    fn texts(name: &str, values: &[&str]) -> Tensor {
        let mut data = vec![];
        values.iter().for_each(|it| protocol::tensor::push_byte_element(&mut data, it.as_bytes()));
        tensor(name, Datatype::Bytes, values.len(), data)
    }

    #[test]
    fn outputs_are_compared_by_name() {
        let live = [floats("score", &[0.5, 1.5]), texts("label", &["a", "b"])];
        let other =
            [texts("label", &["a", "c"]), floats("score", &[0.5004, 1.5]), floats("new", &[1.0])];
        let (agrees, pairs) = compared(&live, &other, 0.001, |_| false);
        assert_eq!(agrees, Some(false));
        assert_eq!((pairs[0].name.as_str(), pairs[0].same), ("score", true));
        let (before, after) = pairs[0].means.unwrap();
        assert!((after - before - 0.0002).abs() < 1e-9);
        assert_eq!((pairs[1].name.as_str(), pairs[1].same, pairs[1].means), ("label", false, None));
        assert_eq!(compared(&live, &other, 0.001, |name| name == "label").0, Some(true));
        assert_eq!(compared(&live, &other, 0.0, |name| name == "label").0, Some(false));
        assert_eq!(compared(&live, &other, 0.0, |_| true), (None, vec![]));
        assert_eq!(compared(&live, &[], 0.0, |_| false).0, Some(false));
    }

    #[test]
    fn what_is_missing_differs_from_what_is_there() {
        let all = [floats("y", &[0.0])];
        let none = [floats("y", &[0.0]), tensor("y:valid", Datatype::Bool, 1, vec![0])];
        let (agrees, pairs) = compared(&all, &none, 0.001, |_| false);
        assert_eq!((agrees, pairs.len(), pairs[0].means), (Some(false), 1, None));
        assert_eq!(compared(&none, &none, 0.001, |_| false).0, Some(true));
    }
}
