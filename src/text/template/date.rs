//! `strftime_now`, on a day that never changes.

use minijinja::Error;

use super::invalid;

/// "Now" for templates that print it: always noon of Friday, 26 July 2024, the day that Llama 3.2's
/// template falls back to. The same request gives the same answer on any day, and the core has no clock.
/// All directives of C and glibc, with glibc's flags; without a time zone, as Python's `now()`.
pub(super) fn strftime(format: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(format.len() + 16);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let mut chars = rest[at + 1..].chars();
        let (mut flag, mut directive) = (None, chars.next());
        while let Some(c @ ('-' | '_' | '0' | '^' | '#')) = directive {
            (flag, directive) = (Some(c), chars.next());
        }
        // Other calendars and digits, which the C locale does not have.
        if let Some('E' | 'O') = directive {
            directive = chars.next();
        }
        let found = directive.and_then(date_part);
        let Some(value) = found else {
            let unknown = &rest[at..rest.len() - chars.as_str().len()];
            return Err(invalid(format!("strftime_now: `{unknown}` is not known")));
        };
        rest = chars.as_str();
        let number = value.trim_start_matches(['0', ' ']);
        let number = if number.is_empty() { "0" } else { number };
        let is_number = !value.is_empty() && value.trim_start().bytes().all(|c| c.is_ascii_digit());
        let padded = |fill: &str| fill.repeat(value.len() - number.len()) + number;
        out.push_str(&match flag {
            Some('-') if is_number => number.to_owned(),
            Some('_') if is_number => padded(" "),
            Some('0') if is_number => padded("0"),
            Some('#') if value == "PM" => "pm".into(),
            Some('^' | '#') => value.to_uppercase(),
            _ => value.to_owned(),
        });
    }
    out.push_str(rest);
    Ok(out)
}

/// The text of a directive on that day; `None` for one that is not known.
fn date_part(directive: char) -> Option<&'static str> {
    Some(match directive {
        'a' => "Fri",
        'A' => "Friday",
        'b' | 'h' => "Jul",
        'B' => "July",
        'c' => "Fri Jul 26 12:00:00 2024",
        'C' => "20",
        'd' | 'e' => "26",
        'D' | 'x' => "07/26/24",
        'f' => "000000",
        'F' => "2024-07-26",
        'g' | 'y' => "24",
        'G' | 'Y' => "2024",
        'H' | 'I' | 'k' | 'l' => "12",
        'j' => "208",
        'm' => "07",
        'M' | 'S' => "00",
        'n' => "\n",
        'p' => "PM",
        'P' => "pm",
        'r' => "12:00:00 PM",
        'R' => "12:00",
        's' => "1721995200",
        't' => "\t",
        'T' | 'X' => "12:00:00",
        'u' | 'w' => "5",
        'U' => "29",
        'V' | 'W' => "30",
        'z' | 'Z' => "",
        '%' => "%",
        _ => return None,
    })
}
