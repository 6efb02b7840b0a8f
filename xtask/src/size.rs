//! The module's size: what a visitor downloads, whose code it is, and how much it may be.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::bundle;
use crate::coding::{Coding, Effort};
use crate::failure::{Failure, OrMend, Result};
use crate::process::say;
use crate::workspace::Workspace;

/// The most bytes that the gzipped module may have before `wasm-opt`: a little
/// above what it has. The aim is 3 MB. What prevents it is burn's GPU backend:
/// kernels that are generated at run time need their compiler in the module, and
/// features choose between whole backends, not between kernels (docs/performance.md).
///
/// Raised from 4.60 MB by measuring (readings, statistics, doses, the shipped pairs), by vectors made in more ways,
/// by GPT-2 and GPT-NeoX, and by what a chat template reads; from 4.82 MB by training: gradients and SIMD products
/// of burn (`burn-autodiff`, `burn_flex` and `gemm` in SIMD), the optimiser, and thirteen methods: 5.28 MB. Lowered by
/// building this crate for size, but for `processor`: 4.90 MB. Since then the pairs of three behaviours (15 kB), places
/// on the Hub, eight more methods that train and the gradient over packed weights on a GPU: 5.02 MB. Raised from 5.05 MB by
/// norms in products of few tokens, files that are read ahead and doses of one side.
const BUDGET: usize = 5_080_000;

/// The most bytes that the page itself may have as it travels, without the module, recordings and adapters.
const SHELL_BUDGET: u64 = 150_000;

/// How many crates the report names.
const NAMED: usize = 12;

/// Prints the size of the module in `pkg/` and the crates that make it up;
/// a module above the budget is a failure.
pub fn check(workspace: &Workspace) -> Result {
    let mend = "run `cargo xtask build`";
    let read =
        |path: &Path| fs::read(path).or_mend(format!("{} cannot be read", path.display()), mend);
    let module = read(&bundle::module(workspace))?;
    let gzipped = gzipped(&module);
    let mut line = format!(
        "{} MB, gzipped {} MB of {} MB",
        mega(module.len()),
        mega(gzipped),
        mega(BUDGET)
    );
    if let Some(brotli) = bundle::brotli_bytes(workspace) {
        line += &format!(", with brotli {} MB", mega(brotli));
    }
    say("size", line);
    // wasm-bindgen and wasm-opt leave no names; the compiler's output has them.
    let compiled = bundle::compiled(workspace);
    let parts = by_crate(&read(&compiled)?).ok_or_else(|| {
        Failure::new(
            format!("{} is no WebAssembly module", compiled.display()),
            "delete it and run this again",
        )
    })?;
    say("", "     MB  gzipped  code of (as compiled)");
    for (name, code) in parts.iter().take(NAMED) {
        let line = format!("{:>7}  {:>7}  {name}", mega(code.bytes), mega(code.gzipped));
        say("", line);
    }
    within(gzipped, BUDGET)
}

/// Prints what the page itself has as it travels, by its `files` and their bytes; more than its budget is a
/// failure.
pub fn check_shell(files: &[(&str, u64)]) -> Result {
    let sum: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut largest = files.to_vec();
    largest.sort_by_key(|(path, bytes)| (std::cmp::Reverse(*bytes), *path));
    let named: Vec<String> = largest
        .iter()
        .take(NAMED)
        .map(|(path, bytes)| format!("{path} {bytes}"))
        .collect();
    let line = format!(
        "{sum} bytes of {SHELL_BUDGET} in {} files of the page itself; the largest: {}",
        files.len(),
        named.join(", ")
    );
    if sum <= SHELL_BUDGET {
        say("size", line);
        return Ok(());
    }
    Err(Failure::new(
        line,
        "load what only some need when they need it (`import()`), or take away what is not needed",
    ))
}

/// `bytes` as a number of megabytes.
fn mega(bytes: usize) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

/// A failure if a module of `gzipped` bytes is above `budget`.
fn within(gzipped: usize, budget: usize) -> Result {
    if gzipped <= budget {
        return Ok(());
    }
    Err(Failure::new(
        format!(
            "the module has {gzipped} bytes gzipped, {} above its budget",
            gzipped - budget
        ),
        "the table above names the crates with the most code: see which of them grew, \
         or what is new, and raise BUDGET in xtask/src/size.rs only for what is worth it",
    ))
}

/// How many bytes `bytes` have gzipped at level 9.
fn gzipped(bytes: &[u8]) -> usize {
    Coding::Gzip.compress(bytes, Effort::Best).len()
}

/// What one crate has in the module.
struct Part {
    bytes: usize,
    /// Gzipped by itself: what all functions share with others is not in it.
    gzipped: usize,
}

/// The code of each crate and the data of all, the largest gzipped first;
/// `None` if `module` is not WebAssembly.
fn by_crate(module: &[u8]) -> Option<Vec<(String, Part)>> {
    let mut reader = Reader { module, at: 0 };
    let mut imported = 0;
    let mut bodies: Vec<Range<usize>> = Vec::new();
    let mut names: HashMap<usize, &str> = HashMap::new();
    let mut data = 0..0;
    (reader.bytes(8)?.get(..4)? == b"\0asm").then_some(())?;
    while reader.at < module.len() {
        let kind = reader.byte()?;
        let end = reader.section()?;
        match kind {
            IMPORTS => imported = reader.imported_functions()?,
            CODE => {
                for _ in 0..reader.number()? {
                    let end = reader.section()?;
                    bodies.push(reader.at..end);
                    reader.at = end;
                }
            }
            DATA => data = reader.at..end,
            CUSTOM if reader.name()? == "name" => names = reader.function_names(end)?,
            _ => {}
        }
        reader.at = end;
    }

    let mut code: HashMap<String, Vec<u8>> = HashMap::new();
    for (index, body) in bodies.into_iter().enumerate() {
        let name = names.get(&(imported + index)).copied().unwrap_or_default();
        code.entry(crate_of(name))
            .or_default()
            .extend(&module[body]);
    }
    code.insert("(data of all)".to_owned(), module.get(data)?.to_vec());
    let mut parts: Vec<(String, Part)> = code
        .into_iter()
        .map(|(name, code)| {
            let bytes = code.len();
            let gzipped = gzipped(&code);
            (name, Part { bytes, gzipped })
        })
        .collect();
    parts.sort_by(|(one, a), (other, b)| b.gzipped.cmp(&a.gzipped).then(one.cmp(other)));
    Some(parts)
}

/// The crate of a function, by its mangled name: for `<A as B>::c` that of `A`.
fn crate_of(symbol: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let path = name
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .find(|word| word.contains("::") && !word.starts_with(':'));
    match path.and_then(|path| path.split("::").next()) {
        Some(name) => name.to_owned(),
        None => "(no crate)".to_owned(),
    }
}

// The numbers of WebAssembly's sections.
const CUSTOM: u8 = 0;
const IMPORTS: u8 = 2;
const CODE: u8 = 10;
const DATA: u8 = 11;

/// Reads a module in its binary format; `None` where it is not one.
struct Reader<'a> {
    module: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.module.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// An unsigned number in LEB128.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    /// The end of what begins with its length.
    fn section(&mut self) -> Option<usize> {
        let length = self.number()?;
        let end = self.at.checked_add(length)?;
        (end <= self.module.len()).then_some(end)
    }

    fn name(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// How many functions the section of imports has; they come first in the count.
    fn imported_functions(&mut self) -> Option<usize> {
        let mut functions = 0;
        for _ in 0..self.number()? {
            self.name()?;
            self.name()?;
            // wasm-bindgen's modules make their own memory and tables.
            (self.byte()? == 0).then_some(())?;
            self.number()?;
            functions += 1;
        }
        Some(functions)
    }

    /// The names of the functions by their index, of the section "name".
    fn function_names(&mut self, end: usize) -> Option<HashMap<usize, &'a str>> {
        let mut names = HashMap::new();
        while self.at < end {
            let kind = self.byte()?;
            let next = self.section()?;
            if kind == 1 {
                for _ in 0..self.number()? {
                    names.insert(self.number()?, self.name()?);
                }
            }
            self.at = next;
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of two functions with `names`; the second does more.
    fn module(names: [&str; 2]) -> Vec<u8> {
        let section = |kind: u8, content: Vec<u8>| {
            let mut section = vec![kind, u8::try_from(content.len()).unwrap()];
            section.extend(content);
            section
        };
        let text = |text: &str| {
            let mut bytes = vec![u8::try_from(text.len()).unwrap()];
            bytes.extend(text.as_bytes());
            bytes
        };
        let mut functions = vec![2];
        for (index, name) in (1..).zip(names) {
            functions.push(index);
            functions.extend(text(name));
        }
        let mut named = text("name");
        named.extend(section(1, functions));

        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(section(1, vec![1, 0x60, 0, 0]));
        // One imported function, so that our own have the indices 1 and 2.
        module.extend(section(2, vec![1, 1, b'a', 1, b'b', 0, 0]));
        module.extend(section(3, vec![2, 0, 0]));
        module.extend(section(10, vec![2, 2, 0, 0x0b, 4, 0, 0x01, 0x01, 0x0b]));
        module.extend(section(0, named));
        module
    }

    #[test]
    fn code_counts_for_the_crate_that_its_name_says() {
        let module = module(["_ZN4core3fmt5write17h0123456789abcdefE", "main"]);
        let parts = by_crate(&module).unwrap();
        let bytes = |name: &str| {
            let part = parts.iter().find(|(other, _)| other == name);
            part.map(|(_, part)| part.bytes)
        };
        assert_eq!(bytes("core"), Some(2));
        assert_eq!(bytes("(no crate)"), Some(4));
        assert!(by_crate(&module[..module.len() - 1]).is_none(), "cut off");
        assert!(by_crate(b"\x7fELF....").is_none());
    }

    #[test]
    fn the_crate_of_an_impl_is_that_of_its_type() {
        for (symbol, expected) in [
            ("_ZN5alloc3vec3new17h0123456789abcdefE", "alloc"),
            (
                "_ZN51_$LT$pliron..op..Op$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
                "pliron",
            ),
            (
                "_ZN44_$LT$$RF$T$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE",
                "core",
            ),
            ("_RNvCs1234_7mycrate3foo", "mycrate"),
            ("__wasm_call_ctors", "(no crate)"),
        ] {
            assert_eq!(crate_of(symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn a_module_above_its_budget_is_refused() {
        assert!(within(100, 100).is_ok());
        let message = within(101, 100).unwrap_err().to_string();
        assert!(message.contains("1 above its budget"), "{message}");
    }

    #[test]
    fn a_page_above_its_budget_is_refused() {
        let files = [("main.js", SHELL_BUDGET - 1), ("style.css", 1)];
        assert!(check_shell(&files).is_ok());
        let message = check_shell(&[files[0], ("style.css", 2)]).unwrap_err();
        assert!(message.to_string().contains("main.js 149999"), "{message}");
    }

    #[test]
    fn what_repeats_itself_is_small_when_gzipped() {
        let noise: Vec<u8> = (0u32..4096)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert!(gzipped(&[7; 4096]) < 64);
        assert!(gzipped(&noise) > gzipped(&[7; 4096]));
    }
}
