//! Numbers of answers, as people read them. Pure.

/// A number with four significant digits.
pub fn figure(number: f64) -> String {
    let magnitude = number.abs();
    if number == 0.0 || !number.is_finite() {
        return if number == 0.0 { "0".into() } else { "–".into() };
    }
    if !(1e-4..1e6).contains(&magnitude) {
        return format!("{number:.2e}");
    }
    let digits = (3 - magnitude.log10().floor() as i32).clamp(0, 7) as usize;
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// The same with its sign.
pub fn signed(number: f64) -> String {
    let text = figure(number);
    if number > 0.0 { format!("+{text}") } else { text }
}

/// A share as percent.
pub fn percent(share: f64) -> String {
    format!("{}%", figure((share * 1e4).round() / 1e2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        assert_eq!(figure(0.0), "0");
        assert_eq!(figure(1234.56), "1235");
        assert_eq!(figure(0.012345), "0.01235");
        assert_eq!(figure(1.5), "1.5");
        assert_eq!(figure(1e-9), "1.00e-9");
        assert_eq!(signed(0.25), "+0.25");
        assert_eq!((percent(0.0312), percent(1.0)), ("3.12%".into(), "100%".into()));
    }
}
