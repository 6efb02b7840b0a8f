//! What pages that only tell something have in common: the zoo's report, and the guide.

/// From the beginning to the end of the head. `up` leads to the page's folder, `styles` are files there besides the
/// usual one; `title` is markup already. Such a page runs nothing.
pub fn head(title: &str, up: &str, styles: &[&str]) -> String {
    let mut links = String::new();
    for style in ["style.css"].iter().chain(styles) {
        links += &format!("<link rel=\"stylesheet\" href=\"{up}{style}\">\n");
    }
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'">
<meta name="color-scheme" content="light dark">
<title>{title} · Steering playground</title>
<link rel="icon" href="{up}favicon.svg" type="image/svg+xml">
{links}</head>
"#
    )
}

/// Text for HTML and SVG, also inside quoted attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
