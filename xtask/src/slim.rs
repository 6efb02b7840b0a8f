//! Scripts and style sheets as they travel: without comments, and without spaces that say nothing. Names
//! stay, and so do the lines that a statement may end with, so that an error says where it is.

use crate::hashed::Files;
use crate::hashed::quotes::{Kind, pieces};

/// Makes the page's own scripts and style sheets smaller; the package's are as they are.
pub fn slim(files: &mut Files) {
    for (path, bytes) in files {
        if path.starts_with("pkg/") {
            continue;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            continue;
        };
        let slim = if path.ends_with(".js") {
            script(text)
        } else if path.ends_with(".css") {
            Some(style(text))
        } else {
            None
        };
        // What cannot be read is told where its references are looked for.
        if let Some(slim) = slim {
            *bytes = slim.into_bytes();
        }
    }
}

/// No statement ends after these, and a space beside them says nothing.
const OPEN: &[u8] = b"{([,;:?=&|";
/// None begins with these.
const CLOSE: &[u8] = b"})],;:?=&|";

/// A script without its comments; `None` where it could not be read.
fn script(text: &str) -> Option<String> {
    let mut slim = String::with_capacity(text.len());
    // What stood between the last piece that stays and the next.
    let mut gap = false;
    let mut line = false;
    for piece in pieces(text).ok()? {
        let words = &text[piece.at..piece.end];
        if matches!(piece.kind, Kind::Comment | Kind::Space) {
            gap = true;
            line |= words.contains('\n');
            continue;
        }
        let before = slim.bytes().last();
        let is_sign = piece.kind == Kind::Sign;
        let closes = is_sign && CLOSE.contains(&words.as_bytes()[0]);
        let says_nothing =
            before.is_none_or(|byte| OPEN.contains(&byte) || byte == b'\n') || closes;
        if gap && !says_nothing {
            slim.push(if line { '\n' } else { ' ' });
        }
        slim.push_str(words);
        (gap, line) = (false, false);
    }
    slim.push('\n');
    Some(slim)
}

/// A style sheet without its comments and the beginnings of its lines.
fn style(text: &str) -> String {
    let mut slim = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        slim.push_str(&rest[..at]);
        rest = rest[at..]
            .find("*/")
            .map_or("", |end| &rest[at + end + 2..]);
    }
    slim.push_str(rest);
    let lines = slim.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dist;

    #[test]
    fn comments_and_idle_spaces_of_scripts_go() {
        for (text, slim) in [
            ("// a\nconst a = 1; // b\n\nlet b;", "const a=1;let b;\n"),
            ("/** @type {A} */\nreturn /* all\nof it */ x", "return\nx\n"),
            (
                "f()\n  .g(a, { b: [1, 2] })\nh()",
                "f()\n.g(a,{b:[1,2]})\nh()\n",
            ),
            ("a + +b - -c / d", "a + +b - -c / d\n"),
            (
                "const t = `a  ${ b } // c`; /x  y/.test('  ')",
                "const t=`a  ${b } // c`;/x  y/.test('  ')\n",
            ),
            (
                "import { a } from \"./a.js\";",
                "import {a} from \"./a.js\";\n",
            ),
            ("if (a) {\n  b();\n}\nc", "if (a) {b();}\nc\n"),
            ("x = a\n? b\n: c", "x=a?b:c\n"),
        ] {
            assert_eq!(script(text).as_deref(), Some(slim), "{text:?}");
        }
        assert_eq!(script("`open"), None);
    }

    #[test]
    fn comments_and_indents_of_styles_go() {
        let text = "/* a */\n.b {\n  margin: calc(1px + 2px) /* c */;\n}\n";
        assert_eq!(style(text), ".b {\nmargin: calc(1px + 2px) ;\n}\n");
    }

    #[test]
    fn of_the_page_nothing_else_goes() {
        let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("../www");
        let files = dist::page(&www).unwrap();
        let mut slimmed = files.clone();
        slim(&mut slimmed);
        let said = |bytes: &[u8]| -> Vec<String> {
            let text = std::str::from_utf8(bytes).unwrap();
            let all = pieces(text).unwrap().into_iter();
            let kept = all.filter(|piece| !matches!(piece.kind, Kind::Comment | Kind::Space));
            kept.map(|piece| text[piece.at..piece.end].to_owned())
                .collect()
        };
        let mut scripts = 0;
        for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".js")) {
            assert!(slimmed[path].len() < bytes.len(), "{path}");
            assert_eq!(said(bytes), said(&slimmed[path]), "{path}");
            scripts += 1;
        }
        assert!(scripts > 60, "{scripts}");
    }
}
