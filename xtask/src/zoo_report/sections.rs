//! The report's parts. Every sentence is made of numbers: none knows a result.

use super::claims::SHOWN;
use super::document::{Block, Table, plain};
use super::plots;
use super::rows::Row;
use super::trials;
use super::verdicts;
use super::written::{NONE, counted, fixed, names, nats, percent, power, short, whole};
use super::zoo::{
    CONDITIONS, DOSE, Measure, ORDERED, SYMMETRY, WORST_NLL, Zoo, conditions, holds, median, spread,
};

pub fn table(caption: impl Into<String>, head: &[&str], rows: Vec<Vec<String>>) -> Block {
    Block::Table(Table {
        caption: caption.into(),
        head: head.iter().map(|cell| (*cell).to_owned()).collect(),
        rows,
    })
}

pub fn heading(text: impl Into<String>) -> Block {
    Block::Heading(2, text.into())
}

pub fn code(name: &str) -> String {
    format!("`{name}`")
}

/// Shares as hundredths, all else as nats.
pub fn by(measure: Measure, value: Option<f64>) -> String {
    match value {
        Some(share) if measure.name == ORDERED.name => percent(share),
        value => nats(value),
    }
}

pub fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

// ---- at the top ----------------------------------------------------------------------------------

/// What the report is of.
pub fn opening(zoo: &Zoo) -> Vec<Block> {
    let measured = zoo.rows.iter().filter_map(|row| row.measured.as_ref());
    let mut models: Vec<String> = measured
        .map(|measured| format!("{} ({})", measured.model.name, measured.model.arithmetic))
        .collect();
    models.sort();
    models.dedup();
    let behaviours: Vec<String> = zoo
        .behaviours()
        .iter()
        .map(|behaviour| {
            let rows = zoo.measured(behaviour).len();
            let methods = zoo.standing_rows(behaviour).len();
            format!(
                "`{behaviour}` ({} of {})",
                counted(rows, "row"),
                counted(methods, "method")
            )
        })
        .collect();
    vec![
        Block::Heading(1, "The zoo".into()),
        Block::Text(format!(
            "Every method trained for the same behaviours, on the same texts, with the same steps and loss, and measured the same way on the test rows. Measured: {}. Base: {}.",
            behaviours.join(", "),
            plain(&models.join("; "))
        )),
        Block::Text(
            "Generated from `www/adapters/*/*/row.json` by `cargo xtask zoo --report`; what the numbers are is said in `docs/measuring.md`. d is in nats per token. **d at equal dose** is how far d moves between the two coefficients at which the 95th percentile of the KL from the base on neutral answers is 1 nat.".into(),
        ),
    ]
}

/// The sentences on top.
pub fn learnt(zoo: &Zoo) -> Vec<Block> {
    let mut items = Vec::new();
    for behaviour in zoo.behaviours() {
        let rows = zoo.standing_rows(behaviour);
        let good = rows.iter().filter(|row| holds(row)).count();
        items.push(format!(
            "**{behaviour}**: {good} of {} hold the judging rule: they steer both ways, more than prompting does, and keep the language. At equal dose: {}.",
            counted(rows.len(), "measured method"),
            podium(&rows)
        ));
    }
    items.extend(verdicts::sentences(zoo));
    items.extend(trials::sentences(zoo));
    items.extend(leaders(zoo));
    items.extend(over_all(zoo));
    items.extend(noise(zoo));
    vec![heading("What was learnt"), Block::List(items)]
}

/// The three strongest at equal dose.
fn podium(rows: &[&Row]) -> String {
    let first: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let d = row.dose_range()?;
            Some(format!("`{}` {}", row.name, nats(Some(d))))
        })
        .take(3)
        .collect();
    if first.is_empty() {
        return "no method reaches the dose on both sides".into();
    }
    let all = median(rows.iter().filter_map(|row| row.dose_range()));
    format!("{} lead, the median is {}", first.join(", "), nats(all))
}

/// Which family leads, for each behaviour.
fn leaders(zoo: &Zoo) -> Vec<String> {
    let mut items = Vec::new();
    for behaviour in zoo.behaviours() {
        let ranked = ranked(zoo, behaviour);
        let told: Vec<String> = ranked
            .iter()
            .map(|family| {
                format!(
                    "{} {} ({})",
                    family.name,
                    nats(family.median),
                    counted(family.rows.len(), "method")
                )
            })
            .collect();
        let Some(best) = ranked.first().filter(|family| family.median.is_some()) else {
            continue;
        };
        items.push(format!(
            "Where `{behaviour}` lives, by the median of d at equal dose: **{}** did best; {}.",
            best.name,
            told.join(", ")
        ));
    }
    items
}

/// The families by their mean place, where there are several behaviours.
fn over_all(zoo: &Zoo) -> Option<String> {
    let behaviours = zoo.behaviours();
    let mut places: Vec<(&str, Vec<f64>)> = zoo
        .families()
        .into_iter()
        .map(|it| (it, Vec::new()))
        .collect();
    for behaviour in &behaviours {
        let there = ranked(zoo, behaviour);
        let there = there.iter().filter(|family| family.median.is_some());
        for (place, family) in there.enumerate() {
            if let Some((_, found)) = places.iter_mut().find(|(name, _)| *name == family.name) {
                found.push(place as f64 + 1.0);
            }
        }
    }
    places.retain(|(_, found)| found.len() == behaviours.len());
    if behaviours.len() < 2 || places.is_empty() {
        return None;
    }
    let mean = |found: &[f64]| found.iter().sum::<f64>() / found.len() as f64;
    places.sort_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)));
    let told: Vec<String> = places
        .iter()
        .map(|(name, found)| format!("{name} {}", fixed(Some(mean(found)), 1)))
        .collect();
    Some(format!(
        "Mean place of the families over the {} behaviours, of those with numbers in each: {}.",
        behaviours.len(),
        told.join(", ")
    ))
}

/// How far a second seed moves the numbers.
fn noise(zoo: &Zoo) -> Option<String> {
    let [middle, most] = zoo.noise(DOSE)?;
    let pairs = zoo.seeds().count();
    let close: Vec<String> = zoo
        .behaviours()
        .into_iter()
        .filter_map(|behaviour| {
            let rows = zoo.standing_rows(behaviour);
            let best = rows.first()?.dose_range()?;
            let within = rows.iter().filter_map(|row| row.dose_range());
            let count = within.filter(|d| best - d <= most).count();
            let methods = counted(count, "method");
            Some(format!("{methods} of `{behaviour}`, itself among them"))
        })
        .collect();
    Some(format!(
        "Noise: a second seed moves d at equal dose by {} in the median of {}, by {} at most. Not farther than that from the strongest lie {}.",
        nats(Some(middle)),
        counted(pairs, "pair"),
        nats(Some(most)),
        close.join(", ")
    ))
}

// ---- where a behaviour lives ---------------------------------------------------------------------

struct Family<'a> {
    name: &'a str,
    /// Of d at equal dose.
    median: Option<f64>,
    /// The strongest first.
    rows: Vec<&'a Row>,
}

/// The families that have rows, that with the greatest median first.
fn ranked<'a>(zoo: &'a Zoo, behaviour: &str) -> Vec<Family<'a>> {
    let rows = zoo.standing_rows(behaviour);
    let of = |name: &'a str| {
        let rows: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| zoo.family(row) == name)
            .collect();
        let median = median(rows.iter().filter_map(|row| row.dose_range()));
        Family { name, median, rows }
    };
    let mut families: Vec<Family<'_>> = zoo.families().into_iter().map(of).collect();
    families.retain(|family| !family.rows.is_empty());
    let strength = |family: &Family<'_>| family.median.unwrap_or(f64::NEG_INFINITY);
    families.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    families
}

pub fn hypotheses(zoo: &Zoo) -> Vec<Block> {
    let mut blocks = vec![
        heading("Where a behaviour lives"),
        Block::Text("Each method is a guess about where a behaviour lives. The families by the median of d at equal dose, each with its strongest method and what that method believes; beside them the medians of symmetry and of the greater NLL shift at ±1. A family of one or two methods says little about its kind.".into()),
    ];
    for behaviour in zoo.behaviours() {
        let rows = ranked(zoo, behaviour).into_iter().map(|family| {
            let reached = family.rows.iter().filter(|row| row.dose_range().is_some());
            let count = family.rows.len();
            let reached = format!("{} of {count}", reached.count());
            let good = family.rows.iter().filter(|row| holds(row)).count();
            let middle =
                |measure: Measure| median(family.rows.iter().filter_map(|row| (measure.of)(row)));
            let best = family.rows.first().copied();
            let believes = best.and_then(|row| zoo.method(&row.method));
            vec![
                family.name.to_owned(),
                nats(family.median),
                reached,
                format!("{good} of {count}"),
                nats(middle(SYMMETRY)),
                nats(middle(WORST_NLL)),
                best.map_or_else(|| NONE.into(), |row| code(&row.name)),
                nats(best.and_then(DOSE.of)),
                believes.map_or_else(|| NONE.into(), |method| plain(&method.hypothesis)),
            ]
        });
        let head = [
            "family",
            "median d",
            "reach the dose",
            "hold the rule",
            "symmetry",
            "NLL",
            "strongest",
            "d",
            "what it believes",
        ];
        blocks.push(table(
            format!("{behaviour}: families by d at equal dose"),
            &head,
            rows.collect(),
        ));
    }
    blocks
}

// ---- the judging rule ----------------------------------------------------------------------------

pub fn judging(zoo: &Zoo) -> Vec<Block> {
    let mut counts = Vec::new();
    for behaviour in zoo.behaviours() {
        let rows = zoo.standing_rows(behaviour);
        let mut cells = vec![code(behaviour), rows.len().to_string()];
        cells.extend((0..CONDITIONS.len()).map(|at| {
            let good = rows.iter().filter(|row| conditions(row)[at] == Some(true));
            good.count().to_string()
        }));
        cells.push(rows.iter().filter(|row| holds(row)).count().to_string());
        counts.push(cells);
    }
    let around = |first: &[&'static str]| -> Vec<&'static str> {
        let all = first.iter().chain(&CONDITIONS).chain(&["all"]);
        all.copied().collect()
    };
    let mut blocks = vec![
        heading("The judging rule"),
        Block::Text("A row steers reversibly where all of these hold: the slope's 95 % interval lies above 0; at least 80 % of the prompts have d(−1) < d(0) < d(1); d(1) − d(−1) is at least 1 nat per token, and more than prompting moves it; the NLL shift is at most 0.2 nats at both ends; and at equal dose the mean d and at least 80 % of the prompts are in the same order. A dash: a number is missing, such as a dose that is not reached on both sides, and the row does not hold the rule.".into()),
        table("How many methods hold each condition", &around(&["behaviour", "methods"]), counts),
    ];
    for behaviour in zoo.behaviours() {
        let rows = zoo.measured(behaviour).into_iter().map(|row| {
            let mut cells = vec![code(&row.name)];
            cells.extend(conditions(row).map(|found| found.map_or(NONE, yes).to_owned()));
            cells.push(yes(holds(row)).into());
            cells
        });
        blocks.push(table(
            format!("{behaviour}: the conditions, row by row"),
            &around(&["row"]),
            rows.collect(),
        ));
        blocks.extend(fallen(zoo, behaviour));
    }
    blocks
}

/// The rows that do not hold the rule, each with the conditions that it misses.
fn fallen(zoo: &Zoo, behaviour: &str) -> Option<Block> {
    let rows = zoo.measured(behaviour);
    let told: Vec<String> = rows
        .iter()
        .filter(|row| !holds(row))
        .map(|row| {
            let missed = conditions(row).into_iter().zip(CONDITIONS);
            let missed = missed.filter(|(found, _)| *found != Some(true));
            let missed: Vec<&str> = missed.map(|(_, name)| name).collect();
            format!("`{}` ({})", row.name, missed.join("; "))
        })
        .collect();
    (!told.is_empty()).then(|| {
        Block::Text(format!(
            "{} of {} of `{behaviour}` do not hold the rule, and by what: {}.",
            told.len(),
            counted(rows.len(), "measured row"),
            told.join(", ")
        ))
    })
}

// ---- a behaviour's numbers -----------------------------------------------------------------------

pub fn behaviour(zoo: &Zoo, behaviour: &str) -> Vec<Block> {
    let rows = zoo.measured(behaviour);
    let mut blocks = vec![
        heading(format!("Numbers of {behaviour}")),
        effects(zoo, behaviour, &rows),
    ];
    blocks.push(costs(behaviour, &rows));
    blocks.extend(budget(zoo, behaviour));
    blocks.extend(at_once(zoo, behaviour));
    blocks.push(Block::Figure(plots::curves(zoo, behaviour)));
    blocks.push(Block::Figure(plots::doses(zoo, behaviour)));
    blocks.push(Block::Figure(plots::symmetries(zoo, behaviour)));
    blocks
}

fn effects(zoo: &Zoo, behaviour: &str, rows: &[&Row]) -> Block {
    let mut cells = Vec::new();
    for row in rows {
        let Some(measured) = &row.measured else {
            continue;
        };
        let slope = &measured.slope;
        cells.push(vec![
            code(&row.name),
            zoo.family(row).to_owned(),
            measured.law(),
            nats(measured.d(-1.0)),
            nats(measured.d(0.0)),
            nats(measured.d(1.0)),
            format!(
                "{} ({} to {})",
                nats(slope.mean),
                nats(slope.low),
                nats(slope.high)
            ),
            percent(measured.ordered_share),
            percent(measured.wrong_way_share),
            nats(measured.symmetry),
            power(measured.inverse_error),
            nats(measured.linearity()),
            nats(row.dose_range()),
            row.dose.as_ref().map_or_else(
                || NONE.into(),
                |dose| format!("{}, {}", nats(dose.c_low), nats(dose.c_high)),
            ),
            row.trains_reverse.map_or(NONE, yes).to_owned(),
        ]);
    }
    let asked = rows.iter().find_map(|row| {
        let measured = row.measured.as_ref()?;
        Some((measured.prompting.as_ref()?, measured.d(0.0)))
    });
    const HEAD: [&str; 15] = [
        "row",
        "family",
        "law",
        "d(−1)",
        "d(0)",
        "d(1)",
        "slope (95 %)",
        "ordered",
        "wrong way",
        "symmetry",
        "inverse error",
        "linearity",
        "d at equal dose",
        "c there",
        "−1 trained",
    ];
    if let Some((asked, base)) = asked {
        let mut row = vec![NONE.to_owned(); HEAD.len()];
        row[0] = "prompting".into();
        row[3] = nats(Some(asked.negative));
        row[4] = nats(base);
        row[5] = nats(Some(asked.positive));
        cells.push(row);
    }
    table(
        format!(
            "{behaviour}: what c does. The strongest at equal dose first; last, the base when a system message asks for less, nothing, or more"
        ),
        &HEAD,
        cells,
    )
}

fn costs(behaviour: &str, rows: &[&Row]) -> Block {
    let cells = rows.iter().filter_map(|row| {
        let measured = row.measured.as_ref()?;
        let kl = |c: f64| {
            let [mean, p95] = measured.kl(c);
            format!("{} ({})", nats(mean), nats(p95))
        };
        let window = measured.window().map_or_else(
            || NONE.to_owned(),
            |[low, high]| format!("{} to {}", short(Some(low)), short(Some(high))),
        );
        let repeats = measured.repetition.as_ref().map_or_else(
            || NONE.to_owned(),
            |found| {
                let shares = [found.reversed, found.base, found.trained];
                shares.map(percent).join(", ")
            },
        );
        Some(vec![
            code(&row.name),
            kl(-1.0),
            kl(1.0),
            fixed(measured.nll(-1.0), 3),
            fixed(measured.nll(1.0), 3),
            window,
            repeats,
            row.parameters.map_or_else(|| NONE.into(), whole),
            fixed(row.seconds, 0),
            short(row.rate),
            row.seed.to_string(),
        ])
    });
    table(
        format!(
            "{behaviour}: what it costs. KL from the base on neutral answers, mean and 95th percentile; the window is of the measured c around 0 with an NLL shift below 0.2; repeated 4-grams at −1, 0, 1"
        ),
        &[
            "row",
            "KL at −1",
            "KL at 1",
            "NLL at −1",
            "NLL at 1",
            "window of c",
            "repetition",
            "parameters",
            "seconds",
            "rate",
            "seed",
        ],
        cells.collect(),
    )
}

/// The methods that are not within a factor of four of the LoRA.
fn budget(zoo: &Zoo, behaviour: &str) -> Option<Block> {
    let rows = zoo.standing_rows(behaviour);
    let lora = rows.iter().find_map(|row| row.budget_parameters)?;
    let outside = rows
        .iter()
        .filter(|row| row.is_within_budget() == Some(false));
    let outside: Vec<String> = outside
        .map(|row| {
            format!(
                "`{}` ({})",
                row.name,
                row.parameters.map_or_else(|| NONE.into(), whole)
            )
        })
        .collect();
    let lora = whole(lora);
    Some(Block::Text(if outside.is_empty() {
        format!("All methods have between a quarter and four times the LoRA's {lora} parameters.")
    } else {
        format!(
            "Not within a factor of 4 of the LoRA's {lora} parameters, as near as their ranks come: {}.",
            outside.join(", ")
        )
    }))
}

/// The rows whose adapter was trained for all behaviours at once.
fn at_once(zoo: &Zoo, behaviour: &str) -> Option<Block> {
    let told: Vec<String> = zoo
        .of(behaviour)
        .filter_map(|row| {
            let folder = row.folder.as_ref()?;
            let task = row
                .task
                .map_or_else(String::new, |task| format!(", task {task}"));
            Some(format!("`{}` (`{folder}`{task})", row.name))
        })
        .collect();
    (!told.is_empty()).then(|| {
        Block::Text(format!(
            "Trained for all behaviours at once, with as many steps for each; parameters and seconds are those of all: {}.",
            told.join(", ")
        ))
    })
}

// ---- seeds, failures, what is not there ----------------------------------------------------------

pub fn two_seeds(zoo: &Zoo) -> Vec<Block> {
    let numbers = |row: &Row| {
        let d = |c| nats(row.number(|measured| measured.d(c)));
        [
            row.seed.to_string(),
            d(-1.0),
            d(1.0),
            nats(row.number(|measured| measured.symmetry)),
            fixed(row.number(super::rows::Measured::worst_nll), 3),
            nats(row.dose_range()),
        ]
    };
    let mut rows = Vec::new();
    for (first, second) in zoo.seeds() {
        for row in [first, second] {
            let mut cells = vec![code(&row.name), row.behaviour.clone()];
            cells.extend(numbers(row));
            rows.push(cells);
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let behaviours = zoo.behaviours();
    let behaviours = behaviours
        .iter()
        .filter(|it| zoo.seeds().any(|(row, _)| row.behaviour == **it));
    let mut against = Vec::new();
    for behaviour in behaviours {
        let standing = zoo.standing_rows(behaviour);
        against.extend(SHOWN.into_iter().filter_map(|measure| {
            let [middle, most] = zoo.noise(measure)?;
            let between = spread(standing.iter().filter_map(|row| (measure.of)(row)));
            let share = between
                .filter(|between| *between > 0.0)
                .map(|between| middle / between);
            Some(vec![
                measure.name.to_owned(),
                behaviour.to_string(),
                by(measure, Some(middle)),
                by(measure, Some(most)),
                by(measure, between),
                share.map_or_else(|| NONE.into(), percent),
            ])
        }));
    }
    vec![
        heading("Two seeds"),
        table(
            "How far a second seed moves a number, beside how far the middle half of the methods lies apart: where the first is not much less than the second, an order of methods says little",
            &[
                "number",
                "behaviour",
                "median",
                "most",
                "methods apart",
                "median of apart",
            ],
            against,
        ),
        table(
            "The same method trained twice: what differs is noise",
            &[
                "row",
                "behaviour",
                "seed",
                "d(−1)",
                "d(1)",
                "symmetry",
                "worst NLL shift",
                "d at equal dose",
            ],
            rows,
        ),
    ]
}

pub fn failures(zoo: &Zoo) -> Vec<Block> {
    let mut rows = Vec::new();
    for row in &zoo.rows {
        let mut told = |what: String, why: &str| {
            rows.push(vec![
                code(&row.name),
                row.behaviour.clone(),
                what,
                plain(why),
            ]);
        };
        if let Some(why) = &row.failed {
            told("the row".into(), why);
        }
        for rate in &row.sweep {
            if let Some(why) = &rate.failed {
                told(format!("rate {}", short(Some(rate.rate))), why);
            }
        }
    }
    if rows.is_empty() {
        rows.push(vec![NONE.into(); 4]);
    }
    vec![
        heading("Failures"),
        table(
            "What failed, a row or one rate of its sweep, and why",
            &["row", "behaviour", "what", "why"],
            rows,
        ),
    ]
}

pub fn not_there(zoo: &Zoo) -> Vec<Block> {
    let measured = |name: &str| {
        zoo.rows
            .iter()
            .any(|row| row.method == name && row.measured.is_some())
    };
    let rows = zoo.methods.iter().filter_map(|method| {
        let why = method.trains_not.as_ref()?;
        let cells = vec![
            code(&method.name),
            plain(&method.title),
            format!("training takes {}", plain(why)),
        ];
        (!measured(&method.name)).then_some(cells)
    });
    let mut blocks = vec![heading("What is not measured")];
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        blocks.push(table(
            "Methods that cannot be trained here, and what is missing",
            &["method", "name", "why"],
            rows,
        ));
    }
    let missing = zoo.behaviours().into_iter().filter_map(|behaviour| {
        let without = zoo.methods.iter().filter(|method| {
            method.trains_not.is_none() && zoo.standing(behaviour, &method.name).is_none()
        });
        let without = names(without.map(|method| method.name.as_str()));
        (!without.is_empty()).then(|| format!("**{behaviour}** has no row of {without}."))
    });
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        blocks.push(Block::List(missing));
    }
    blocks
}
