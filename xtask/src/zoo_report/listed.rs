//! `www/adapters/zoo.json`: what the page tells of all methods and rows before it fetches any of them. It
//! is one small file: coefficients and nats have four decimals.

use serde_json::{Value, json};

use super::rows::Row;
use super::zoo::Zoo;

/// A line for each method and each row, but for those that repeat another with a second seed.
pub fn text(zoo: &Zoo) -> String {
    let model = zoo.rows.iter().find_map(|row| row.measured.as_ref());
    let model = json!(model.map(|measured| &measured.model.name));
    let methods = zoo.methods.iter().map(|method| {
        json!({ "name": method.name, "title": method.title, "family": method.family, "law": method.law,
                "hypothesis": method.hypothesis, "trainsNot": method.not_alone })
    });
    let rows = zoo.rows.iter().filter(|row| row.repeats().is_none());
    let (methods, rows) = (lines(methods), lines(rows.map(line)));
    format!("{{\n  \"model\": {model},\n  \"methods\": [{methods}],\n  \"rows\": [{rows}]\n}}\n")
}

fn lines(values: impl Iterator<Item = Value>) -> String {
    let lines: Vec<String> = values.map(|value| format!("\n    {value}")).collect();
    format!("{}\n  ", lines.join(","))
}

fn line(row: &Row) -> Value {
    let folder = format!("{}/{}", row.behaviour, row.name);
    let (method, behaviour, parameters) = (&row.method, &row.behaviour, row.parameters);
    if let Some(why) = &row.failed {
        return json!({ "folder": folder, "method": method, "behaviour": behaviour,
                       "parameters": parameters, "failed": why });
    }
    let measured = row.measured.as_ref();
    let all = |values: &[Option<f64>]| values.iter().copied().map(short).collect::<Vec<_>>();
    let dose = row.dose.as_ref().map(|dose| {
        json!({ "nats": dose.nats, "c": all(&[dose.c_low, dose.c_high]),
                "d": dose.d_nats.as_deref().map(all), "note": dose.note })
    });
    json!({
        "folder": folder, "method": method, "behaviour": behaviour, "parameters": parameters,
        "trainsReverse": row.trains_reverse,
        "law": measured.map(super::rows::Measured::law),
        "d": measured.map(|it| all(&[-1.0, 0.0, 1.0].map(|c| it.d(c)))),
        "c": measured.map(|it| it.coefficients.clone()),
        "nats": measured.map(|it| all(&it.kl_nats.p95)),
        "dose": dose,
    })
}

/// Never −0.
fn short(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1e4).round() / 1e4 + 0.0)
}
