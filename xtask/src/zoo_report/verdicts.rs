//! What is said of the list's claims: a sentence for each on top, and their numbers.

use super::claims::{self, CLAIMS, Judged, RULES, SHOWN, Verdict};
use super::document::Block;
use super::rows::Row;
use super::sections::{by, code, heading, table, yes};
use super::written::{names, percent};
use super::zoo::{Zoo, holds, median, way};

/// The verdicts over all behaviours, each with its numbers.
pub fn sentences(zoo: &Zoo) -> Vec<String> {
    let told = CLAIMS.iter().map(|claim| {
        let judged: Vec<(&str, Judged<'_>)> = zoo
            .behaviours()
            .into_iter()
            .map(|behaviour| (behaviour, claims::judge(claim, zoo, behaviour)))
            .collect();
        let verdicts: Vec<Verdict> = judged.iter().map(|(_, judged)| judged.verdict).collect();
        let numbers: Vec<String> = judged
            .iter()
            .map(|(behaviour, judged)| format!("`{behaviour}`: {}", evidence(judged)))
            .collect();
        format!(
            "“{}”: **{}**. {}.",
            claim.text,
            claims::together(&verdicts).words(),
            numbers.join("; ")
        )
    });
    told.collect()
}

/// The rules, and each claim's rows beside the others.
pub fn blocks(zoo: &Zoo) -> Vec<Block> {
    let mut blocks = vec![
        heading("The claims, one by one"),
        Block::List(RULES.map(str::to_owned).to_vec()),
        Block::Text("Linearity is the share of d's variance over the measured coefficients that a straight line explains. NLL is the greater shift of the two ends.".into()),
    ];
    let head = ["row", "behaviour"]
        .into_iter()
        .chain(SHOWN.map(|measure| measure.name))
        .chain(["holds the rule"]);
    let head: Vec<&str> = head.collect();
    for claim in &CLAIMS {
        blocks.push(Block::Heading(3, format!("“{}”", claim.text)));
        let mut rows = Vec::new();
        let mut verdicts = Vec::new();
        for behaviour in zoo.behaviours() {
            let judged = claims::judge(claim, zoo, behaviour);
            for row in &judged.named {
                let mut cells = vec![code(&row.name), behaviour.to_owned()];
                cells.extend(SHOWN.map(|measure| by(measure, (measure.of)(row))));
                cells.push(yes(holds(row)).into());
                rows.push(cells);
            }
            let mut cells = vec!["median of the others".to_owned(), behaviour.to_owned()];
            cells.extend(SHOWN.map(|measure| {
                let values = judged.others.iter().filter_map(|row| (measure.of)(row));
                by(measure, median(values))
            }));
            let good = judged.others.iter().filter(|row| holds(row)).count();
            cells.push(format!("{good} of {}", judged.others.len()));
            rows.push(cells);
            verdicts.push(format!("`{behaviour}`: {}", reason(&judged)));
        }
        blocks.push(table("The rows that it names, and the others", &head, rows));
        blocks.push(Block::List(verdicts));
    }
    blocks
}

/// The verdict, and what the rows were compared by.
fn reason(judged: &Judged<'_>) -> String {
    let mut parts: Vec<String> = judged
        .compared
        .iter()
        .map(|(measure, wins)| format!("{}: {}", measure.name, compared(*wins)))
        .collect();
    parts.push(format!(
        "{} of {} hold the rule",
        judged.holding(),
        judged.all()
    ));
    parts.extend(absent(judged));
    format!("**{}** ({})", judged.verdict.words(), parts.join("; "))
}

/// A claim's numbers for one behaviour, in a sentence.
fn evidence(judged: &Judged<'_>) -> String {
    if judged.all() == 0 {
        return format!("no row of {}", names(judged.missing.iter().copied()));
    }
    let others = judged.others.iter().filter(|row| holds(row)).count();
    let mut parts = vec![
        judged.verdict.words().to_owned(),
        format!(
            "{} of {} hold the rule (others {others} of {})",
            judged.holding(),
            judged.all(),
            judged.others.len()
        ),
    ];
    parts.extend(judged.compared.iter().map(|(measure, wins)| {
        let of = |rows: &[&Row]| {
            let values = rows.iter().filter_map(|row| (measure.of)(row));
            by(*measure, median(values))
        };
        format!(
            "{} {} (others {}): {}",
            measure.name,
            of(&judged.named),
            of(&judged.others),
            compared(*wins)
        )
    }));
    parts.extend(absent(judged));
    parts.join(", ")
}

/// What a share of won pairs says, in words.
fn compared(wins: Option<f64>) -> String {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let Some(wins) = wins else {
        return "too few numbers".into();
    };
    let word = match way(wins) {
        Greater => "better",
        Less => "worse",
        Equal => "alike",
    };
    format!("{word}, {} of pairs", percent(wins))
}

/// The methods named that have no numbers.
fn absent(judged: &Judged<'_>) -> Vec<String> {
    let told = |what: &str, list: &[&str]| {
        (!list.is_empty()).then(|| format!("{what} {}", names(list.iter().copied())))
    };
    let both = [
        told("failed:", &judged.failed),
        told("no row of", &judged.missing),
    ];
    both.into_iter().flatten().collect()
}
