//! The zoo's rows as `row.json` has them, and the numbers that are read off one row alone.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::failure::{Failure, OrMend, Result};

/// Above it a model begins to lose its language, in nats per token.
pub const MOST_NLL_SHIFT: f64 = 0.2;

/// One method, or a variant of it, trained for one behaviour and measured; or why it was not.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Row {
    pub behaviour: String,
    /// The method's, or a variant's, such as `lora-r1` or `lora-seed1`.
    pub name: String,
    /// The file of the method, without `.rs`.
    pub method: String,
    pub seed: u64,
    pub parameters: Option<u64>,
    /// Those of the reference.
    pub budget_parameters: Option<u64>,
    /// Where its adapter is, where that is for several behaviours.
    pub folder: Option<String>,
    /// Which task of it the behaviour is.
    pub task: Option<u64>,
    pub trains_reverse: Option<bool>,
    pub sweep: Vec<Rate>,
    pub rate: Option<f64>,
    pub seconds: Option<f64>,
    pub measured: Option<Measured>,
    pub dose: Option<Dose>,
    /// Why there are no numbers.
    pub failed: Option<String>,
}

/// One rate of the sweep.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Rate {
    pub rate: f64,
    pub failed: Option<String>,
}

/// What `steer measure --json` prints, as far as it is told. `k` coefficients; null, here `None`, is
/// what logits cannot say.
#[derive(Debug, Clone, Deserialize)]
pub struct Measured {
    pub model: Model,
    pub adapters: Vec<Adapter>,
    /// Ascending `[k]`.
    pub coefficients: Vec<f64>,
    /// `[k]`, nats per token.
    pub d_nats: Vec<Option<f64>>,
    pub slope: Slope,
    pub ordered_share: f64,
    pub wrong_way_share: f64,
    pub symmetry: Option<f64>,
    pub inverse_error: Option<f64>,
    pub kl_nats: Strength,
    /// `[k]`, nats per token.
    pub nll_shift_nats: Vec<Option<f64>>,
    pub repetition: Option<Repetition>,
    pub prompting: Option<Prompting>,
}

/// The base model.
#[derive(Debug, Clone, Deserialize)]
pub struct Model {
    pub name: String,
    pub arithmetic: String,
}

/// An adapter that took part.
#[derive(Debug, Clone, Deserialize)]
pub struct Adapter {
    pub law: String,
}

/// Nats per token and unit of c, with its 95 % interval over prompts.
#[derive(Debug, Clone, Deserialize)]
pub struct Slope {
    pub mean: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// KL from the base on neutral answers `[k]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Strength {
    pub mean: Vec<Option<f64>>,
    pub p95: Vec<Option<f64>>,
}

/// Shares of repeated 4-grams.
#[derive(Debug, Clone, Deserialize)]
pub struct Repetition {
    #[serde(rename = "-1")]
    pub reversed: f64,
    #[serde(rename = "0")]
    pub base: f64,
    #[serde(rename = "1")]
    pub trained: f64,
}

/// d of the base when a system message asks for the behaviour.
#[derive(Debug, Clone, Deserialize)]
pub struct Prompting {
    pub positive: f64,
    pub negative: f64,
}

/// The coefficients at which the KL's 95th percentile on neutral answers is `nats`, and d there.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dose {
    pub nats: f64,
    pub c_low: Option<f64>,
    pub c_high: Option<f64>,
    /// At `c_low`, 0 and `c_high`; what is not reached is null, or the whole list is.
    pub d_nats: Option<Vec<Option<f64>>>,
    pub ordered_share: Option<f64>,
    /// What is to be said of an end that is not reached.
    pub note: Option<String>,
}

impl Dose {
    /// d at the low end, at 0 and at the high end, where both ends are reached.
    pub fn ends(&self) -> Option<[f64; 3]> {
        match self.d_nats.as_deref()? {
            [Some(low), Some(base), Some(high)] => Some([*low, *base, *high]),
            _ => None,
        }
    }
}

impl Measured {
    fn at(&self, values: &[Option<f64>], c: f64) -> Option<f64> {
        let at = self.coefficients.iter().position(|known| *known == c)?;
        values.get(at).copied().flatten()
    }

    /// d at c, in nats per token.
    pub fn d(&self, c: f64) -> Option<f64> {
        self.at(&self.d_nats, c)
    }

    /// The NLL shift at c, in nats per token.
    pub fn nll(&self, c: f64) -> Option<f64> {
        self.at(&self.nll_shift_nats, c)
    }

    /// Mean and 95th percentile of the KL at c, in nats.
    pub fn kl(&self, c: f64) -> [Option<f64>; 2] {
        [
            self.at(&self.kl_nats.mean, c),
            self.at(&self.kl_nats.p95, c),
        ]
    }

    /// d(1) − d(−1).
    pub fn range(&self) -> Option<f64> {
        Some(self.d(1.0)? - self.d(-1.0)?)
    }

    /// The greater of the NLL shifts at −1 and 1.
    pub fn worst_nll(&self) -> Option<f64> {
        Some(self.nll(1.0)?.max(self.nll(-1.0)?))
    }

    /// How far prompting moves d: asked for more minus asked for less.
    pub fn prompting_range(&self) -> Option<f64> {
        self.prompting
            .as_ref()
            .map(|asked| asked.positive - asked.negative)
    }

    /// The share of d's variance over the measured c that a straight line explains.
    pub fn linearity(&self) -> Option<f64> {
        let points = self.coefficients.iter().zip(&self.d_nats);
        let points: Vec<(f64, f64)> = points.filter_map(|(c, d)| Some((*c, (*d)?))).collect();
        if points.len() < 3 {
            return None;
        }
        let n = points.len() as f64;
        let mx = points.iter().map(|(x, _)| x).sum::<f64>() / n;
        let my = points.iter().map(|(_, y)| y).sum::<f64>() / n;
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| term(x - mx, y - my)).sum()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        (xx > 0.0 && yy > 0.0).then(|| xy * xy / (xx * yy))
    }

    /// The least and the greatest c of the measured ones around 0 that cost less than
    /// [`MOST_NLL_SHIFT`], without a gap.
    pub fn window(&self) -> Option<[f64; 2]> {
        let zero = self.coefficients.iter().position(|c| *c == 0.0)?;
        let fits = |at: &usize| {
            self.nll_shift_nats
                .get(*at)
                .copied()
                .flatten()
                .is_some_and(|shift| shift < MOST_NLL_SHIFT)
        };
        let low = (0..=zero).rev().take_while(fits).last()?;
        let high = (zero..self.coefficients.len()).take_while(fits).last()?;
        Some([self.coefficients[low], self.coefficients[high]])
    }

    /// The law, or the laws of several adapters.
    pub fn law(&self) -> String {
        let mut laws: Vec<&str> = self.adapters.iter().map(|one| one.law.as_str()).collect();
        laws.dedup();
        laws.join(" + ")
    }
}

impl Row {
    /// Of a measured row.
    pub fn number(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        self.measured.as_ref().and_then(of)
    }

    /// d at the dose above zero minus that at the dose below, where both are reached.
    pub fn dose_range(&self) -> Option<f64> {
        let [low, _, high] = self.dose.as_ref()?.ends()?;
        Some(high - low)
    }

    /// The name of the row that this one repeats with another seed.
    pub fn repeats(&self) -> Option<&str> {
        let (name, seed) = self.name.rsplit_once("-seed")?;
        seed.bytes().all(|b| b.is_ascii_digit()).then_some(name)
    }

    /// Whether it has at most four times as many parameters as the reference, and at least a quarter of them;
    /// `None` where a number is missing.
    pub fn is_within_budget(&self) -> Option<bool> {
        let (count, budget) = (self.parameters?, self.budget_parameters?);
        let fits = |a: u64, b: u64| a <= b.saturating_mul(4);
        Some(fits(count, budget) && fits(budget, count))
    }
}

/// Every `adapters/*/*/row.json` below `www`, by behaviour and name.
pub fn read(www: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for behaviour in folders(&www.join("adapters")) {
        for folder in folders(&behaviour) {
            let path = folder.join("row.json");
            if !path.is_file() {
                continue;
            }
            let mend = "measure the row again, or put its row.json back from the history";
            let bytes = fs::read(&path).or_mend(path.display(), mend)?;
            let row: Row = serde_json::from_slice(&bytes).or_mend(path.display(), mend)?;
            check(&row, &folder)?;
            rows.push(row);
        }
    }
    rows.sort_by(|a, b| (&a.behaviour, &a.name).cmp(&(&b.behaviour, &b.name)));
    Ok(rows)
}

/// A row says where it lies, and has numbers or says why not.
fn check(row: &Row, folder: &Path) -> Result {
    let mut names = folder
        .components()
        .rev()
        .map(std::path::Component::as_os_str);
    let [name, behaviour] = [names.next(), names.next()].map(Option::unwrap_or_default);
    let problem = if *name != *row.name || *behaviour != *row.behaviour {
        format!("names the row {}/{}", row.behaviour, row.name)
    } else if row.method.is_empty() {
        "has no `method`".into()
    } else if row.measured.is_some() == row.failed.is_some() {
        "must have `measured` or `failed`, and not both".into()
    } else {
        return Ok(());
    };
    Err(Failure::new(
        format!("{}: {problem}", folder.join("row.json").display()),
        "measure the row again into the folder www/adapters/BEHAVIOUR/NAME",
    ))
}

/// The folders in a folder, by name; none where there is no such folder.
fn folders(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}
