//! Names as numbers, in the order in which they come. Beyond a limit all have the last.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use policy::why::NONE;

/// Names that are told apart at most.
const NAMES_MAX: usize = 4_096;

/// Names by their number.
pub struct Names<T> {
    known: Vec<T>,
    places: HashMap<T, u16, RandomState>,
    /// Which was asked for last: neighbours are often alike.
    last: usize,
}

impl<T: Clone + Eq + Hash> Names<T> {
    pub fn new() -> Names<T> {
        Names { known: vec![], places: HashMap::default(), last: 0 }
    }

    /// The number of a name; [`NONE`] if there are too many.
    pub fn number<Q>(&mut self, name: &Q) -> u16
    where
        T: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        if self.known.get(self.last).is_some_and(|last| last.borrow() == name) {
            return self.last as u16;
        }
        let number = match self.places.get(name) {
            Some(number) => *number,
            None if self.known.len() < NAMES_MAX => {
                let number = self.known.len() as u16;
                self.known.push(name.to_owned());
                self.places.insert(name.to_owned(), number);
                number
            }
            None => return NONE,
        };
        self.last = usize::from(number);
        number
    }

    pub fn into_names(self) -> Vec<T> {
        self.known
    }
}

/// Classes of requests by their rows: one for each doubling.
pub fn size_of(rows: u32) -> u16 {
    rows.max(1).ilog2() as u16
}

/// What all of these classes are called.
pub fn sizes() -> Vec<String> {
    let name = |log2: u32| match (1u64 << log2, (2u64 << log2) - 1) {
        (1, _) => "1 row".to_string(),
        (from, to) => format!("{from} to {to} rows"),
    };
    (0..u32::BITS).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_there_are_not_too_many() {
        let mut names: Names<String> = Names::new();
        assert_eq!([names.number("a"), names.number("b"), names.number("a")], [0, 1, 0]);
        for count in 2..NAMES_MAX + 10 {
            let number = names.number(count.to_string().as_str());
            assert_eq!(number == NONE, count >= NAMES_MAX);
        }
        assert_eq!(names.into_names().len(), NAMES_MAX);
    }

    #[test]
    fn sizes_double() {
        let sizes = sizes();
        for (rows, name) in [(0, "1 row"), (1, "1 row"), (3, "2 to 3 rows"), (4, "4 to 7 rows")] {
            assert_eq!(sizes[usize::from(size_of(rows))], name);
        }
        assert_eq!(usize::from(size_of(u32::MAX)), sizes.len() - 1);
    }
}
