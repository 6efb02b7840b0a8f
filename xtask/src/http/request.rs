//! Heads of requests.

use std::io::{self, BufRead, Read};

/// The longest head of a request that is read.
const HEAD_LIMIT: u64 = 16 * 1024;

/// The head of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Request {
    pub method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads the next head of a connection; `None` at its end.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = reader.take(HEAD_LIMIT);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target), Some(_version)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
        };
        loop {
            line.clear();
            if head.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let field = line.trim_end();
            if field.is_empty() {
                return Ok(Some(request));
            }
            let (name, value) = field.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            request
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The target without its query.
    pub fn address(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// False also after a body, which is not read.
    pub fn keeps_connection(&self) -> bool {
        let closes = |value: &str| value.eq_ignore_ascii_case("close");
        let has_body = self.header("transfer-encoding").is_some()
            || self
                .header("content-length")
                .is_some_and(|length| length != "0");
        !has_body && !self.header("connection").is_some_and(closes)
    }
}

/// Undoes percent-encoding; `None` if the result is not text.
pub fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return None;
        };
        let digit = |code: u8| char::from(code).to_digit(16);
        bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding() {
        assert_eq!(decode("/a%20b%C3%a9").as_deref(), Some("/a bé"));
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn broken_requests_are_refused() {
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(HEAD_LIMIT as usize));
        for text in [
            "GET\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            &endless,
        ] {
            assert!(Request::read(&mut text.as_bytes()).is_err());
        }
        assert_eq!(Request::read(&mut "".as_bytes()).unwrap(), None);
    }
}
