//! Names that change with what the files hold, so that a browser may keep each for ever.
//!
//! `engine/worker.js` becomes `engine/worker.<hash>.js`, and whatever refers to it is rewritten. What
//! counts as a reference, in scripts, pages, style sheets and web manifests:
//!
//! - a quoted relative address, such as "./dom.js" or "../pkg/steering_playground.js", that names a file;
//! - one that begins with a dot, ends in a slash and names a folder, such as "./adapters/": what it
//!   is completed with is known at run time only, so the folder gets the hash, of all that it
//!   holds, and the names in it stay.

pub mod addresses;
pub mod quotes;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::failure::{Failure, Result};
use crate::guide;
use addresses::{depth, resolve, walk, with_hash};
use quotes::quoted;

/// The files of a site by their paths from its root, with slashes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How many hexadecimal digits of a hash a name has.
const DIGITS: usize = 10;

/// What keeps its name: the pages, the guide's among them, the service worker and the element for pages of
/// others are known by theirs, a model is kept in the browser under its own, and the list of models is for
/// whoever puts copies beside the page.
fn stays(path: &str) -> bool {
    let named = [
        "element.js",
        "index.html",
        "zoo.html",
        "sw.js",
        "models.json",
    ];
    named.contains(&path) || path.starts_with("models/") || path.starts_with(guide::FOLDER)
}

/// Whether a path or an address has a hash in one of its names.
pub fn is_hashed(path: &str) -> bool {
    path.split('/').any(|name| {
        let is_hash = |part: &str| {
            part.len() == DIGITS
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        name.split('.').skip(1).any(is_hash)
    })
}

/// Gives every file its hashed name, but for what [`stays`], and rewrites the references. Returns
/// the new path and content of each by its old path. The page also gets a link to preload each
/// module that it imports, since a browser finds those of the next level only in those of the one
/// before.
pub fn rename(files: &Files) -> Result<BTreeMap<String, (String, Vec<u8>)>> {
    let site = Site::read(files)?;
    let mut done = BTreeMap::new();
    for unit in &site.units {
        site.finish(unit, &mut Vec::new(), &mut done)?;
    }
    let mut renamed = BTreeMap::new();
    for (path, bytes) in files {
        let mut bytes = site.rewritten(path, bytes, &done);
        if path == "index.html" {
            site.add_preloads(path, &mut bytes, &done);
        }
        renamed.insert(path.clone(), (site.new_path(path, &done), bytes));
    }
    Ok(renamed)
}

/// A reference in a file.
struct Reference {
    /// Where its address stands in the file, without the quotes.
    at: usize,
    address: String,
    /// The path of what it names.
    target: String,
    /// Whether a module imports it before it runs.
    import: bool,
}

/// Files and what they refer to. A unit is what gets one hash: a file, or a folder.
struct Site<'a> {
    files: &'a Files,
    units: BTreeSet<String>,
    references: BTreeMap<&'a str, Vec<Reference>>,
}

impl<'a> Site<'a> {
    fn read(files: &'a Files) -> Result<Self> {
        let mut references = BTreeMap::new();
        for (path, bytes) in files {
            let found = quoted(path, bytes)?
                .into_iter()
                .filter_map(|quote| {
                    let target = resolve(path, &quote.text)?;
                    let folder = quote.text.starts_with('.') && target.ends_with('/');
                    let is_there = if folder {
                        files.keys().any(|path| path.starts_with(&target))
                    } else {
                        files.contains_key(&target)
                    };
                    (is_there && !stays(&target)).then_some(Reference {
                        at: quote.at,
                        address: quote.text,
                        target,
                        import: quote.import,
                    })
                })
                .collect::<Vec<_>>();
            references.insert(path.as_str(), found);
        }
        let folders: BTreeSet<String> = references
            .values()
            .flatten()
            .map(|reference| reference.target.clone())
            .filter(|target| target.ends_with('/'))
            .collect();
        let mut site = Self {
            files,
            units: folders,
            references,
        };
        let units = files.keys().map(|path| site.unit(path)).collect();
        site.units = units;
        Ok(site)
    }

    /// What a file or folder gets its hash with: the outermost folder that holds it and has one, or
    /// itself.
    fn unit(&self, path: &str) -> String {
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..=at]);
        let folder = folders.find(|folder| self.units.contains(*folder));
        folder.unwrap_or(path).to_owned()
    }

    /// The files of a unit.
    fn members(&self, unit: &str) -> impl Iterator<Item = (&'a String, &'a Vec<u8>)> {
        let unit = unit.to_owned();
        self.files.iter().filter(move |(path, _)| {
            **path == unit || unit.ends_with('/') && path.starts_with(&unit)
        })
    }

    /// Finds the hashed name of a unit, after those of all that it refers to. `above` are the units
    /// that wait for it.
    fn finish(
        &self,
        unit: &str,
        above: &mut Vec<String>,
        done: &mut BTreeMap<String, String>,
    ) -> Result {
        if stays(unit) || done.contains_key(unit) {
            return Ok(());
        }
        let circle = above.iter().position(|other| other == unit);
        above.push(unit.to_owned());
        if let Some(start) = circle {
            return Err(Failure::new(
                format!(
                    "files refer to each other in a circle: {}",
                    above[start..].join(" -> ")
                ),
                "a name with a hash of the content needs an order: move what both need into a file of its own",
            ));
        }
        for (path, _) in self.members(unit) {
            for reference in &self.references[path.as_str()] {
                let other = self.unit(&reference.target);
                if other != unit {
                    self.finish(&other, above, done)?;
                }
            }
        }
        above.pop();
        let mut hasher = Sha256::new();
        for (path, bytes) in self.members(unit) {
            let bytes = self.rewritten(path, bytes, done);
            if unit.ends_with('/') {
                hasher.update(format!("{path}\0{}\0", bytes.len()));
            }
            hasher.update(bytes);
        }
        let hash = &format!("{:x}", hasher.finalize())[..DIGITS];
        done.insert(unit.to_owned(), hash.to_owned());
        Ok(())
    }

    /// The content of a file with its references rewritten to what is in `done`.
    fn rewritten(&self, path: &str, bytes: &[u8], done: &BTreeMap<String, String>) -> Vec<u8> {
        let mut text = bytes.to_vec();
        // From the end on, so that the places before stay where they are.
        for reference in self.references[path].iter().rev() {
            let unit = self.unit(&reference.target);
            let Some(hash) = done.get(&unit) else {
                continue;
            };
            // The segment of the address that says the unit's own name; there is none in what
            // refers from inside a folder to something in it.
            let names = walk(path, &reference.address).unwrap_or_default();
            let Some((_, Some(segment))) = names.get(depth(&unit)) else {
                continue;
            };
            let address = with_hash(&reference.address, *segment, hash, &unit);
            let end = reference.at + reference.address.len();
            text.splice(reference.at..end, address.into_bytes());
        }
        text
    }

    fn new_path(&self, path: &str, done: &BTreeMap<String, String>) -> String {
        let unit = self.unit(path);
        match done.get(&unit) {
            Some(hash) => with_hash(path, depth(&unit), hash, &unit),
            None => path.to_owned(),
        }
    }

    /// Adds a link to preload each module at the end of the head of `page`, unless it has one.
    fn add_preloads(&self, page: &str, bytes: &mut Vec<u8>, done: &BTreeMap<String, String>) {
        let named: Vec<&String> = self.references[page]
            .iter()
            .map(|reference| &reference.target)
            .collect();
        let mut links = String::new();
        for module in self.modules(page).iter().filter(|m| !named.contains(m)) {
            let address = self.new_path(module, done);
            links += &format!("  <link rel=\"modulepreload\" href=\"./{address}\">\n");
        }
        let end = b"</head>";
        if let Some(at) = bytes.windows(end.len()).position(|window| window == end) {
            bytes.splice(at..at, links.into_bytes());
        }
    }

    /// The modules that `page` loads, and those that they import, in the order in which a browser
    /// would find them.
    fn modules(&self, page: &str) -> Vec<String> {
        let scripts = |path: &str, all: bool| {
            let references = self.references.get(path).into_iter().flatten();
            references
                .filter(move |reference| all || reference.import)
                .map(|reference| reference.target.clone())
                .filter(|target| target.ends_with(".js"))
                .collect::<Vec<_>>()
        };
        let mut found = scripts(page, true);
        let mut next = 0;
        while let Some(module) = found.get(next) {
            found.extend(scripts(module, false));
            let mut seen = BTreeSet::new();
            found.retain(|module| seen.insert(module.clone()));
            next += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::bundle::NAME;

    fn site(files: &[(&str, &str)]) -> Files {
        let file = |(path, text): &(&str, &str)| ((*path).to_owned(), text.as_bytes().to_vec());
        files.iter().map(file).collect()
    }

    /// A renamed site: new paths by the old ones, and texts by the old paths.
    struct Renamed(BTreeMap<String, (String, Vec<u8>)>);

    impl Renamed {
        fn of(files: &[(&str, &str)]) -> Self {
            Self(rename(&site(files)).unwrap())
        }

        fn path(&self, old: &str) -> &str {
            &self.0[old].0
        }

        fn text(&self, old: &str) -> &str {
            std::str::from_utf8(&self.0[old].1).unwrap()
        }

        /// The file name of the new path.
        fn name(&self, old: &str) -> &str {
            self.path(old).rsplit('/').next().unwrap()
        }
    }

    #[test]
    fn quoted_relative_addresses_that_name_files_are_references() {
        let renamed = Renamed::of(&[
            (
                "index.html",
                "<link href=\"./style.css\"><script src='./main.js'></script><p>It's",
            ),
            ("style.css", "p { background: url(\"./pic.svg\") }"),
            (
                "app.webmanifest",
                "{\"start_url\": \".\", \"icons\": [\"pic.svg\"]}",
            ),
            ("pic.svg", "<svg/>"),
            (
                "main.js",
                "import \"./sub/one.js\";\nconst other = \"./absent.js\", same = './sub/../pic.svg', up = \"../pic.svg\", root = \"/pic.svg\";",
            ),
            (
                "sub/one.js",
                "new URL('one.wasm', import.meta.url); new URL(\"../pic.svg\", base)",
            ),
            ("sub/one.wasm", "\0asm"),
            ("sub/notes.json", "\"./one.js\""),
        ]);
        let [pic, one, wasm] =
            ["pic.svg", "sub/one.js", "sub/one.wasm"].map(|old| renamed.name(old));
        assert_eq!(
            renamed.text("index.html"),
            format!(
                "<link href=\"./{}\"><script src='./{}'></script><p>It's",
                renamed.name("style.css"),
                renamed.name("main.js")
            )
        );
        assert_eq!(
            renamed.text("style.css"),
            format!("p {{ background: url(\"./{pic}\") }}")
        );
        assert_eq!(
            renamed.text("app.webmanifest"),
            format!("{{\"start_url\": \".\", \"icons\": [\"{pic}\"]}}")
        );
        assert_eq!(
            renamed.text("main.js"),
            format!(
                "import \"./sub/{one}\";\nconst other = \"./absent.js\", same = './sub/../{pic}', up = \"../pic.svg\", root = \"/pic.svg\";"
            )
        );
        assert_eq!(
            renamed.text("sub/one.js"),
            format!("new URL('{wasm}', import.meta.url); new URL(\"../{pic}\", base)")
        );
        assert_eq!(
            renamed.text("sub/notes.json"),
            "\"./one.js\"",
            "data is data"
        );
    }

    #[test]
    fn names_have_ten_digits_of_the_hash_before_their_extension() {
        let renamed = Renamed::of(&[("sub/a.min.js", "1"), ("LICENSE", "text")]);
        let hash = format!("{:x}", Sha256::digest("1"));
        assert_eq!(
            renamed.path("sub/a.min.js"),
            format!("sub/a.min.{}.js", &hash[..10])
        );
        assert!(
            is_hashed(renamed.path("LICENSE")),
            "{}",
            renamed.path("LICENSE")
        );
        for (path, expected) in [
            ("a.0123456789.js", true),
            ("adapters.0123456789/index.json", true),
            ("a.012345678.js", false),
            ("a.01234567890.js", false),
            ("0123456789.js", false),
            ("a.012345678g.js", false),
            ("a.012345678A.js", false),
            ("snippets/a-8bcf2bfbc564d5be/shim.js", false),
        ] {
            assert_eq!(is_hashed(path), expected, "{path}");
        }
    }

    #[test]
    fn the_page_the_worker_and_models_keep_their_names() {
        let renamed = Renamed::of(&[
            ("index.html", "\"./main.js\""),
            (
                "sw.js",
                "const page = \"./index.html\", script = \"./main.js\";",
            ),
            (
                "main.js",
                "[\"./sw.js\", \"./index.html\", \"./models/a.gguf\", \"./models/\"]",
            ),
            ("models/a.gguf", "GGUF"),
        ]);
        for path in ["index.html", "sw.js", "models/a.gguf"] {
            assert_eq!(renamed.path(path), path);
        }
        assert_eq!(
            renamed.text("main.js"),
            "[\"./sw.js\", \"./index.html\", \"./models/a.gguf\", \"./models/\"]"
        );
        let main = renamed.name("main.js");
        assert_eq!(
            renamed.text("sw.js"),
            format!("const page = \"./index.html\", script = \"./{main}\";")
        );
    }

    #[test]
    fn a_folder_that_is_named_gets_one_hash_and_keeps_the_names_in_it() {
        let files = [
            (
                "main.js",
                "const at = \"./data/\", one = \"./data/sub/one.json\";",
            ),
            ("data/index.json", "[\"sub\"]"),
            ("data/sub/one.json", "1"),
            (
                "data/read.js",
                "import \"./other.js\"; import \"../dom.js\";",
            ),
            ("data/other.js", ""),
            ("dom.js", ""),
        ];
        let renamed = Renamed::of(&files);
        let folder = renamed
            .path("data/index.json")
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        assert!(
            folder.starts_with("data.") && is_hashed(&folder),
            "{folder}"
        );
        assert_eq!(
            renamed.path("data/sub/one.json"),
            format!("{folder}/sub/one.json")
        );
        assert_eq!(
            renamed.text("main.js"),
            format!("const at = \"./{folder}/\", one = \"./{folder}/sub/one.json\";")
        );
        let dom = renamed.name("dom.js");
        assert_eq!(
            renamed.text("data/read.js"),
            format!("import \"./other.js\"; import \"../{dom}\";")
        );
        let mut changed = files;
        changed[2].1 = "2";
        assert_ne!(
            Renamed::of(&changed).path("data/index.json"),
            renamed.path("data/index.json")
        );
        // Words, and the site itself, are no folders.
        let renamed = Renamed::of(&[("main.js", "[\"data/\", \"./\", \"../\"]"), ("data/a", "")]);
        assert_eq!(renamed.text("main.js"), "[\"data/\", \"./\", \"../\"]");
    }

    #[test]
    fn a_circle_names_its_files() {
        let circle = [
            ("index.html", "\"./a.js\""),
            ("a.js", "import \"./b.js\";"),
            ("b.js", "import \"./c.js\";"),
            ("c.js", "import \"./b.js\";"),
        ];
        let message = rename(&site(&circle)).unwrap_err().to_string();
        assert!(message.contains("b.js -> c.js -> b.js"), "{message}");
        // The page and the service worker have no hash that would have to come first.
        rename(&site(&[
            ("index.html", "\"./a.js\""),
            ("a.js", "\"./index.html\""),
        ]))
        .unwrap();
    }

    #[test]
    fn the_page_preloads_what_its_modules_import() {
        let renamed = Renamed::of(&[
            (
                "index.html",
                "<head>\n  <script type=\"module\" src=\"./main.js\"></script>\n</head>",
            ),
            (
                "main.js",
                "import { a } from \"./a.js\";\nexport * from './b.js';\nnew Worker(\"./worker.js\");",
            ),
            ("a.js", "import\"./sub/c.js\";import(\"./late.js\");"),
            ("b.js", "import \"./sub/c.js\";"),
            ("sub/c.js", ""),
            ("late.js", ""),
            ("worker.js", ""),
        ]);
        let links: String = ["a.js", "b.js", "sub/c.js"]
            .map(|old| {
                format!(
                    "  <link rel=\"modulepreload\" href=\"./{}\">\n",
                    renamed.path(old)
                )
            })
            .concat();
        let main = renamed.path("main.js");
        assert_eq!(
            renamed.text("index.html"),
            format!("<head>\n  <script type=\"module\" src=\"./{main}\"></script>\n{links}</head>")
        );
    }

    #[test]
    fn a_change_renames_the_file_and_those_who_name_it_only() {
        let files = [
            ("index.html", "\"./main.js\""),
            ("main.js", "import \"./a.js\"; import \"./b.js\";"),
            ("a.js", "import \"./leaf.js\";"),
            ("b.js", ""),
            ("leaf.js", "1"),
        ];
        let before = Renamed::of(&files);
        let mut changed = files;
        changed[4].1 = "2";
        let after = Renamed::of(&changed);
        let differ: Vec<&str> = files
            .iter()
            .map(|(path, _)| *path)
            .filter(|path| before.path(path) != after.path(path))
            .collect();
        assert_eq!(differ, ["main.js", "a.js", "leaf.js"]);
        assert_ne!(before.text("index.html"), after.text("index.html"));
    }

    /// Whatever the page refers to is found.
    #[test]
    fn the_page_s_own_files_resolve() {
        let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("../www");
        let mut files = crate::dist::page(&www).unwrap();
        files.extend(guide::pages(&www.join("..")).unwrap());
        let module = format!("new URL('{NAME}_bg.wasm', import.meta.url)");
        files.extend(site(&[
            (&format!("pkg/{NAME}.js"), &module),
            (&format!("pkg/{NAME}_bg.wasm"), "\0asm"),
        ]));

        let renamed = rename(&files).unwrap();
        for (path, _) in renamed.values() {
            assert!(is_hashed(path) || stays(path), "{path}");
        }
        let new: Files = renamed.values().cloned().collect();
        assert_eq!(new.len(), files.len());
        let count = |files: &Files, path: &str| {
            let text = String::from_utf8_lossy(&files[path]);
            text.matches("modulepreload").count()
        };
        let preloads = count(&new, "index.html") - count(&files, "index.html");
        assert!(preloads > 15, "{preloads} modules");

        // As many references as before, to what is there, and nothing else that looks like one.
        let [old_site, new_site] = [&files, &new].map(|files| Site::read(files).unwrap());
        for (path, (new_path, bytes)) in &renamed {
            let found = &new_site.references[new_path.as_str()];
            let more = if path == "index.html" { preloads } else { 0 };
            let before = old_site.references[path.as_str()].len();
            assert_eq!(found.len(), before + more, "{path}");
            for reference in found {
                assert!(
                    is_hashed(&reference.target),
                    "{path}: {}",
                    reference.address
                );
            }
            for quote in quoted(new_path, bytes).unwrap() {
                let address = quote.text;
                let target = resolve(new_path, &address).unwrap_or_default();
                let plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
                if address.starts_with('.')
                    && address.contains('/')
                    && address.chars().all(plain)
                    && !target.is_empty()
                {
                    let there = found.iter().any(|reference| reference.address == address);
                    assert!(there || stays(&target), "{path}: {address}");
                }
            }
        }
    }
}
