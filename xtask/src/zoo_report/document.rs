//! A document of headings, texts, lists, tables and drawings, written once as Markdown and once as a page.
//!
//! Texts have two marks: `` `code` `` and `**strong**`. All else stands as it is written.

use crate::paper::{escape, head};

/// What stands one below the other.
pub enum Block {
    /// Of the first, second or third level.
    Heading(usize, String),
    Text(String),
    List(Vec<String>),
    Table(Table),
    Figure(Figure),
}

/// The first cell of a row is its heading.
pub struct Table {
    pub caption: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A drawing; its file is `NAME.svg`.
pub struct Figure {
    pub name: String,
    pub title: String,
    /// What one sees, for whoever does not.
    pub description: String,
    /// How to read it.
    pub caption: String,
    pub width: u32,
    pub height: u32,
    /// The elements inside `<svg>`.
    pub drawing: String,
}

/// A part of a text.
enum Span<'a> {
    Plain(&'a str),
    Code(&'a str),
    Strong(&'a str),
}

fn spans(text: &str) -> Vec<Span<'_>> {
    let mut out = Vec::new();
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            out.push(Span::Code(part));
            continue;
        }
        for (at, part) in part.split("**").enumerate() {
            out.push(if at % 2 == 1 {
                Span::Strong(part)
            } else {
                Span::Plain(part)
            });
        }
    }
    out
}

/// Text from elsewhere, without our marks.
pub fn plain(text: &str) -> String {
    text.replace('`', "'")
        .replace("**", "*")
        .replace(['\n', '\r'], " ")
}

/// The texts of a hand-written file: paragraphs, lists whose items begin with `- `, and headings that begin with
/// `### `. What stands between `<!--` and `-->` is for whoever writes it.
pub fn notes(text: &str) -> Vec<Block> {
    let mut text = text.replace("\r\n", "\n");
    while let Some(start) = text.find("<!--") {
        let end = text[start..]
            .find("-->")
            .map_or(text.len(), |end| start + end + 3);
        text.replace_range(start..end, "");
    }
    let mut blocks = Vec::new();
    for part in text.split("\n\n") {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        if let Some(heading) = part.strip_prefix("### ") {
            blocks.push(Block::Heading(3, heading.into()));
            continue;
        }
        let joined = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        match part.strip_prefix("- ") {
            Some(items) => blocks.push(Block::List(items.split("\n- ").map(joined).collect())),
            None => blocks.push(Block::Text(joined(part))),
        }
    }
    blocks
}

// ---- Markdown ------------------------------------------------------------------------------------

/// Drawings are linked from the folder `drawings`.
pub fn markdown(blocks: &[Block], drawings: &str) -> String {
    let mut out = String::new();
    for block in blocks {
        match block {
            Block::Heading(level, text) => {
                out += &format!("{} {}\n", "#".repeat(*level), markdown_text(text));
            }
            Block::Text(text) => out += &format!("{}\n", markdown_text(text)),
            Block::List(items) => {
                for item in items {
                    out += &format!("- {}\n", markdown_text(item));
                }
            }
            Block::Table(table) => {
                out += &format!("{}\n\n", markdown_text(&table.caption));
                let line = |cells: &[String]| {
                    let cells: Vec<String> = cells.iter().map(|cell| markdown_text(cell)).collect();
                    format!("| {} |\n", cells.join(" | "))
                };
                out += &line(&table.head);
                out += &format!("|{}\n", "---|".repeat(table.head.len()));
                for row in &table.rows {
                    out += &line(row);
                }
            }
            Block::Figure(figure) => {
                let words = markdown_text(&format!("{}. {}", figure.title, figure.description));
                out += &format!("![{words}]({drawings}/{}.svg)\n\n", figure.name);
                out += &format!("{}\n", markdown_text(&figure.caption));
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn markdown_text(text: &str) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        for letter in text.chars() {
            if "\\*_<>[]|".contains(letter) {
                out.push('\\');
            }
            out.push(letter);
        }
        out
    };
    let parts = spans(text).into_iter().map(|span| match span {
        Span::Plain(text) => escaped(text),
        Span::Code(text) => format!("`{}`", text.replace('|', "\\|")),
        Span::Strong(text) => format!("**{}**", escaped(text)),
    });
    parts.collect()
}

// ---- the page ------------------------------------------------------------------------------------

/// The whole page. What the first heading says is its title.
pub fn page(blocks: &[Block]) -> String {
    let heading = |level: usize| {
        blocks.iter().filter_map(move |block| match block {
            Block::Heading(found, text) if *found == level => Some(text.as_str()),
            _ => None,
        })
    };
    let title = html_text(heading(1).next().unwrap_or_default());
    let links =
        heading(2).map(|text| format!("<a href=\"#{}\">{}</a>\n", slug(text), html_text(text)));
    let links = links.collect::<Vec<_>>().concat();
    let mut main = String::new();
    for (at, block) in blocks.iter().enumerate() {
        main += &html_block(block, at);
    }
    let head = head(&title, "./", &["zoo.css", "zoo-plots.css"]);
    format!(
        r##"{head}<!-- Written by `cargo xtask zoo --report`: change xtask/src/zoo_report, not this file. -->
<body class="zoo">
<a class="skip" href="#content">Skip to the report</a>
<header class="masthead">
<h1>{title}</h1>
<nav aria-label="Page"><a href="./index.html">To the playground</a></nav>
</header>
<nav class="contents" aria-label="Contents">
{links}</nav>
<main id="content" tabindex="-1">
{main}</main>
</body>
</html>
"##
    )
}

/// `at` is the block's place, which makes its id one of its own.
fn html_block(block: &Block, at: usize) -> String {
    match block {
        Block::Heading(1, _) => String::new(),
        Block::Heading(2, text) => {
            format!("<h2 id=\"{}\">{}</h2>\n", slug(text), html_text(text))
        }
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", html_text(text)),
        Block::Text(text) => format!("<p>{}</p>\n", html_text(text)),
        Block::List(items) => {
            let items = items
                .iter()
                .map(|item| format!("<li>{}</li>\n", html_text(item)));
            let items = items.collect::<Vec<_>>().concat();
            format!("<ul>\n{items}</ul>\n")
        }
        Block::Table(table) => {
            let head = table
                .head
                .iter()
                .map(|cell| format!("<th scope=\"col\">{}</th>", html_text(cell)));
            let head = head.collect::<Vec<_>>().concat();
            let mut rows = String::new();
            for row in &table.rows {
                rows += "<tr>";
                for (at, cell) in row.iter().enumerate() {
                    let cell = html_text(cell);
                    rows += &if at == 0 {
                        format!("<th scope=\"row\">{cell}</th>")
                    } else {
                        format!("<td>{cell}</td>")
                    };
                }
                rows += "</tr>\n";
            }
            // It scrolls by the keyboard too, so it takes the focus.
            format!(
                "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"table-{at}\">\n<table>\n\
                 <caption id=\"table-{at}\">{}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
                 </table>\n</div>\n",
                html_text(&table.caption)
            )
        }
        Block::Figure(figure) => format!(
            "<figure>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">\n{}</div>\n\
             <figcaption>{}</figcaption>\n</figure>\n",
            escape(&figure.title),
            svg(figure, ""),
            html_text(&figure.caption)
        ),
    }
}

/// A drawing as an element.
fn svg(figure: &Figure, more: &str) -> String {
    let Figure {
        name,
        width,
        height,
        drawing,
        ..
    } = figure;
    format!(
        "<svg class=\"zoo-plot\"{more} width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-labelledby=\"{name}-title {name}-words\">\n<title id=\"{name}-title\">{}</title>\n\
         <desc id=\"{name}-words\">{}</desc>\n{drawing}</svg>\n",
        escape(&figure.title),
        escape(&figure.description)
    )
}

/// A drawing as a file of its own, for light and for dark surroundings.
pub fn svg_file(figure: &Figure) -> String {
    const TOKENS: &str = ":root { --ink: #1d2127; --soft: #5b5f67; --line: #e2ddd2; --edge: #8d8a82; --sheet: #fffefb; --minus: #2760a6; --plus: #a84a08; --zero: #b5b0a5; --sans: system-ui, sans-serif; }\n\
        @media (prefers-color-scheme: dark) { :root { --ink: #e9e6df; --soft: #a4a9b1; --line: #2e343b; --edge: #717882; --sheet: #1b1f24; --minus: #7fb3f2; --plus: #f3a362; --zero: #5c636d; } }\n";
    let style = format!(
        "<style>\n{TOKENS}{}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n",
        include_str!("../../../www/zoo-plots.css")
    );
    let element = svg(figure, " xmlns=\"http://www.w3.org/2000/svg\"");
    element.replacen("</desc>\n", &format!("</desc>\n{style}"), 1)
}

fn html_text(text: &str) -> String {
    let parts = spans(text).into_iter().map(|span| match span {
        Span::Plain(text) => escape(text),
        Span::Code(text) => format!("<code>{}</code>", escape(text)),
        Span::Strong(text) => format!("<strong>{}</strong>", escape(text)),
    });
    parts.collect()
}

/// A heading as an address in the page.
fn slug(text: &str) -> String {
    let letters = text.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '-',
    });
    let slug: String = letters.collect();
    slug.split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_cannot_become_markup() {
        let text = plain("no `x`, **a** <b>\n| 1_2");
        assert_eq!(html_text(&text), "no 'x', *a* &lt;b&gt; | 1_2");
        assert_eq!(markdown_text(&text), "no 'x', \\*a\\* \\<b\\> \\| 1\\_2");
    }

    #[test]
    fn marks_are_the_same_in_both() {
        let text = "**Borne out**: `a_b` is 2 < 3";
        assert_eq!(
            html_text(text),
            "<strong>Borne out</strong>: <code>a_b</code> is 2 &lt; 3"
        );
        assert_eq!(markdown_text(text), "**Borne out**: `a_b` is 2 \\< 3");
    }

    #[test]
    fn notes_are_paragraphs_and_lists() {
        let found = notes("One\ntwo.\n\n- a\n  b\n- c\n\n\n");
        assert!(matches!(&found[0], Block::Text(text) if text == "One two."));
        assert!(matches!(&found[1], Block::List(items) if items == &["a b", "c"]));
        assert_eq!(found.len(), 2);
        let found =
            notes("<!-- for\n\nthe writer -->\n\n### Head\n\nOne <!-- x -->two.\n\n<!-- open");
        assert!(matches!(&found[0], Block::Heading(3, text) if text == "Head"));
        assert!(matches!(&found[1], Block::Text(text) if text == "One two."));
        assert_eq!(found.len(), 2);
        assert!(notes("<!-- nothing yet -->\n").is_empty());
    }

    #[test]
    fn tables_scroll_and_name_their_rows_and_columns() {
        let table = Block::Table(Table {
            caption: "Caption".into(),
            head: vec!["a".into(), "b".into()],
            rows: vec![vec!["x".into(), "1".into()]],
        });
        let blocks = [Block::Heading(1, "Title".into()), table];
        let page = page(&blocks);
        assert!(page.contains("tabindex=\"0\" aria-labelledby=\"table-1\""));
        assert!(page.contains("<th scope=\"row\">x</th><td>1</td>"));
        assert!(markdown(&blocks, "zoo").ends_with("| a | b |\n|---|---|\n| x | 1 |\n"));
    }

    #[test]
    fn a_drawing_has_words() {
        let figure = Figure {
            name: "one".into(),
            title: "One".into(),
            description: "A < B".into(),
            caption: "Read it so".into(),
            width: 10,
            height: 5,
            drawing: "<path/>\n".into(),
        };
        let file = svg_file(&figure);
        assert!(file.contains("<desc id=\"one-words\">A &lt; B</desc>\n<style>"));
        assert!(markdown(&[Block::Figure(figure)], "zoo").contains("](zoo/one.svg)"));
    }
}
