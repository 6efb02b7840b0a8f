//! The house's own rules, checked on the source.

use std::fs;
use std::path::{Path, PathBuf};

use steering_playground::checkpoint::Family;
use steering_playground::methods::{METHODS, method_table};

use crate::gpu::{FUSED, LAUNCHES, OVER_TENSORS};

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
        let code = lines.lines().take_while(|line| *line != "#[cfg(test)]");
        assert!(
            code.count() <= 260,
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
            ("Hypothesis", &card.hypothesis),
            ("Intuition", &card.intuition),
            ("Limits", &card.limits),
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

/// `UPDATE=1 cargo test` writes the tables.
#[test]
fn the_readme_tables_are_the_code() {
    table_is("README.md", "kinds", &kind_table());
    table_is("README.md", "families", &family_table());
    // Links of a document begin in its own folder.
    let methods = method_table().replace("](src/", "](../src/");
    table_is("docs/methods.md", "methods", &methods);
}

/// Compares what stands between two marks in a document, or writes it.
fn table_is(document: &str, mark: &str, expected: &str) {
    let path = root().join(document);
    let text = fs::read_to_string(&path).expect("the document");
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&start).expect("start of the table");
    let (table, after) = rest.split_once(&end).expect("end of the table");
    if std::env::var_os("UPDATE").is_some() {
        let text = format!("{before}{start}{expected}{end}{after}");
        fs::write(path, text).expect("a writable document");
        return;
    }
    assert_eq!(
        table, expected,
        "run `UPDATE=1 cargo test --release the_readme_tables`"
    );
}

/// The methods by what they do to a layer: one row for each such family, with the names of its methods.
fn kind_table() -> String {
    let mut table = String::from("| family | what it does | methods |\n|---|---|---|\n");
    let mut named = 0;
    for (family, name, what) in [
        (
            Family::LowRank,
            "low-rank",
            "adds a low-rank matrix to the weight",
        ),
        (
            Family::FullRank,
            "full-rank",
            "adds a whole matrix, written in few numbers, to the weight",
        ),
        (
            Family::Scale,
            "scale",
            "multiplies activations number by number",
        ),
        (Family::Rotate, "rotate", "turns activations"),
        (
            Family::Prompt,
            "prompt",
            "gives the model extra keys and values, or trained tokens",
        ),
        (
            Family::Vector,
            "vector",
            "adds a direction to the residual stream or to a layer's output",
        ),
    ] {
        let cards = METHODS.iter().map(|method| method.card());
        let titles: Vec<&str> = cards
            .filter(|card| card.family == family)
            .map(|card| card.title)
            .collect();
        named += titles.len();
        table += &format!("| {name} | {what} | {} |\n", titles.join(", "));
    }
    assert_eq!(named, METHODS.len(), "a family has no row");
    table
}

/// One row per family of models, from the files of `src/arch`: the first sentence of the head, the names by
/// which files say what they are, and the launches that the GPU test counts.
fn family_table() -> String {
    let folder = root().join("src/arch");
    let list = fs::read_to_string(folder.join("mod.rs")).expect("src/arch/mod.rs");
    let mut table = String::from(
        "| family | `model_type` | `general.architecture` | launches per block and token on a GPU (in software) | \
         file |\n|---|---|---|---|---|\n",
    );
    let listed = list.lines().filter_map(|line| {
        let name = line.trim().strip_prefix('&')?;
        name.strip_suffix("::FAMILY,")
    });
    for name in listed {
        let source =
            fs::read_to_string(folder.join(format!("{name}.rs"))).expect("a family's file");
        let head = source.lines().next().unwrap_or_default();
        let title = head.trim_start_matches("//! ");
        let title = title.split([':', ',']).next().unwrap_or_default();
        let title = title.split(". ").next().unwrap_or_default();
        let quoted = |field: &str| {
            let (_, rest) = source.split_once(field).expect("a family says it");
            let rest = rest.split([']', '\n']).next().unwrap_or_default();
            let names = rest.split('"').skip(1).step_by(2);
            names
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let own = |model: &&(&str, u64)| {
            let rest = model.0.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        let (_, software) = LAUNCHES.iter().find(own).expect("a model of the family");
        let launches = match *software {
            OVER_TENSORS => software.to_string(),
            software => format!("{} ({software})", software - FUSED),
        };
        table += &format!(
            "| {title} | {} | {} | {launches} | [`{name}.rs`](src/arch/{name}.rs) |\n",
            quoted("model_types: &["),
            quoted("gguf: "),
        );
    }
    table
}

/// Each line of `docs/security.md` is one sentence with the tests that prove it, `` `file` “name” ``: they
/// are there.
#[test]
fn the_tests_that_the_security_document_names_are_there() {
    let document = fs::read_to_string(root().join("docs/security.md")).expect("docs/security.md");
    let is_row = |line: &&str| !["| | what | proved by |", "|---|---|---|"].contains(line);
    let rows = document.lines().filter(|line| line.starts_with('|'));
    let mut claims = 0;
    for line in rows.filter(is_row) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [can, what, proof] = cells[..] else {
            panic!("{line}: three cells are expected");
        };
        assert!(
            ["can", "cannot"].contains(&can) && what.ends_with('.'),
            "{line}: a sentence is expected that says what can be or cannot"
        );
        for named in proof.split(" · ") {
            let found = named.strip_prefix('`').and_then(|rest| {
                let (file, rest) = rest.split_once("` “")?;
                Some((file, rest.strip_suffix('”')?))
            });
            let Some((file, name)) = found else {
                panic!("{line}: `file` “name” is expected, found {named}");
            };
            let text = fs::read_to_string(root().join(file))
                .unwrap_or_else(|error| panic!("{line}: {file}: {error}"));
            let sign = if file.ends_with(".rs") {
                format!("fn {name}() {{")
            } else {
                format!("test(\"{name}\"")
            };
            assert!(text.contains(&sign), "{line}: {file} has no test “{name}”");
        }
        claims += 1;
    }
    assert!(claims > 50, "{claims} lines were found");
}

/// What is asked of the Hub is what anybody may have: no secret of the reader's is looked for.
#[test]
fn no_source_reads_a_secret_of_the_reader() {
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).expect("source");
        for name in [
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "Authorization",
            "authorization",
            "Bearer",
        ] {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
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
