//! The house's own rules, checked on the source.

use std::fs;
use std::path::{Path, PathBuf};

use steering_playground::methods::{METHODS, method_table};

/// Cargo runs tests in the package's folder. The folder that the test was built in is no help:
/// clones that share build output would read each other's files.
fn root() -> PathBuf {
    PathBuf::from(".")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

/// Every method's file has the headings that feed its card.
#[test]
fn every_method_explains_itself() {
    for method in METHODS {
        let file = root().join(format!("src/methods/{}.rs", method.name));
        let lines = fs::read_to_string(&file).expect("a file named after the method");
        assert!(
            lines.lines().count() <= 260,
            "{}: too long for one idea",
            method.name
        );
        let card = method.card();
        for (heading, text) in [
            ("title", card.title),
            ("summary", card.summary),
            ("Formula", &card.formula),
            ("Shapes", &card.shapes),
            ("Coefficient", &card.coefficient),
            ("Intuition", &card.intuition),
        ] {
            assert!(!text.is_empty(), "{}: {heading} is empty", method.name);
            assert!(
                !text.contains("TODO"),
                "{}: {heading} is still to be written",
                method.name
            );
        }
        assert!(
            card.paper.starts_with("https://"),
            "{}: paper is {}",
            method.name,
            card.paper
        );
    }
}

/// `UPDATE=1 cargo test` writes the table.
#[test]
fn the_readme_table_is_the_code() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (start, end) = ("<!-- methods -->\n", "<!-- /methods -->");
    let (before, rest) = readme.split_once(start).expect("start of the table");
    let (table, after) = rest.split_once(end).expect("end of the table");
    if std::env::var_os("UPDATE").is_some() {
        let readme = format!("{before}{start}{}{end}{after}", method_table());
        fs::write(path, readme).expect("writable README");
        return;
    }
    assert_eq!(
        table,
        method_table(),
        "run `UPDATE=1 cargo test --release the_readme_table`"
    );
}

/// Pure maths knows nothing of the browser.
#[test]
fn only_web_names_the_browser() {
    for path in sources(&root().join("src")) {
        if path.starts_with(root().join("src/web")) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("source");
        for name in ["wasm_bindgen", "js_sys", "web_sys", "gloo"] {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
}
