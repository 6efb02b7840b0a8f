//! Small made rows: what is read off them, what is judged by them, what is written.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalogue::Method;
use super::claims::{self, CLAIMS, Says, Verdict};
use super::rows::{self, Row};
use super::zoo::{DOSE, RANGE, SYMMETRY, Zoo, conditions, holds, median, spread, way, wins};
use super::{rendered, stale};

/// A row as `row.json` has it: d goes from `−d` through 0 to `d` along a line, and by twice of it at
/// equal dose.
fn json(behaviour: &str, name: &str, method: &str, d: f64, symmetry: f64) -> String {
    let (half, low, twice) = (d / 2.0, -d, 2.0 * d);
    format!(
        r#"{{ "behaviour": "{behaviour}", "name": "{name}", "method": "{method}", "seed": 0, "shipped": true,
  "parameters": 1000, "budgetParameters": 1000, "rank": 4, "layers": "9-20", "modules": "",
  "steps": 40, "batch": 2, "trainsReverse": true,
  "sweep": [ {{ "rate": 0.0007, "dNats": [-1.0, 0.2, 1.0], "orderedShare": 1.0, "nllShiftNats": [0.01, -0.02], "seconds": 61.0 }},
             {{ "rate": 0.006, "failed": "not | finite" }} ],
  "rate": 0.002, "seconds": 61.0, "bytes": 390000, "half": true, "halfChangesDNats": 0.0004,
  "measured": {{
    "model": {{ "name": "Tiny", "sha256": null, "arithmetic": "f32", "device": "cpu" }},
    "adapters": [ {{ "name": "x", "method": "{method}", "law": "linear", "sha256": "", "scale": 1.0, "layers": "", "modules": "", "positions": "all" }} ],
    "coefficients": [-1.0, -0.5, 0.0, 0.5, 1.0], "coefficients_left_out": [],
    "d_nats": [{low}, -{half}, 0.0, {half}, {d}], "per_prompt": [],
    "slope": {{ "mean": {d}, "low": {half}, "high": {twice} }}, "kendall_tau": 1.0,
    "ordered_share": 1.0, "wrong_way_share": 0.0, "symmetry": {symmetry}, "inverse_error": null,
    "kl_nats": {{ "mean": [0.3, 0.1, 0.0, 0.1, null], "p95": [0.9, 0.3, 0.0, 0.3, null] }},
    "nll_shift_nats": [0.1, 0.25, 0.0, 0.1, 0.15],
    "repetition": {{ "-1": 0.1, "0": 0.0, "1": 0.2 }}, "base_identity": true,
    "prompting": {{ "positive": 0.5, "negative": -0.1 }}, "seconds": null }},
  "dose": {{ "nats": 1.0, "cLow": -1.1, "cHigh": 1.2, "dNats": [{low}, 0.0, {d}], "orderedShare": 0.94 }},
  "failed": null }}"#
    )
}

fn row(behaviour: &str, name: &str, method: &str, d: f64, symmetry: f64) -> Row {
    serde_json::from_str(&json(behaviour, name, method, d, symmetry)).unwrap()
}

/// A row of `tone` of its method's own name.
fn tone(method: &str, d: f64, symmetry: f64) -> Row {
    row("tone", method, method, d, symmetry)
}

fn zoo(mut rows: Vec<Row>) -> Zoo {
    rows.sort_by(|a, b| (&a.behaviour, &a.name).cmp(&(&b.behaviour, &b.name)));
    let card = |name: &str, family: &str, trains_not: Option<&str>| Method {
        name: name.into(),
        title: name.to_uppercase(),
        family: family.into(),
        law: "linear".into(),
        hypothesis: format!("{name} believes."),
        trains_not: trains_not.map(str::to_owned),
        not_alone: trains_not.map(str::to_owned),
    };
    let methods = vec![
        card("lora", "low-rank", None),
        card("loha", "full-rank", None),
        card("lokr", "full-rank", None),
        card("ia3", "scale", None),
        card("prefix_tuning", "prompt", None),
        card("frod", "full-rank", Some("a basis")),
    ];
    Zoo {
        rows,
        methods,
        trials: Vec::new(),
    }
}

/// LoHa and LoKr as they are given, beside four good others.
fn nonlinear(loha: Row, lokr: Row) -> Zoo {
    let others = ["lora", "ia3", "dora", "hra"];
    let others = others.into_iter().zip(0..).map(|(name, at)| {
        let more = f64::from(at) * 0.05;
        tone(name, 1.0 + more, 0.8 + more)
    });
    zoo(others.chain([loha, lokr]).collect())
}

fn verdict(zoo: &Zoo, text: &str) -> Verdict {
    let claim = CLAIMS.iter().find(|claim| claim.text.contains(text));
    claims::judge(claim.expect("a claim"), zoo, "tone").verdict
}

#[test]
fn numbers_are_read_off_a_row() {
    let row = tone("lora", 1.0, 0.9);
    let measured = row.measured.as_ref().unwrap();
    assert_eq!(measured.range(), Some(2.0));
    assert_eq!(measured.worst_nll(), Some(0.15));
    assert!((measured.linearity().unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(measured.window(), Some([0.0, 1.0]), "0.25 at −0.5 ends it");
    assert_eq!(measured.kl(1.0), [None, None], "beyond what logits can say");
    assert_eq!(row.dose_range(), Some(2.0));
    assert_eq!(row.repeats(), None);
    assert_eq!(
        self::row("tone", "lora-seed12", "lora", 1.0, 0.9).repeats(),
        Some("lora")
    );
    assert_eq!(
        self::row("tone", "lora-r16", "lora", 1.0, 0.9).repeats(),
        None
    );
}

#[test]
fn a_curve_that_bends_is_less_linear() {
    let mut row = tone("lora", 1.0, 0.9);
    let measured = row.measured.as_mut().unwrap();
    measured.d_nats = [1.0, 0.25, 0.0, 0.25, 1.0].map(Some).to_vec();
    assert!(measured.linearity().unwrap() < 1e-12);
    measured.d_nats = vec![None; 5];
    assert_eq!(measured.linearity(), None);
}

#[test]
fn each_condition_of_the_rule_can_fail_alone() {
    assert!(holds(&tone("lora", 1.0, 0.9)));
    type Spoil = fn(&mut Row);
    let spoilt: [(usize, Spoil); 6] = [
        (0, |row| {
            row.measured.as_mut().unwrap().slope.low = Some(-0.1);
        }),
        (1, |row| row.measured.as_mut().unwrap().ordered_share = 0.75),
        (2, |row| {
            row.measured.as_mut().unwrap().d_nats[0] = Some(0.3);
        }),
        (3, |row| {
            row.measured
                .as_mut()
                .unwrap()
                .prompting
                .as_mut()
                .unwrap()
                .positive = 5.0;
        }),
        (4, |row| {
            row.measured.as_mut().unwrap().nll_shift_nats[0] = Some(0.21);
        }),
        (5, |row| row.dose.as_mut().unwrap().d_nats = None),
    ];
    for (at, spoil) in spoilt {
        let mut row = tone("lora", 1.0, 0.9);
        spoil(&mut row);
        assert!(!holds(&row), "condition {at}");
        let failed = conditions(&row)
            .iter()
            .filter(|found| **found != Some(true))
            .count();
        assert_eq!(failed, 1, "condition {at} alone");
        assert_ne!(conditions(&row)[at], Some(true));
    }
}

#[test]
fn groups_are_better_worse_or_overlap() {
    let others: Vec<Row> = [0.2, 0.4, 0.6, 0.8].map(|s| tone("x", 1.0, s)).into();
    let others: Vec<&Row> = others.iter().collect();
    let against = |symmetries: &[f64], noise: f64| {
        let group: Vec<Row> = symmetries.iter().map(|s| tone("y", 1.0, *s)).collect();
        wins(SYMMETRY, &group.iter().collect::<Vec<_>>(), &others, noise).unwrap()
    };
    assert_eq!(against(&[0.9, 0.7], 0.0), 0.875);
    assert_eq!(against(&[0.1, 0.3], 0.0), 0.125);
    assert_eq!(against(&[0.9, 0.5], 0.0), 0.75);
    assert_eq!(against(&[0.6], 0.0), 0.625, "a tie counts half");
    assert_eq!(against(&[0.7], 0.15), 0.75, "within the noise too");
    assert_eq!(
        [0.75, 0.5, 0.25].map(way),
        [Ordering::Greater, Ordering::Equal, Ordering::Less]
    );
    let mut unreached = tone("y", 1.0, 0.9);
    unreached.dose = None;
    assert_eq!(wins(DOSE, &[&unreached], &others, 0.0), None);
    let reached = tone("y", 2.0, 0.9);
    assert_eq!(wins(DOSE, &[&unreached, &reached], &others, 0.0), Some(1.0));
    assert_eq!(
        wins(SYMMETRY, &[&unreached], &others[..3], 0.0),
        None,
        "too few"
    );
    assert_eq!(spread([1.0, 2.0, 3.0].into_iter()), None);
    assert_eq!(spread([5.0, 1.0, 2.0, 3.0, 4.0].into_iter()), Some(2.0));
    assert_eq!(median([3.0, 1.0, 2.0, 10.0].into_iter()), Some(2.5));
    assert_eq!(median(std::iter::empty()), None);
}

#[test]
fn what_is_to_avoid_is_judged_by_its_rows() {
    // Symmetry 0.1 is far below the others', and d below 0.5 does not hold the rule.
    let worse = nonlinear(tone("loha", 0.4, 0.1), tone("lokr", 0.4, 0.1));
    assert_eq!(verdict(&worse, "LoHa"), Verdict::Supported);
    let alike = nonlinear(tone("loha", 1.1, 0.85), tone("lokr", 1.1, 0.9));
    assert_eq!(verdict(&alike, "LoHa"), Verdict::NotSupported);
    let one = nonlinear(tone("loha", 0.6, 0.1), tone("lokr", 1.1, 0.1));
    assert_eq!(
        verdict(&one, "LoHa"),
        Verdict::Undecided,
        "they hold the rule, and are less symmetric"
    );
    let without = |change: fn(&mut Vec<Row>)| {
        let mut zoo = nonlinear(tone("loha", 1.1, 0.85), tone("lokr", 1.1, 0.9));
        change(&mut zoo.rows);
        verdict(&zoo, "LoHa")
    };
    let fail = |rows: &mut Vec<Row>, names: &[&str]| {
        for row in rows
            .iter_mut()
            .filter(|row| names.contains(&row.name.as_str()))
        {
            row.measured = None;
            row.failed = Some("why".into());
        }
    };
    let mut zoo = nonlinear(tone("loha", 1.1, 0.85), tone("lokr", 1.1, 0.9));
    fail(&mut zoo.rows, &["lokr"]);
    assert_eq!(
        verdict(&zoo, "LoHa"),
        Verdict::Undecided,
        "one of two failed"
    );
    fail(&mut zoo.rows, &["loha", "lokr"]);
    assert_eq!(verdict(&zoo, "LoHa"), Verdict::Supported, "both failed");
    let lacks_one = without(|rows| rows.retain(|row| row.name != "lokr"));
    assert_eq!(
        lacks_one,
        Verdict::NotSupported,
        "the other speaks for both"
    );
    let lacks_both =
        without(|rows| rows.retain(|row| !row.name.starts_with("lo") || row.name == "lora"));
    assert_eq!(lacks_both, Verdict::Undecided);
}

#[test]
fn what_a_seed_moves_is_no_difference() {
    let good = || nonlinear(tone("loha", 0.4, 0.7), tone("lokr", 0.4, 0.7));
    assert_eq!(verdict(&good(), "LoHa"), Verdict::Supported);
    let mut noisy = good();
    noisy.rows.push(row("tone", "lora-seed1", "lora", 4.0, 0.1));
    noisy.rows.push(row("tone", "ia3-seed1", "ia3", 4.0, 0.1));
    let [median, most] = noisy.noise(SYMMETRY).unwrap();
    assert!((median - 0.725).abs() < 1e-9 && (most - 0.75).abs() < 1e-9);
    assert!(noisy.noise(RANGE).unwrap()[0] > 5.0);
    let claim = CLAIMS
        .iter()
        .find(|claim| claim.text.contains("LoHa"))
        .unwrap();
    let judged = claims::judge(claim, &noisy, "tone");
    assert!(
        judged
            .compared
            .iter()
            .all(|(measure, wins)| { measure.name == "linearity" || *wins == Some(0.5) })
    );
}

#[test]
fn what_is_best_must_be_better_and_hold_the_rule() {
    let with = |d: f64, symmetry: f64| {
        let best = ["road", "delora", "vera", "ia3"].map(|name| tone(name, d, symmetry));
        let others = ["a", "b", "c", "d"].map(|name| tone(name, 1.0, 0.7));
        verdict(&zoo(best.into_iter().chain(others).collect()), "best are")
    };
    assert_eq!(with(1.5, 0.9), Verdict::Supported);
    assert_eq!(
        with(1.0, 0.7),
        Verdict::NotSupported,
        "no better than others"
    );
    assert_eq!(
        with(1.5, 0.5),
        Verdict::Undecided,
        "stronger, and less symmetric"
    );
    assert_eq!(with(1.0, 0.5), Verdict::NotSupported, "less symmetric");
    assert_eq!(
        with(0.3, 0.9),
        Verdict::NotSupported,
        "most do not hold the rule"
    );
}

#[test]
fn lora_is_judged_with_its_ranks_and_seeds() {
    let all = |d: f64| {
        let rows = [
            tone("lora", 1.0, 0.9),
            row("tone", "lora-r1", "lora", d, 0.9),
            row("tone", "lora-seed1", "lora", 1.0, 0.9),
        ];
        verdict(&zoo(rows.into()), "fixable")
    };
    assert_eq!(all(1.0), Verdict::Supported);
    assert_eq!(all(0.2), Verdict::Undecided);
    assert_eq!(
        verdict(&zoo(vec![tone("ia3", 1.0, 0.9)]), "fixable"),
        Verdict::Undecided
    );
    assert!(CLAIMS.iter().any(|claim| claim.says == Says::Fixable));
}

#[test]
fn behaviours_that_disagree_decide_nothing() {
    use Verdict::{NotSupported, Supported, Undecided};
    assert_eq!(claims::together(&[Supported, Undecided]), Supported);
    assert_eq!(claims::together(&[Undecided, NotSupported]), NotSupported);
    assert_eq!(claims::together(&[Supported, NotSupported]), Undecided);
    assert_eq!(claims::together(&[]), Undecided);
}

/// Two behaviours, a variant, a second seed and a failure.
fn small() -> Zoo {
    let failed = Row {
        behaviour: "tone".into(),
        name: "lokr".into(),
        method: "lokr".into(),
        failed: Some("its weights | were not finite".into()),
        ..Row::default()
    };
    zoo(vec![
        tone("lora", 1.0, 0.9),
        row("tone", "lora-seed1", "lora", 1.25, 0.8),
        row("tone", "lora-r16", "lora", 1.5, 0.9),
        tone("ia3", 2.0, 0.95),
        tone("prefix_tuning", 0.3, 0.2),
        failed,
        row("register", "lora", "lora", 1.0, 0.9),
    ])
}

#[test]
fn one_row_stands_for_a_method() {
    let zoo = small();
    let standing: Vec<&str> = zoo
        .standing_rows("tone")
        .iter()
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(
        standing,
        ["ia3", "lora", "prefix_tuning"],
        "the strongest first"
    );
    assert_eq!(
        zoo.behaviours(),
        ["tone", "register"],
        "that with most rows first"
    );
    let vector = row("tone", "mean-vector", "control_vector", 1.0, 1.0);
    let zoo = self::zoo(vec![vector]);
    assert!(zoo.standing("tone", "control_vector").is_some());
}

#[test]
fn the_report_says_what_the_rows_say() {
    let files = rendered(&small(), Some("A word.\n\n- one\n- two\n"));
    let doc = &files[Path::new("docs/zoo.md")];
    for part in [
        "**tone**: 2 of 3 measured methods hold the judging rule",
        "`ia3` 4.00, `lora` 2.00, `prefix_tuning` 0.60 lead",
        "a second seed moves d at equal dose by 0.50 in the median of 1 pair",
        "| d at equal dose | tone | 0.50 | 0.50 | – | – |",
        "“several BiPO vectors act at once”: **undecided**, it is not measured.",
        "1 of 5 measured rows of `tone` do not hold the rule, and by what: `prefix_tuning` (d(1) − d(−1) ≥ 1 nat",
        "over the 2 behaviours, of those with numbers in each: low-rank 1.5.",
        "**scale** did best; scale 4.00 (1 method), low-rank 2.00 (1 method), prompt 0.60 (1 method)",
        "## What surprised\n\nA word.\n\n- one\n- two\n",
        "| `lokr` | tone | the row | its weights \\| were not finite |",
        "| `ia3` | tone | rate 0.006 | not \\| finite |",
        "| `frod` | FROD | training takes a basis |",
        "**tone** has no row of `loha`.",
        "| prompting | – | – | −0.10 | 0.00 | 0.50 |",
        "](zoo/tone-curves.svg)",
    ] {
        assert!(doc.contains(part), "{part} is not in\n{doc}");
    }
    let page = &files[Path::new("www/zoo.html")];
    assert_eq!(page.matches("<svg").count(), 6);
    assert_eq!(page.matches("<desc").count(), 6);
    assert!(page.contains("href=\"./style.css\"") && !page.contains("<script"));
    assert!(!page.contains("NaN") && !doc.contains("NaN"));
    for drawing in files.keys().filter(|path| path.starts_with("docs/zoo")) {
        assert!(!files[drawing].contains("NaN"), "{}", drawing.display());
        assert!(files[drawing].starts_with("<svg"), "{}", drawing.display());
    }
    assert_eq!(rendered(&small(), None), rendered(&small(), None));
    assert!(!rendered(&small(), None)[Path::new("docs/zoo.md")].contains("What surprised"));
}

#[test]
fn the_playground_is_told_of_every_row_and_method() {
    let files = rendered(&small(), None);
    let text = &files[Path::new("www/adapters/zoo.json")];
    let list: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(list["model"], "Tiny");
    let frod = &list["methods"][5];
    assert_eq!(
        [&frod["name"], &frod["family"], &frod["trainsNot"]],
        ["frod", "full-rank", "a basis"]
    );
    let rows = list["rows"].as_array().unwrap();
    let of = |folder: &str| rows.iter().find(|row| row["folder"] == folder);
    assert!(of("tone/lora-seed1").is_none(), "no method of its own");
    assert_eq!(
        of("tone/lokr").unwrap()["failed"],
        "its weights | were not finite"
    );
    let expected = serde_json::json!({
        "folder": "tone/lora", "method": "lora", "behaviour": "tone", "parameters": 1000, "trainsReverse": true,
        "law": "linear", "d": [-1.0, 0.0, 1.0], "c": [-1.0, -0.5, 0.0, 0.5, 1.0], "nats": [0.9, 0.3, 0.0, 0.3, null],
        "dose": { "nats": 1.0, "c": [-1.1, 1.2], "d": [-1.0, 0.0, 1.0], "note": null },
    });
    assert_eq!(of("tone/lora"), Some(&expected));
}

/// A folder of its own for a test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("xtask-zoo-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn rows_are_read_from_their_folders() {
    let www = folder("rows");
    let put = |at: &str, text: &str| {
        let folder = www.join("adapters").join(at);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("row.json"), text).unwrap();
    };
    put("tone/lora", &json("tone", "lora", "lora", 1.0, 0.9));
    put(
        "tone/boft",
        r#"{ "behaviour": "tone", "name": "boft", "method": "boft", "failed": "why" }"#,
    );
    fs::create_dir_all(www.join("adapters/tone-lora")).unwrap();
    let names: Vec<String> = rows::read(&www)
        .unwrap()
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names, ["boft", "lora"]);
    for (text, problem) in [
        (json("tone", "other", "lora", 1.0, 0.9), "names the row"),
        (
            r#"{ "behaviour": "tone", "name": "bad", "method": "x" }"#.into(),
            "`measured` or `failed`",
        ),
        (
            r#"{ "behaviour": "tone", "name": "bad", "failed": "why" }"#.into(),
            "no `method`",
        ),
        (
            json("tone", "bad", "x", 1.0, 0.9).replace("ordered_share", "share_ordered"),
            "ordered_share",
        ),
    ] {
        put("tone/bad", &text);
        let failure = rows::read(&www).unwrap_err().to_string();
        assert!(failure.contains(problem), "{failure}");
        assert!(failure.contains("row.json"), "{failure}");
    }
    fs::remove_dir_all(www).unwrap();
}

#[test]
fn a_stale_report_is_named() {
    let root = folder("stale");
    let files = rendered(&small(), None);
    for (path, text) in &files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert!(stale(&root, &files).is_empty());
    fs::write(root.join("docs/zoo.md"), "old").unwrap();
    fs::write(root.join("docs/zoo/gone-curves.svg"), "old").unwrap();
    fs::remove_file(root.join("www/zoo.html")).unwrap();
    let found = stale(&root, &files);
    let expected = ["docs/zoo.md", "www/zoo.html", "docs/zoo/gone-curves.svg"];
    assert_eq!(found, expected.map(PathBuf::from));
    fs::remove_dir_all(root).unwrap();
}
