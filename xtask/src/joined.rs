//! The page's modules as one script: a hundred files of two thousand bytes each travel badly, and compress
//! worse than one. Nothing is renamed. Each module becomes a block, in the order in which a browser would run
//! them, with what it imports at its head and what it exports at its end:
//!
//! ```js
//! let $$0;{const x=1;$$0={x};}
//! let $$1;{const{x:y}=$$0;export_of(y);$$1={};}
//! ```
//!
//! It knows the forms that this page has, and refuses all others, by their file.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::{Failure, Result};
use crate::hashed::quotes::{Kind, Piece, pieces, quoted};
use crate::hashed::{Files, addresses::resolve};

/// The script that the page starts with, whose name the result has.
const ENTRY: &str = "main.js";

/// Joins what [`ENTRY`] imports, and drops the modules that nothing else asks for.
pub fn join(files: &mut Files) -> Result {
    let mut joiner = Joiner::default();
    joiner.add(files, ENTRY)?;
    // What is imported when it is wanted stays by itself, unless it shares a module with the rest: that would
    // be there twice.
    while let Some(shared) = joiner.shared(files)? {
        joiner.add(files, &shared)?;
    }
    let script = joiner.script();
    files.insert(ENTRY.to_owned(), script.into_bytes());
    let wanted = reachable(files)?;
    files.retain(|path, _| !is_module(path) || wanted.contains(path));
    Ok(())
}

/// Whether a file is a script of the page's own.
fn is_module(path: &str) -> bool {
    path.ends_with(".js") && !path.starts_with("pkg/")
}

/// The scripts that the documents ask for, and those that these name.
fn reachable(files: &Files) -> Result<BTreeSet<String>> {
    let mut next: Vec<String> = files
        .keys()
        .filter(|path| path.ends_with(".html") || ["sw.js", "element.js"].contains(&path.as_str()))
        .cloned()
        .collect();
    let mut found = BTreeSet::new();
    while let Some(path) = next.pop() {
        let Some(bytes) = files.get(&path) else {
            continue;
        };
        if !found.insert(path.clone()) {
            continue;
        }
        for quote in quoted(&path, bytes)? {
            next.extend(resolve(&path, &quote.text).filter(|target| is_module(target)));
        }
    }
    Ok(found)
}

/// Modules in the order in which they run.
#[derive(Default)]
struct Joiner {
    modules: Vec<Module>,
    places: BTreeMap<String, usize>,
}

/// A module, taken apart.
struct Module {
    /// What it imports: the module's path, and names there and here.
    imports: Vec<(String, Vec<(String, String)>)>,
    /// Names here and outside.
    exports: Vec<(String, String)>,
    /// Paths of what it imports when it is wanted.
    lazy: Vec<String>,
    /// Its text without the statements above.
    text: String,
}

impl Joiner {
    /// Adds a module after those that it imports. There are no circles: names with hashes forbid them, too.
    fn add(&mut self, files: &Files, path: &str) -> Result {
        if self.places.contains_key(path) {
            return Ok(());
        }
        let module = Module::read(files, path)?;
        // Known before it is there, so that a circle ends.
        self.places.insert(path.to_owned(), usize::MAX);
        for (other, _) in &module.imports {
            if self.places.get(other) == Some(&usize::MAX) {
                return Err(refused(path, "imports what imports it", other));
            }
            self.add(files, other)?;
        }
        self.places.insert(path.to_owned(), self.modules.len());
        self.modules.push(module);
        Ok(())
    }

    /// A module that is imported when it is wanted, is not here, and imports something that is.
    fn shared(&self, files: &Files) -> Result<Option<String>> {
        for path in self.modules.iter().flat_map(|module| &module.lazy) {
            if self.places.contains_key(path) {
                continue;
            }
            let mut next = vec![path.clone()];
            let mut seen = BTreeSet::new();
            while let Some(other) = next.pop() {
                if !seen.insert(other.clone()) {
                    continue;
                }
                if self.places.contains_key(&other) {
                    return Ok(Some(path.clone()));
                }
                let module = Module::read(files, &other)?;
                next.extend(module.imports.into_iter().map(|(path, _)| path));
            }
        }
        Ok(None)
    }

    fn script(&self) -> String {
        let mut script = String::new();
        for (place, module) in self.modules.iter().enumerate() {
            script += &format!("let $${place};{{");
            for (path, names) in &module.imports {
                let other = self.places[path];
                let names: Vec<String> = names
                    .iter()
                    .map(|(there, here)| pair(there, here))
                    .collect();
                if !names.is_empty() {
                    script += &format!("const{{{}}}=$${other};", names.join(","));
                }
            }
            let mut text = module.text.clone();
            for path in &module.lazy {
                if let Some(other) = self.places.get(path) {
                    let (from, to) = (lazily(path), format!("Promise.resolve($${other})"));
                    text = text.replace(&from, &to);
                }
            }
            script += &text;
            let exports: Vec<String> = module
                .exports
                .iter()
                .map(|(here, outside)| pair(outside, here))
                .collect();
            script += &format!("\n$${place}={{{}}};}}\n", exports.join(","));
        }
        script
    }
}

/// `a` or `a:b`, as objects are written and taken apart.
fn pair(key: &str, value: &str) -> String {
    if key == value {
        key.to_owned()
    } else {
        format!("{key}:{value}")
    }
}

/// How a module that is imported when it is wanted stands in a joined text.
fn lazily(path: &str) -> String {
    format!("import(\"./{path}\")")
}

fn refused(path: &str, what: &str, found: &str) -> Failure {
    Failure::new(
        format!("{path} {what}: {found}"),
        "write it as the other modules do, or teach xtask/src/joined.rs",
    )
}

impl Module {
    fn read(files: &Files, path: &str) -> Result<Self> {
        let bytes = files
            .get(path)
            .ok_or_else(|| refused(path, "is imported and is not there", ""))?;
        let text = String::from_utf8_lossy(bytes);
        let all = pieces(&text).map_err(|line| {
            refused(path, "cannot be read", &format!("line {line} does not end"))
        })?;
        let mut reader = Reader {
            path,
            text: &text,
            pieces: all
                .into_iter()
                .filter(|piece| !matches!(piece.kind, Kind::Comment | Kind::Space))
                .collect(),
            at: 0,
            edits: Vec::new(),
        };
        let mut module = Self {
            imports: Vec::new(),
            exports: Vec::new(),
            lazy: Vec::new(),
            text: String::new(),
        };
        while reader.at < reader.pieces.len() {
            reader.statement(&mut module)?;
        }
        if text.contains("$$") {
            return Err(refused(path, "has a name that is kept for modules", "$$"));
        }
        module.text = reader.edited();
        Ok(module)
    }
}

/// Reads the pieces of a module, without comments and spaces.
struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    pieces: Vec<Piece>,
    at: usize,
    /// What stands in place of what, in order.
    edits: Vec<(usize, usize, String)>,
}

impl Reader<'_> {
    /// The text of the piece so far from the one that is looked at; "" beyond the ends.
    fn peek(&self, by: isize) -> &str {
        let piece = self.at.checked_add_signed(by);
        piece
            .and_then(|at| self.pieces.get(at))
            .map_or("", |piece| &self.text[piece.at..piece.end])
    }

    /// Looks at a piece: what imports and exports goes into `module`, and addresses follow to the root.
    fn statement(&mut self, module: &mut Module) -> Result {
        let word = self.peek(0);
        let named = self.peek(-1) == "." || self.peek(1) == ":";
        match (word, self.peek(1)) {
            ("import", "(") if !named => self.lazy(module),
            ("import", ".") if !named => self.meta(),
            ("import", _) if !named && self.is_word() => self.import(module),
            ("export", _) if !named && self.is_word() => self.export(module),
            _ => {
                self.at += 1;
                Ok(())
            }
        }
    }

    fn is_word(&self) -> bool {
        self.pieces[self.at].kind == Kind::Word
    }

    /// `import("./a.js")`.
    fn lazy(&mut self, module: &mut Module) -> Result {
        let target = unquoted(self.peek(2)).and_then(|address| resolve(self.path, address));
        let (Some(target), ")") = (target, self.peek(3)) else {
            return Err(self.refuse("imports by a name that is not written out"));
        };
        let from = self.pieces[self.at].at;
        self.at += 4;
        self.edit(from, lazily(&target));
        module.lazy.push(target);
        Ok(())
    }

    /// `new URL("./a", import.meta.url)`: the address is the module's, and becomes the root's.
    fn meta(&mut self) -> Result {
        let from_root = !self.path.contains('/');
        let is_url = self.peek(-4) == "URL" && self.peek(-3) == "(" && self.peek(-1) == ",";
        let target = unquoted(self.peek(-2)).and_then(|address| resolve(self.path, address));
        if !from_root {
            let (true, Some(target)) = (is_url, target) else {
                return Err(self
                    .refuse("asks for its own address, but for new URL(\"…\", import.meta.url)"));
            };
            let address = self.pieces[self.at - 2];
            self.edits
                .push((address.at, address.end, format!("\"./{target}\"")));
        }
        self.at += 1;
        Ok(())
    }

    /// `import { a, b as c } from "./a.js";`, or `import "./a.js";`.
    fn import(&mut self, module: &mut Module) -> Result {
        let from = self.pieces[self.at].at;
        self.at += 1;
        let mut names = Vec::new();
        if self.peek(0) == "{" {
            names = self.names()?;
            if self.peek(0) != "from" {
                return Err(self.refuse("imports in a way that is not known"));
            }
            self.at += 1;
        }
        let target = unquoted(self.peek(0)).and_then(|address| resolve(self.path, address));
        let Some(target) = target.filter(|target| is_module(target)) else {
            return Err(self.refuse("imports in a way that is not known"));
        };
        self.at += 1;
        self.end_of_statement();
        self.edit(from, String::new());
        module.imports.push((target, names));
        Ok(())
    }

    /// `export const a`, `export function a`, `export class a`, `export async function a`, `export { a, b as c };`,
    /// `export const [a, b]`.
    fn export(&mut self, module: &mut Module) -> Result {
        let from = self.pieces[self.at].at;
        self.at += 1;
        if self.peek(0) == "{" {
            let names = self.names()?;
            if self.peek(0) == "from" {
                return Err(self.refuse("exports in a way that is not known"));
            }
            self.end_of_statement();
            self.edit(from, String::new());
            module.exports.extend(names);
            return Ok(());
        }
        let begins = self.pieces[self.at].at;
        let mut by = 1;
        let known = match self.peek(0) {
            "const" | "class" | "function" => true,
            "async" => {
                by += 1;
                self.peek(1) == "function"
            }
            _ => false,
        };
        if self.peek(by) == "*" {
            by += 1;
        }
        let mut found = vec![self.peek(by).to_owned()];
        // `const [A, B] = …`
        if found[0] == "[" {
            found.clear();
            while self.peek(by) != "]" && by < 100 {
                found.push(self.peek(by + 1).to_owned());
                by += 2;
            }
        }
        if !known || found.is_empty() || !found.iter().all(|name| is_name(name)) {
            return Err(self.refuse("exports in a way that is not known"));
        }
        self.edits.push((from, begins, String::new()));
        let pairs = found.into_iter().map(|name| (name.clone(), name));
        module.exports.extend(pairs);
        Ok(())
    }

    /// `{ a, b as c }`, as pairs.
    fn names(&mut self) -> Result<Vec<(String, String)>> {
        let mut names = Vec::new();
        self.at += 1;
        while self.peek(0) != "}" {
            let name = self.peek(0).to_owned();
            if name.is_empty() || !self.is_word() {
                return Err(self.refuse("lists names in a way that is not known"));
            }
            self.at += 1;
            let other = if self.peek(0) == "as" {
                self.at += 2;
                self.peek(-1).to_owned()
            } else {
                name.clone()
            };
            names.push((name, other));
            if self.peek(0) == "," {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(names)
    }

    fn end_of_statement(&mut self) {
        if self.peek(0) == ";" {
            self.at += 1;
        }
    }

    /// Puts `words` in place of everything from there to the piece before the one that is looked at.
    fn edit(&mut self, from: usize, words: String) {
        let end = self.pieces[self.at - 1].end;
        self.edits.push((from, end, words));
    }

    fn edited(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut at = 0;
        for (from, to, words) in &self.edits {
            text += &self.text[at..*from];
            text += words;
            at = *to;
        }
        text += &self.text[at..];
        text.trim().to_owned()
    }

    fn refuse(&self, what: &str) -> Failure {
        let found: Vec<&str> = (-3..5).map(|by| self.peek(by)).collect();
        refused(self.path, what, found.join(" ").trim())
    }
}

fn is_name(text: &str) -> bool {
    let all = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    !text.is_empty() && text.chars().all(all)
}

/// What stands between quotes.
fn unquoted(text: &str) -> Option<&str> {
    let marked = text.starts_with(['"', '\'']) && text.len() > 1;
    marked.then(|| &text[1..text.len() - 1])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{dist, slim};

    fn site(files: &[(&str, &str)]) -> Files {
        let file = |(path, text): &(&str, &str)| ((*path).to_owned(), text.as_bytes().to_vec());
        files.iter().map(file).collect()
    }

    fn joined(files: &[(&str, &str)]) -> Result<(String, Vec<String>)> {
        let mut files = site(files);
        join(&mut files)?;
        let script = String::from_utf8(files["main.js"].clone()).unwrap();
        Ok((script, files.into_keys().collect()))
    }

    const PAGE: (&str, &str) = ("index.html", "<script src=\"./main.js\"></script>");

    #[test]
    fn modules_run_in_order_with_their_names() {
        let (script, paths) = joined(&[
            PAGE,
            ("main.js", "import { say as tell, b } from \"./a/say.js\";\nimport \"./a/b.js\";\nexport const x = tell(b);"),
            ("a/say.js", "import { b } from './b.js'; const own = 1; export { own as say, b }; export const [p, q] = [];"),
            ("a/b.js", "// import\nexport async function b() { return { import: 1 }.import; }\nexport class C {}"),
            ("a/alone.js", ""),
        ])
        .unwrap();
        assert_eq!(
            script,
            "let $$0;{// import\nasync function b() { return { import: 1 }.import; }\nclass C {}\n$$0={b,C};}\n\
             let $$1;{const{b}=$$0;const own = 1;  const [p, q] = [];\n$$1={say:own,b,p,q};}\n\
             let $$2;{const{say:tell,b}=$$1;const x = tell(b);\n$$2={x};}\n"
        );
        assert_eq!(paths, ["index.html", "main.js"]);
    }

    #[test]
    fn addresses_follow_to_the_root_and_workers_stay() {
        let (script, paths) = joined(&[
            PAGE,
            ("main.js", "import { w } from \"./engine/client.js\"; new URL(\"./data/\", import.meta.url);"),
            ("engine/client.js", "export const w = [new URL(\"./worker.js\", import.meta.url), new URL('../models/a.gguf', import.meta.url)];"),
            ("engine/worker.js", "import \"./errors.js\";"),
            ("engine/errors.js", ""),
        ])
        .unwrap();
        assert!(script.contains("new URL(\"./engine/worker.js\", import.meta.url), new URL(\"./models/a.gguf\", import.meta.url)"), "{script}");
        assert!(
            script.contains("new URL(\"./data/\", import.meta.url)"),
            "{script}"
        );
        assert_eq!(
            paths,
            [
                "engine/errors.js",
                "engine/worker.js",
                "index.html",
                "main.js"
            ]
        );
    }

    #[test]
    fn what_is_wanted_later_comes_later_unless_it_would_be_there_twice() {
        let (script, paths) = joined(&[
            PAGE,
            (
                "main.js",
                "import { a } from \"./a.js\"; import(\"./words/de.js\"); import(\"./panel.js\");",
            ),
            ("a.js", "export const a = 1;"),
            (
                "panel.js",
                "import { a } from \"./a.js\"; export const p = a;",
            ),
            (
                "words/de.js",
                "import { more } from \"./more.js\"; export const DE = more;",
            ),
            ("words/more.js", "export const more = 1;"),
        ])
        .unwrap();
        assert!(
            script.contains("import(\"./words/de.js\"); Promise.resolve($$2)"),
            "{script}"
        );
        assert_eq!(
            paths,
            ["index.html", "main.js", "words/de.js", "words/more.js"]
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_file() {
        for (text, what) in [
            (
                "export default 1;",
                "a/x.js exports in a way that is not known",
            ),
            (
                "export let a = 1;",
                "a/x.js exports in a way that is not known",
            ),
            (
                "export * from \"./y.js\";",
                "a/x.js exports in a way that is not known",
            ),
            (
                "import y from \"./y.js\";",
                "a/x.js imports in a way that is not known",
            ),
            (
                "import { y } from \"elsewhere\";",
                "a/x.js imports in a way that is not known",
            ),
            (
                "const here = import.meta.url;",
                "a/x.js asks for its own address",
            ),
            ("import(name);", "a/x.js imports by a name"),
            ("import \"../main.js\";", "a/x.js imports what imports it"),
            ("const $$0 = 1;", "a/x.js has a name that is kept"),
        ] {
            let failure = joined(&[
                PAGE,
                ("main.js", "import \"./a/x.js\";"),
                ("a/x.js", text),
                ("a/y.js", ""),
            ])
            .unwrap_err();
            assert!(failure.to_string().contains(what), "{text}: {failure}");
        }
    }

    #[test]
    fn the_page_joins() {
        let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("../www");
        let mut files = dist::page(&www).unwrap();
        let before = files.len();
        slim::slim(&mut files);
        join(&mut files).unwrap();
        assert!(files.len() + 60 < before, "{} of {before}", files.len());
        for path in [
            "engine/worker.js",
            "words/de.js",
            "words/de/page.js",
            "sw.js",
            "element.js",
        ] {
            assert!(files.contains_key(path), "{path}");
        }
        assert!(!files.contains_key("say.js"));
    }
}
