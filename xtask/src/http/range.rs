//! Parts of files, as the `Range` header asks for them.

/// A part of a file: the first byte and the number of bytes.
#[derive(Debug, PartialEq)]
pub struct Part {
    pub start: u64,
    pub length: u64,
}

/// What a `Range` header asks of a file.
#[derive(Debug, PartialEq)]
pub enum Wanted {
    Whole,
    Part(Part),
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. Several ranges at once,
/// and what is not understood, get the whole file, as the standard allows.
pub fn wanted(range: &str, size: u64) -> Wanted {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(last)) if start <= last => (start, size.min(last.saturating_add(1))),
        (Ok(start), Err(_)) if last.is_empty() => (start, size),
        (Err(_), Ok(0)) if first.is_empty() => return Wanted::Unsatisfiable,
        (Err(_), Ok(length)) if first.is_empty() => (size.saturating_sub(length), size),
        _ => return Wanted::Whole,
    };
    if start < end {
        Wanted::Part(Part {
            start,
            length: end - start,
        })
    } else {
        Wanted::Unsatisfiable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |start, length| Wanted::Part(Part { start, length });
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=7-", part(7, 3)),
            ("bytes=7-99", part(7, 3)),
            ("bytes=0-18446744073709551615", part(0, 10)),
            ("bytes=-4", part(6, 4)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
        ] {
            assert_eq!(wanted(range, 10), expected, "{range}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
    }
}
