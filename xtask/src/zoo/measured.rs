//! What `steer measure` printed, read by coefficient.

use serde_json::Value;

/// The column of a coefficient: it went there and came back as text.
pub fn column(measured: &Value, c: f64) -> Option<usize> {
    let near = |found: &Value| found.as_f64().is_some_and(|found| (found - c).abs() < 1e-6);
    measured["coefficients"].as_array()?.iter().position(near)
}

/// A field's numbers at these coefficients.
pub fn at(measured: &Value, field: &str, coefficients: &[f64]) -> Vec<Option<f64>> {
    let number = |c: &f64| measured[field][column(measured, *c)?].as_f64();
    coefficients.iter().map(number).collect()
}

/// Share of prompts whose d rises along these coefficients.
pub fn ordered_share(measured: &Value, coefficients: &[f64]) -> Option<f64> {
    let columns: Option<Vec<usize>> = coefficients.iter().map(|&c| column(measured, c)).collect();
    let columns = columns?;
    let rows = measured["per_prompt"].as_array()?;
    let rises = |row: &&Value| {
        let pairs = columns.array_windows::<2>();
        let d = |at: usize| row[at].as_f64();
        let mut rising = pairs.map(|&[a, b]| matches!((d(a), d(b)), (Some(a), Some(b)) if a < b));
        rising.all(|is| is)
    };
    (!rows.is_empty()).then(|| rows.iter().filter(rises).count() as f64 / rows.len() as f64)
}

/// The largest difference of a field's numbers; none where one of them is not finite.
pub fn change(before: &Value, after: &Value, field: &str) -> Option<f64> {
    let [before, after] = [before, after].map(|all| all[field].as_array());
    let (before, after) = (before?, after?);
    let apart = |(a, b): (&Value, &Value)| Some((a.as_f64()? - b.as_f64()?).abs());
    let all: Option<Vec<f64>> = before.iter().zip(after).map(apart).collect();
    Some(all?.into_iter().fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn measured() -> Value {
        json!({ "coefficients": [-1.0, -0.123_456_79, 0.0, 1.0], "d_nats": [-2.0, -1.0, 0.5, null],
                "per_prompt": [[0.0, 1.0, 2.0, 3.0], [3.0, 0.0, 1.0, null]] })
    }

    #[test]
    fn columns_are_found_by_their_value() {
        let found = at(&measured(), "d_nats", &[-0.123_456_79, 0.0, 1.0, 2.0]);
        assert_eq!(found, [Some(-1.0), Some(0.5), None, None]);
    }

    #[test]
    fn a_prompt_is_ordered_if_all_its_d_rise() {
        assert_eq!(ordered_share(&measured(), &[-1.0, 0.0]), Some(0.5));
        assert_eq!(ordered_share(&measured(), &[-0.123_456_79, 0.0]), Some(1.0));
        assert_eq!(ordered_share(&measured(), &[0.0, 1.0]), Some(0.5));
        assert_eq!(ordered_share(&measured(), &[0.0, 2.0]), None);
    }

    #[test]
    fn the_largest_change_counts() {
        let of = |d: [f64; 2]| json!({ "d_nats": d });
        let found = change(&of([1.0, 2.0]), &of([1.25, 1.5]), "d_nats");
        assert_eq!(found, Some(0.5));
        let null = json!({ "d_nats": [1.0, null] });
        assert_eq!(change(&null, &of([1.0, 1.0]), "d_nats"), None);
    }
}
