//! How numbers are written: a true minus sign, no −0, and a dash where there is none.

/// What stands where a number is missing.
pub const NONE: &str = "–";

/// With two decimals.
pub fn nats(value: Option<f64>) -> String {
    fixed(value, 2)
}

/// With so many decimals.
pub fn fixed(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return NONE.into();
    };
    let written = format!("{:.decimals$}", value.abs());
    let is_zero = written.bytes().all(|b| b == b'0' || b == b'.');
    if value < 0.0 && !is_zero {
        format!("−{written}")
    } else {
        written
    }
}

/// A share in hundredths.
pub fn percent(share: f64) -> String {
    format!("{} %", fixed(Some(share * 100.0), 0))
}

/// With commas between thousands.
pub fn whole(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// With one digit and its power of ten.
pub fn power(value: Option<f64>) -> String {
    value.map_or_else(
        || NONE.into(),
        |value| format!("{value:.1e}").replace('-', "−"),
    )
}

/// As short as it can be.
pub fn short(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.into(), |value| value.to_string().replace('-', "−"))
}

/// `1 method`, `2 methods`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Names in code, with commas between them.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(nats(Some(-1.005_1)), "−1.01");
        assert_eq!(nats(Some(-0.001)), "0.00", "no minus before nothing");
        assert_eq!(nats(None), "–");
        assert_eq!(nats(Some(f64::NAN)), "–");
        assert_eq!(percent(0.944), "94 %");
        assert_eq!(whole(1_234_567), "1,234,567");
        assert_eq!(whole(12), "12");
        assert_eq!(power(Some(1.24e-7)), "1.2e−7");
        assert_eq!(counted(1, "row") + &counted(2, "row"), "1 row2 rows");
    }
}
