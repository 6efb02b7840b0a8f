//! Relative addresses, and paths with a hash in them.

/// How many folders a unit lies in.
pub fn depth(unit: &str) -> usize {
    unit.trim_end_matches('/').matches('/').count()
}

/// `path` with `hash` in one of its segments: `b.wasm` becomes `b.<hash>.wasm`, and `adapters`, where
/// the unit is a folder, `adapters.<hash>`.
pub fn with_hash(path: &str, segment: usize, hash: &str, unit: &str) -> String {
    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let name = &segments[segment];
    segments[segment] = match name.rsplit_once('.').filter(|_| !unit.ends_with('/')) {
        Some((stem, extension)) => format!("{stem}.{hash}.{extension}"),
        None => format!("{name}.{hash}"),
    };
    segments.join("/")
}

/// The path of what `address` names in the file `from`; `None` for one that is not relative or
/// leads out of the site.
pub fn resolve(from: &str, address: &str) -> Option<String> {
    let names: Vec<&str> = walk(from, address)?.iter().map(|(name, _)| *name).collect();
    let slash = if address.ends_with('/') { "/" } else { "" };
    (!names.is_empty()).then(|| names.join("/") + slash)
}

/// The names of the path that `address` leads to in the file `from`, each with its segment in
/// `address`, or none where it comes from where `from` is.
pub fn walk<'a>(from: &'a str, address: &'a str) -> Option<Vec<(&'a str, Option<usize>)>> {
    let mut names: Vec<(&str, Option<usize>)> = from.split('/').map(|name| (name, None)).collect();
    names.pop();
    let count = address.split('/').count();
    for (segment, name) in address.split('/').enumerate() {
        match name {
            ".." => drop(names.pop()?),
            // Two slashes, or one in front.
            "" if segment + 1 < count => return None,
            "" | "." => {}
            _ => names.push((name, Some(segment))),
        }
    }
    Some(names)
}
