//! Lengths of time as people write them.

use domain::problem::excerpt;
use domain::{Code, Problem};

/// `500ms`, `90s`, `2m`, `24h` or `90d` in milliseconds.
pub fn milliseconds(text: &str) -> Result<u64, Problem> {
    let wrong = || {
        let text = format!("`{}` is not a time: write 90s, 2m, 1h or 30d", excerpt(text));
        Problem::new(Code::BadOption, text)
    };
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return Err(wrong()),
    };
    number.parse::<f64>().map(|number| (number * scale) as u64).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(milliseconds("90d").unwrap(), 90 * 86_400_000);
        assert_eq!(milliseconds("0s").unwrap(), 0);
        assert_eq!(milliseconds("1.5h").unwrap(), 5_400_000);
        for text in ["", "d", "-1d", "10", "5y", "3é", "1.2.3s", "."] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}
