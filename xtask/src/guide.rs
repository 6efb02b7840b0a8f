//! The documentation as pages beside the page, `guide/NAME.html` of `docs/NAME.md`: who has the page alone finds there
//! how a lesson, a file of pairs or an embedding page is written. They are made whenever the page is served or packed.

use std::fs;
use std::path::Path;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::failure::{OrMend, Result};
use crate::hashed::Files;
use crate::paper::{self, escape};
use crate::workspace::Workspace;

/// Below the page.
pub const FOLDER: &str = "guide/";

/// The zoo's report is a page of its own.
const REPORT: (&str, &str) = ("zoo.md", "../zoo.html");
const MEND: &str = "restore docs with git";

/// Writes the pages, and what they show, into a folder beside the builds, and returns its path.
pub fn write(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let folder = workspace.target.join("guide");
    drop(fs::remove_dir_all(&folder));
    for (path, bytes) in pages(&workspace.root)? {
        let path = folder.join(path.strip_prefix(FOLDER).unwrap_or(&path));
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, bytes)
        };
        write().or_mend(
            path.display(),
            "check the folder's rights and the free disk space",
        )?;
    }
    Ok(folder)
}

/// The pages by their paths from the page's folder, with the files of `docs` that they refer to.
pub fn pages(root: &Path) -> Result<Files> {
    let docs = root.join("docs");
    let mut names = Vec::new();
    for entry in fs::read_dir(&docs).or_mend(docs.display(), MEND)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_page = name.ends_with(".md") && name != REPORT.0 && name.matches('.').count() == 1;
        names.extend(is_page.then_some(name));
    }
    names.sort_by_key(|name| name.to_lowercase());
    let mut texts = Vec::new();
    for name in &names {
        let path = docs.join(name);
        texts.push((
            name.as_str(),
            fs::read_to_string(&path).or_mend(path.display(), MEND)?,
        ));
    }
    let titles: Vec<(&str, String)> = texts
        .iter()
        .map(|(name, text)| (*name, title(text)))
        .collect();
    let mut files = Files::new();
    for (name, text) in &texts {
        let mut shown = Vec::new();
        let page = page(&docs, name, text, &titles, &mut shown);
        files.insert(format!("{FOLDER}{}", address(name)), page.into_bytes());
        for file in shown {
            let path = docs.join(&file);
            let bytes = fs::read(&path).or_mend(path.display(), MEND)?;
            files.insert(format!("{FOLDER}{file}"), bytes);
        }
    }
    Ok(files)
}

/// A document's name as a page.
fn address(name: &str) -> String {
    format!("{}.html", name.trim_end_matches(".md"))
}

/// The first heading.
fn title(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("# "));
    line.unwrap_or_default().to_owned()
}

/// One page; `shown` gets the files that it refers to.
fn page(
    docs: &Path,
    name: &str,
    text: &str,
    titles: &[(&str, String)],
    shown: &mut Vec<String>,
) -> String {
    let mut body = String::new();
    html::push_html(&mut body, events(docs, text, shown).into_iter());
    let mut others = String::new();
    for (other, title) in titles {
        let here = if *other == name {
            " aria-current=\"page\""
        } else {
            ""
        };
        let (address, title) = (address(other), escaped(title));
        others.push_str(&format!("<a href=\"./{address}\"{here}>{title}</a>\n"));
    }
    let title = escaped(&title(text));
    let head = paper::head(&title, "../", &["zoo.css", "guide.css"]);
    format!(
        r##"{head}<body class="zoo guide">
<a class="skip" href="#content">Skip to the text</a>
<header class="masthead">
<p>Guide</p>
<nav aria-label="Page"><a href="../index.html">To the playground</a></nav>
</header>
<main id="content" tabindex="-1">
{body}</main>
<nav class="contents" aria-label="Guide">
{others}</nav>
</body>
</html>
"##
    )
}

/// The document's parts: headings with addresses as on a forge, links to the pages, none to what is not beside them.
fn events<'a>(docs: &Path, text: &'a str, shown: &mut Vec<String>) -> Vec<Event<'a>> {
    let mut events: Vec<Event> = Vec::new();
    // Whether each link that is open now leads anywhere.
    let mut open = Vec::new();
    let mut heading: Option<usize> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            // Comments, and marks of what is written by tests.
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::Start(Tag::Heading { .. }) => {
                heading = Some(events.len());
                events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some(start) = heading.take() {
                    let id = slug(&events[start..]);
                    if let Event::Start(Tag::Heading { id: own, .. }) = &mut events[start] {
                        *own = Some(id.into());
                    }
                }
                events.push(event);
            }
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                let target = target(docs, &dest_url, shown);
                open.push(target.is_some());
                events.extend(target.map(|target| {
                    Event::Start(Tag::Link {
                        link_type,
                        dest_url: target,
                        title,
                        id,
                    })
                }));
            }
            Event::End(TagEnd::Link) => {
                if open.pop().unwrap_or(false) {
                    events.push(event);
                }
            }
            Event::Start(Tag::Image { ref dest_url, .. }) => {
                target(docs, dest_url, shown);
                events.push(event);
            }
            // A wide one scrolls in itself.
            Event::Start(Tag::Table(_)) => {
                events.push(Event::Html("<div class=\"scroll\" tabindex=\"0\">".into()));
                events.push(event);
            }
            Event::End(TagEnd::Table) => {
                events.push(event);
                events.push(Event::Html("</div>\n".into()));
            }
            event => events.push(event),
        }
    }
    events
}

/// Where a link of a document leads from its page; nothing where that is not beside the page.
fn target<'a>(docs: &Path, link: &str, shown: &mut Vec<String>) -> Option<CowStr<'a>> {
    if link.starts_with('#') || link.contains("://") {
        return Some(link.to_owned().into());
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let fragment = if fragment.is_empty() {
        String::new()
    } else {
        format!("#{fragment}")
    };
    if path == REPORT.0 {
        return Some(format!("{}{fragment}", REPORT.1).into());
    }
    if path.starts_with("..") || !docs.join(path).is_file() {
        return None;
    }
    if path.ends_with(".md") {
        return Some(format!("./{}{fragment}", address(path)).into());
    }
    shown.push(path.to_owned());
    Some(format!("./{path}").into())
}

/// A heading's address: its words in small letters, joined by hyphens.
fn slug(events: &[Event]) -> String {
    let mut slug = String::new();
    for event in events {
        if let Event::Text(text) | Event::Code(text) = event {
            for sign in text.to_lowercase().chars() {
                match sign {
                    ' ' => slug.push('-'),
                    '-' | '_' => slug.push(sign),
                    _ if sign.is_alphanumeric() => slug.push(sign),
                    _ => {}
                }
            }
        }
    }
    slug
}

/// A heading without the marks of code, as markup.
fn escaped(text: &str) -> String {
    escape(&text.replace('`', ""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the repository")
    }

    #[test]
    fn links_lead_to_pages_or_nowhere() {
        let docs = root().join("docs");
        let mut shown = Vec::new();
        let text = "# A & b\n\n[x](lessons.md#a-step) [y](../src/lib.rs) [z](zoo.md) [s](lesson.schema.json)\n<!-- not shown -->\n";
        let page = page(&docs, "a.md", text, &[("a.md", "A & b".into())], &mut shown);
        assert!(page.contains("<h1 id=\"a--b\">A &amp; b</h1>"), "{page}");
        let body = "<a href=\"./lessons.html#a-step\">x</a> y <a href=\"../zoo.html\">z</a> <a href=\"./lesson.schema.json\">s</a>";
        assert!(page.contains(body), "{page}");
        assert!(!page.contains("not shown"));
        assert_eq!(shown, ["lesson.schema.json"]);
    }

    #[test]
    fn every_link_of_the_guide_leads_to_what_is_there() {
        let files = pages(root()).expect("the guide");
        let text = |path: &str| String::from_utf8_lossy(&files[path]).into_owned();
        let mut links = 0;
        for path in files.keys().filter(|path| path.ends_with(".html")) {
            for rest in text(path).split("href=\"").skip(1) {
                let link = rest.split('"').next().unwrap_or_default();
                let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
                let Some(file) = file.strip_prefix("./") else {
                    continue;
                };
                let to = format!("{FOLDER}{file}");
                assert!(files.contains_key(&to), "{path}: {link}");
                let id = format!("id=\"{fragment}\"");
                assert!(
                    fragment.is_empty() || text(&to).contains(&id),
                    "{path}: {link}"
                );
                links += 1;
            }
        }
        assert!(links > 100, "{links}");
    }
}
